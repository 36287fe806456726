"""The JSON schema is up to date, and says the same as the loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from mlabench import registry
from mlabench.suite import Suite, json_schema
from mlabench.suite.source import read
from tests.suite.conftest import FAKES
from tests.suite.test_mistakes import MISTAKES

SUITES = Path(__file__).parents[2] / "suites"
COMMITTED = SUITES / "suite.schema.json"


def test_the_committed_schema_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = registry.entries

    def built_in(kind: registry.Kind) -> dict[str, registry.Entry]:
        return {name: entry for name, entry in everything(kind).items() if entry.package == "mlabench"}

    monkeypatch.setattr(registry, "entries", built_in)
    expected = json.dumps(json_schema(), indent=1) + "\n"
    assert COMMITTED.read_text(encoding="utf-8") == expected, "run: mlabench schema --out suites/suite.schema.json"


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_suites_fit(path: Path) -> None:
    schema = json.loads(COMMITTED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read(path).data, schema)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=suite.schema.json"


@pytest.mark.parametrize(
    "text",
    [
        "dataset: speech\nmethods: plain\n",
        "dataset: {name: speech, noise: 2}\nencoders: mlp\nmethods: [plain, {name: fancy, label: X, order: [a]}]\n",
        "dataset: speech\nmethods: plain\nencoders: {audio: mlp, '*': {name: mlp, width: 3}}\nquestion: Q2\n"
        "missing: {protocol: per_modality, rates: [{audio: 0.5}], splits: test, evaluate: [matrix, subsets]}\n",
        "dataset: speech\nmethods: plain\nseeds: 3\ntraining: {optimizer: sgd, schedule: step}\n",
        "dataset: speech\nmethods: [plain, {name: fancy, training: {batch_size: 8, optimizer: {lr: 0.1}}}]\n"
        "tuning: {tries: 5, space: {training.optimizer.lr: {low: 0.001, high: 0.1, log: true}}}\n",
        "dataset: speech\nmethods: plain\ntraining: {optimizer: {lr: 0.1}, schedule: {name: step, epochs: 5}}\n",
    ],
)
def test_what_loads_fits(text: str, load: Callable[..., Suite]) -> None:
    suite = load(text)
    jsonschema.validate(yaml.safe_load(text), json_schema())
    jsonschema.validate(suite.resolved(), json_schema())


@pytest.mark.parametrize(
    "name",
    [
        "unknown field",
        "unknown nested field",
        "unknown field of a choice",
        "unknown choice",
        "unknown word",
        "quoted number",
        "rate of one",
        "unknown method",
        "unknown hyper-parameter",
        "hyper-parameter out of range",
        "required hyper-parameter",
        "unknown dataset",
        "unknown option of an encoder",
        "no methods",
        "epochs of a method's own",
        "a method's training that is none",
    ],
)
def test_mistakes_do_not_fit(name: str, fakes: None) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(MISTAKES[name][0]), json_schema())


def test_options_that_contain_themselves(fakes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are described once; where they occur again anything fits, and the loader decides."""
    monkeypatch.setitem(FAKES["methods"], "nested", "Nested")
    schema, text = json_schema(), "dataset: speech\nmethods: {name: nested, depth: 1, inner: {depth: 2}}\n"
    jsonschema.validate(yaml.safe_load(text), schema)
    jsonschema.validate(yaml.safe_load(text.replace("depth: 2", "depth: two")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace("depth: 1", "depth: one")), schema)
    assert list(registry.get("methods", "nested").about.options) == ["depth", "inner"]

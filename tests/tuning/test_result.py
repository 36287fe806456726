"""The tuned suite: it loads, says how it was made, and the report repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from mlabench.reporting.build import print_summary
from mlabench.reporting.wording import tuning_sentence
from mlabench.store.records import Store
from mlabench.suite import Overrides, Suite, load_suite
from mlabench.suite.expansion import expand
from mlabench.suite.plan import Plan
from mlabench.tuning import result
from mlabench.tuning.tries import TuningResult
from tests.tuning.invented import Invented, suite_of, tried

ENTRIES = """
dataset: stamps
methods:
- concat
- {name: qmf, margin: paper}
- {name: concat, label: Slow, training: {optimizer: {name: sgd, momentum: 0.5}, schedule: cosine}}
seeds: [0, 1]
missing: {rates: [0, 0.5]}
training: {epochs: 3}
tuning: {tries: 6}
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Suite, list[TuningResult]]:
    tried_with: dict[str, Any] = {"seeds": "0", "rates": "0"}
    searched = suite_of(tmp_path, ENTRIES, **tried_with)
    outcomes = tried(searched, tmp_path / "r", Invented(), monkeypatch)
    whole = load_suite(tmp_path / "some.yaml")
    for name, extends in (("short.yaml", Path("some.yaml")), ("long.yaml", None)):
        result.write_suite(result.tuned_suite(whole, searched, outcomes, extends), tmp_path / name)
    return whole, outcomes


@pytest.mark.parametrize("name", ["short.yaml", "long.yaml"])
def test_it_loads_with_what_was_found_and_nothing_else_changed(
    made: tuple[Suite, list[TuningResult]], tmp_path: Path, name: str
):
    whole, outcomes = made
    tuned = load_suite(tmp_path / name)
    for entry, one in zip(tuned.methods, outcomes, strict=True):
        assert one.best is not None
        assert entry.label == one.label
        assert entry.method == one.best.candidate.method
        assert entry.training == one.best.candidate.training
    assert [entry.label for entry in tuned.methods] == ["Concat", 'QMF (margin="paper")', "Slow"]
    ours, theirs = tuned.resolved(), whole.resolved()
    assert {key for key in ours if ours[key] != theirs[key]} == {"name", "methods", "tuned"}
    assert expand(tuned).tuned_labels() == expand(tuned).labels
    assert tuned.tuned is not None
    assert tuned.tuned.suite == "some"
    for one in outcomes:
        assert one.best is not None
        assert tuned.tuned.scores[one.label] == pytest.approx((one.default.score, one.best.score), abs=1e-4)


def test_it_is_short_where_it_can_be(made: tuple[Suite, list[TuningResult]], tmp_path: Path):
    document = yaml.safe_load((tmp_path / "short.yaml").read_text())
    assert list(document) == ["extends", "methods", "tuned"]
    assert "&" not in (tmp_path / "long.yaml").read_text()


def test_editors_find_the_schema_where_there_is_one(tmp_path: Path):
    result.write_suite({"methods": ["concat"]}, tmp_path / "alone.yaml")
    (tmp_path / "suite.schema.json").write_text("{}")
    result.write_suite({"methods": ["concat"]}, tmp_path / "beside.yaml")
    alone, beside = ((tmp_path / name).read_text() for name in ("alone.yaml", "beside.yaml"))
    assert beside == f"# yaml-language-server: $schema=suite.schema.json\n{alone}"


def planned(tmp_path: Path, **overrides: Any) -> Plan:
    return expand(load_suite(tmp_path / "short.yaml", Overrides(**overrides)))


def test_the_report_says_that_the_folds_share_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    searched = suite_of(tmp_path, ENTRIES, seeds="0", rates="0", folds="3")
    outcomes = tried(searched, tmp_path / "r", Invented(), monkeypatch)
    whole = load_suite(tmp_path / "some.yaml", Overrides(folds="3"))
    result.write_suite(result.tuned_suite(whole, searched, outcomes, None), tmp_path / "short.yaml")
    plan = planned(tmp_path)
    assert len(plan.cells) == 3 * 2 * 2 * 3
    assert plan.tuned_labels() == plan.labels
    assert tuning_sentence(plan) == (
        "Hyper-parameters: tuned, 6 configurations per method compared on the validation parts of 3 folds (TPE, "
        "seed 0; training seed 0; missing patterns: complete), whose samples other folds test, so that all accuracies "
        "are a little optimistic."
    )


def test_the_report_says_tuned_and_on_what_budget(made: tuple[Suite, list[TuningResult]], tmp_path: Path):
    console = Console(record=True, width=400)
    print_summary(planned(tmp_path), Store(tmp_path / "none"), console, full=True)
    said = tuning_sentence(planned(tmp_path))
    assert said == (
        "Hyper-parameters: tuned, 6 configurations per method compared on the validation split "
        "(TPE, seed 0; training seed 0; missing patterns: complete)."
    )
    assert said in console.export_text()


def test_the_report_says_defaults(made: tuple[Suite, list[TuningResult]]):
    assert tuning_sentence(expand(made[0])) == "Hyper-parameters: defaults or what the suite sets; not tuned."


@pytest.mark.parametrize(
    ("overrides", "tuned"),
    [
        ({"methods": ("concat", "mla")}, ("Concat", "Slow")),
        ({"settings": ("methods.1.rank_weight=0.77",)}, ("Concat", "Slow")),
        ({"settings": ("methods.0.training.optimizer.lr=0.77",)}, ('QMF (margin="paper")', "Slow")),
        ({"settings": ("training.epochs=4",)}, ()),
        ({"settings": ("encoders={'*': {name: mlp, width: 32}}",)}, ()),
        ({"limit": 50}, ()),
        ({"seeds": "3-5", "rates": "0,0.3"}, ("Concat", 'QMF (margin="paper")', "Slow")),
    ],
)
def test_what_was_changed_since_does_not_pass_for_tuned(
    made: tuple[Suite, list[TuningResult]], tmp_path: Path, overrides: dict[str, Any], tuned: tuple[str, ...]
):
    plan = planned(tmp_path, **overrides)
    assert plan.tuned_labels() == tuned
    sentence = tuning_sentence(plan)
    if not tuned:
        assert "changed since; not tuned" in sentence
    elif tuned != plan.labels:
        others = [label for label in plan.labels if label not in tuned]
        assert sentence.startswith(f"HYPER-PARAMETERS: TUNED FOR {', '.join(tuned)} (6 configurations per method")
        assert sentence.endswith(f"NOT FOR {', '.join(others)}.")

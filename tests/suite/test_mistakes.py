"""Every mistake is answered with the file, the line, the field and the nearest valid spelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlabench.errors import UserError
from mlabench.suite import Suite, load_suite
from mlabench.suite.source import parse

VALID = "dataset: speech\nmethods: [plain]\n"

MISTAKES = {
    "unknown field": (VALID + "traning: {}\n", 3, "traning", "unknown field 'traning'", "'training'"),
    "unknown nested field": (
        VALID + "training:\n  epochs: 3\n  batchsize: 8\n",
        5,
        "training.batchsize",
        "unknown field 'batchsize'",
        "'batch_size'",
    ),
    "what a method cannot do": (
        VALID.replace("plain", "plain, modest"),
        2,
        "methods.1",
        "Modest cannot do this: it compares two modalities with each other.",
        "",
    ),
    "a method's option that names no modality": (
        "dataset: captions\nencoders: mlp\nmethods:\n- {name: modest, leader: audio}\n",
        4,
        "methods.0",
        "leader: there is no modality 'audio'; there are image, caption.",
        "",
    ),
    "unknown field of a choice": (
        VALID + "training:\n  optimizer: {name: sgd, momentun: 0.5}\n",
        4,
        "training.optimizer.momentun",
        "unknown field",
        "'momentum'",
    ),
    "unknown choice": (
        VALID + "training:\n  optimizer: adma\n",
        4,
        "training.optimizer.name",
        "must name one of 'adam', 'adamw', 'sgd', not \"adma\"",
        "'adam'",
    ),
    "unknown word": (
        VALID + "missing:\n  protocol: balance\n",
        4,
        "missing.protocol",
        "must be 'balanced', 'independent', 'per_modality' or 'file', not \"balance\"",
        "'balanced'",
    ),
    "unknown question": (VALID + "question: [Q1, Q7]\n", 3, "question.1", "must be 'Q1'", "'Q"),
    "a number for text": (VALID + "title: 5\n", 3, "title", "must be text, not 5.", ""),
    "text for a number": (
        VALID + "training:\n  epochs: many\n",
        4,
        "training.epochs",
        'must be a whole number, not "many".',
        "",
    ),
    "quoted number": (VALID + 'limit: "5"\n', 3, "limit", "must be a whole number", ""),
    "truth for a number": (VALID + "limit: true\n", 3, "limit", "must be a whole number, not true.", ""),
    "broken number": (VALID + "seeds: [0, 1.5]\n", 3, "seeds.1", "must be a whole number, not 1.5.", ""),
    "number for a word": (
        VALID + "training: {precision: 32}\n",
        3,
        "training.precision",
        "must be '32', 'bf16-mixed' or 'auto', not 32.",
        "Write it in quotes.",
    ),
    "too small": (VALID + "training: {epochs: 0}\n", 3, "training.epochs", "must be at least 1, not 0.", ""),
    "list for a mapping": (VALID + "training: [1]\n", 3, "training", "must be a mapping", ""),
    "mapping for a list": (VALID + "seeds: {a: 1}\n", 3, "seeds", "must be a list", ""),
    "empty list": (VALID + "seeds: []\n", 3, "seeds", "needs 1 or more entries", ""),
    "short tuple": (
        VALID + "training: {optimizer: {betas: [0.9]}}\n",
        3,
        "training.optimizer.betas.1",
        "is required.",
        "",
    ),
    "name": (VALID + "name: a/b\n", 3, "name", "must match the pattern", ""),
    "no dataset": ("title: x\nmethods: [plain]\n", 1, "dataset", "is required.", "Known: speech, captions."),
    "unknown dataset": ("dataset: speach\nmethods: [plain]\n", 1, "dataset", "unknown dataset 'speach'", "'speech'"),
    "dataset without name": ("dataset: {noise: 1}\nmethods: [plain]\n", 1, "dataset", "needs the 'name'", ""),
    "dataset of a wrong type": ("dataset: 3\nmethods: [plain]\n", 1, "dataset", "must be a name or a mapping", ""),
    "unknown option of the dataset": (
        "dataset:\n  name: speech\n  nose: 1\nmethods: [plain]\n",
        3,
        "dataset.nose",
        "unknown field 'nose'",
        "'noise'",
    ),
    "option refused by the dataset": (
        "dataset:\n  name: speech\n  modalities: [audio, audio]\nmethods: [plain]\n",
        3,
        "dataset.modalities",
        "each modality can be named once only.",
        "",
    ),
    "no methods": ("dataset: speech\n", 1, "methods", "is required.", "Known: plain, fancy, demanding, modest."),
    "empty methods": ("dataset: speech\nmethods: []\n", 2, "methods", "at least one method", ""),
    "unknown method": (
        "dataset: speech\nmethods:\n  - plain\n  - fanci\n",
        4,
        "methods.1",
        "unknown method 'fanci'",
        "'fancy'",
    ),
    "unknown hyper-parameter": (
        "dataset: speech\nmethods:\n  - name: fancy\n    strengt: 1\n",
        4,
        "methods.0.strengt",
        "unknown field 'strengt'",
        "'strength'",
    ),
    "hyper-parameter of a method that has none": (
        "dataset: speech\nmethods: [{name: plain, depth: 1}]\n",
        2,
        "methods.0.depth",
        "unknown field 'depth'",
        "Known: none.",
    ),
    "hyper-parameter out of range": (
        "dataset: speech\nmethods:\n  - name: fancy\n    strength: -1\n",
        4,
        "methods.0.strength",
        "must be above 0.0, not -1",
        "",
    ),
    "hyper-parameter that fits no branch of a union": (
        "dataset: speech\nmethods: [{name: fancy, order: 5}]\n",
        2,
        "methods.0.order",
        "must be 'given' or 'random', or must be a list, not 5.",
        "",
    ),
    "epochs of a method's own": (
        VALID.replace("[plain]", "\n- name: plain\n  training:\n    epochs: 5\n"),
        5,
        "methods.0.training.epochs",
        "is the same for all methods of a suite",
        "Set it in the suite's own 'training'.",
    ),
    "selection of a method's own": (
        VALID.replace("[plain]", "[{name: plain, training: {selection: last}}]"),
        2,
        "methods.0.training.selection",
        "is the same for all methods of a suite",
        "",
    ),
    "unknown field of a method's training": (
        VALID.replace("[plain]", "\n- name: plain\n  training:\n    optimizer: {momentun: 0.5, name: sgd}\n"),
        5,
        "methods.0.training.optimizer.momentun",
        "unknown field",
        "'momentum'",
    ),
    "a method's training that is none": (
        VALID.replace("[plain]", "[{name: plain, training: fast}]"),
        2,
        "methods.0.training.settings",
        "must be 'suite', 'authors' or 'authors_with_epochs', not \"fast\".",
        "",
    ),
    "settings of nobody": (
        VALID + "settings: author\n",
        3,
        "settings",
        "must be 'suite', 'authors' or 'authors_with_epochs', not \"author\".",
        "Did you mean 'authors'?",
    ),
    "a mistake in the suite's training beside a method's": (
        VALID.replace("[plain]", "[{name: plain, training: {batch_size: 8}}]") + "training: {epochs: 0}\n",
        3,
        "training.epochs",
        "must be at least 1, not 0.",
        "",
    ),
    "what cannot be tuned": (
        VALID + "tuning:\n  space:\n    training.epochs: {low: 1, high: 9}\n",
        5,
        "tuning.space.training.epochs",
        "is not what methods can have of their own",
        "training.optimizer",
    ),
    "values that are no interval": (
        VALID + "tuning:\n  space:\n    training.optimizer.lr: {low: 1}\n",
        5,
        "tuning.space.training.optimizer.lr",
        "needs 'low' and 'high', or 'choices'",
        "",
    ),
    "required hyper-parameter": (
        "dataset: speech\nmethods: [demanding]\n",
        2,
        "methods.0.depth",
        "is required.",
        "",
    ),
    "label": ("dataset: speech\nmethods: [{name: plain, label: 3}]\n", 2, "methods.0.label", "must be text, not 3", ""),
    "same configuration under two labels": (
        "dataset: speech\nmethods:\n  - {name: fancy, label: One}\n  - {name: fancy, label: Two, strength: 0.5}\n",
        4,
        "methods.1",
        "duplicate trial: 'Two' has the same configuration as 'One'.",
        "",
    ),
    "same label for two methods": (
        "dataset: speech\nmethods:\n  - plain\n  - {name: fancy, label: plain}\n",
        4,
        "methods.1",
        "two different methods have the label 'plain'.",
        "label",
    ),
    "unknown encoder": (VALID + "encoders: mpl\n", 3, "encoders.*", "unknown encoder 'mpl'", "'mlp'"),
    "unknown option of an encoder": (
        VALID + "encoders:\n  '*': {name: mlp, widht: 4}\n",
        4,
        "encoders.*.widht",
        "unknown field 'widht'",
        "'width'",
    ),
    "encoder of an unknown modality": (
        VALID + "encoders:\n  audio: mlp\n  image: mlp\n  text: mlp\n  txt: mlp\n",
        7,
        "encoders.txt",
        "the dataset has no modality 'txt'.",
        "'text'",
    ),
    "modality without an encoder": (
        VALID + "encoders:\n  audio: mlp\n  image: mlp\n",
        3,
        "encoders",
        "no encoder for the modality 'text'.",
        "Add 'text: NAME'; encoders that read features: mlp.",
    ),
    "encoders of a wrong type": (VALID + "encoders: [mlp]\n", 3, "encoders", "such as 'audio: mlp'", ""),
    "rate of one": (
        VALID + "missing:\n  rates:\n    - 0.5\n    - 1.0\n",
        6,
        "missing.rates.1",
        "must be below 1.0, not 1.0.",
        "",
    ),
    "rate of a wrong type": (VALID + "missing: {rates: [a]}\n", 3, "missing.rates.0", "must be a number", ""),
    "negative rate": (VALID + "missing: {rates: -0.1}\n", 3, "missing.rates.0", "must be at least 0.0, not -0.1.", ""),
    "rate listed twice": (
        VALID + "missing: {rates: [0, 0.5, 0.5]}\n",
        3,
        "missing.rates.2",
        "duplicate trial: the rate 0.5 is listed twice.",
        "",
    ),
    "seed listed twice": (
        VALID + "seeds:\n  - 1\n  - 1\n",
        5,
        "seeds.1",
        "duplicate trial: the seed 1 is listed twice.",
        "",
    ),
    "mapping of rates under another protocol": (
        VALID + "missing: {rates: [{audio: 0.5}]}\n",
        3,
        "missing.rates.0",
        "the protocol 'balanced' takes numbers",
        "",
    ),
    "number under per_modality": (
        VALID + "missing: {protocol: per_modality, rates: [0.5]}\n",
        3,
        "missing.rates.0",
        "takes mappings such as {audio: 0.5}",
        "",
    ),
    "per_modality without rates": (
        VALID + "missing: {protocol: per_modality}\n",
        3,
        "missing.rates",
        "is required by the protocol 'per_modality'",
        "",
    ),
    "rate of an unknown modality": (
        VALID + "missing:\n  protocol: per_modality\n  rates:\n    - adio: 0.5\n",
        6,
        "missing.rates.0.adio",
        "the dataset has no modality 'adio'.",
        "'audio'",
    ),
    "pattern file that is not there": (
        VALID + "missing:\n  protocol: file\n  file: none.csv\n",
        5,
        "missing.file",
        "cannot read the missing pattern",
        "",
    ),
    "protocol file without a file": (
        VALID + "missing: {protocol: file}\n",
        3,
        "missing.file",
        "is required by the protocol 'file'.",
        "",
    ),
    "protocol file with rates": (
        VALID + "missing: {protocol: file, file: a.csv, rates: [0.5]}\n",
        3,
        "missing.rates",
        "the protocol 'file' takes no rates.",
        "",
    ),
    "file under another protocol": (
        VALID + "missing: {file: a.csv}\n",
        3,
        "missing.file",
        "is for the protocol 'file' only.",
        "",
    ),
    "unset variable": (
        VALID + "title: x\npaper: ${MLABENCH_NOT_SET}\n",
        4,
        "paper",
        "the environment variable 'MLABENCH_NOT_SET' is empty or not set.",
        "${MLABENCH_NOT_SET:-default}",
    ),
    "broken variable": (VALID + "title: ${A-B}\n", 3, "title", "neither ${VAR} nor ${VAR:-default}", ""),
    "nothing": ("", None, None, "is empty.", "'dataset' and 'methods'"),
    "only comments": ("# nothing\n", None, None, "is empty.", ""),
    "a list": ("- a\n", 1, None, "must hold a mapping", ""),
    "tabs": (VALID + "training:\n\tepochs: 3\n", 4, None, "is not valid YAML", "Indent with spaces, not tabs."),
    "broken YAML": (VALID + "seeds: [1, 2\n", 4, None, "is not valid YAML: expected ',' or ']'", ""),
    "duplicate key": (VALID + "seeds: 1\nlimit: 2\nseeds: 3\n", 5, None, "'seeds' is already set in line 3", ""),
    "two documents": (VALID + "---\n" + VALID, 3, None, "is not valid YAML", ""),
    "key that is no word": (VALID + "[a, b]: 1\n", 3, None, "a key must be a word", ""),
    "foreign tag": (VALID + "title: !!python/name:os.system x\n", 3, "title", "is not allowed", ""),
    "foreign tag on a list": (VALID + "seeds: !!set {1}\n", 3, "seeds", "tag:yaml.org,2002:set' is not allowed", ""),
    "huge number": (VALID + "limit: 99999999999999999999\n", 3, "limit", "is too large.", ""),
    "infinite number": (VALID + "missing: {rates: 1e999}\n", 3, "missing.rates", "is too large.", ""),
    "too deep": (VALID + f"title: {'[' * 30}{']' * 30}\n", 3, None, "too deeply", ""),
    "far too deep": (VALID + f"title: {'[' * 9000}\n", 1, None, "too deeply", ""),
    "list that holds itself": (VALID + "seeds: &a [*a]\n", 3, None, "too deeply", ""),
    "control character": (VALID + "title: a\x07\n", 3, None, "holds the character '\\x07'", ""),
    "half a surrogate pair": (VALID + 'title: "\\ud800"\n', 3, "title", "surrogate", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_names_file_line_field_and_remedy(name: str, mistake: Callable[..., UserError], tmp_path: Path) -> None:
    text, line, field, problem, remedy = MISTAKES[name]
    error = mistake(text)
    assert error.file == str(tmp_path / "some.yaml")
    assert error.line == line
    if field is not None:
        assert error.field == field
    assert problem in error.problem
    assert remedy in error.remedy
    assert error.others == ()


def test_lists_all_mistakes_in_reading_order(mistake: Callable[..., UserError]) -> None:
    error = mistake("methods: [fanci]\ntitel: x\ndataset: speach\ntraining: {epochs: 0, batch_size: x}\n")
    assert [entry.line for entry in (error, *error.others)] == [1, 2, 3, 4, 4]
    lines = str(error).splitlines()
    assert len(lines) == 5
    assert lines[1].endswith("some.yaml:2: titel: unknown field 'titel'. Did you mean 'title'?")
    assert "pydantic" not in str(error)
    assert "Input should" not in str(error)


def test_billion_laughs(mistake: Callable[..., UserError]) -> None:
    levels = "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 9))
    assert "too large" in mistake(f"x0: &x0 [a]\n{levels}\n").problem


def test_missing_file_suggests_its_neighbour(fakes: None, tmp_path: Path) -> None:
    (tmp_path / "stamps.yaml").write_text(VALID)
    with pytest.raises(UserError, match=r"stmps.yaml: no such file. Did you mean 'stamps.yaml'\?"):
        load_suite(tmp_path / "stmps.yaml")
    with pytest.raises(UserError, match="is a folder"):
        load_suite(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_suite(tmp_path / "no" / "where.yaml")


def test_wrong_encoding(fakes: None, tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("dataset: speech\ntitle: Bäume\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.yaml:2: is not UTF-8 text. Save the file as UTF-8."):
        load_suite(path)


def test_byte_order_mark_and_carriage_returns_are_fine(fakes: None, tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(("\ufeff" + VALID + "title: x\n").replace("\n", "\r\n").encode())
    assert load_suite(path).title == "x"


@pytest.mark.parametrize(("file", "name"), [("my süite", "my_s_ite"), ("..", "suite"), ("-x" * 60, "x-" * 32)])
def test_a_suite_without_a_name_is_called_after_its_file(fakes: None, tmp_path: Path, file: str, name: str) -> None:
    path = tmp_path / f"{file}.yaml"
    path.write_text(VALID)
    assert load_suite(path).name == name


def test_yaml_of_1_2(load: Callable[..., Suite]) -> None:
    suite = load(VALID + "title: no\ntraining: {optimizer: {lr: 1e-3}}\n")
    assert suite.title == "no"
    assert suite.training.optimizer.lr == 0.001


def test_anchors_and_merge_keys(load: Callable[..., Suite]) -> None:
    suite = load(
        "dataset: speech\n"
        "encoders: {audio: &small {name: mlp, width: 8}, image: *small, text: {<<: *small, hidden: [4]}}\n"
        "methods: [plain]\n"
    )
    assert [encoder.config["width"] for encoder in suite.encoders.values()] == [8, 8, 8]
    assert suite.encoders["text"].config["hidden"] == [4]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = (
    *("name", "title", "question", "dataset", "encoders", "methods", "missing", "seeds", "training", "extends"),
    *("rates", "splits", "evaluate", "file", "optimizer", "limit", "label", "order", "speech", "fancy", "*", "audio"),
)
words = st.sampled_from(WORDS) | st.text(max_size=4)
values = st.recursive(
    leaves | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.text(alphabet="[]{}:,&*!-\n a'\"|>%@#?", max_size=40))
def test_any_text_is_answered(text: str) -> None:
    try:
        parse(text, "any.yaml")
    except UserError as error:
        assert error.line is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(words, values, max_size=6))
def test_any_mapping_is_answered(content: dict[str, object], fakes: None, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump({"dataset": "speech", "methods": ["fancy"], **content}), encoding="utf-8")
    try:
        load_suite(path)
    except UserError as error:
        assert str(error)

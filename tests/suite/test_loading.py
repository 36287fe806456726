"""Short forms, defaults, extends, environment variables, overrides, origins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mlabench.errors import UserError
from mlabench.suite import Overrides, Suite, describe, load_suite, members
from mlabench.suite.expansion import expand
from mlabench.trial import Training
from tests.suite.fakes import MASK, Captions

VALID = "dataset: speech\nmethods: [plain]\n"


def test_every_default_is_filled_in(load: Callable[..., Suite]) -> None:
    assert load("dataset: speech\nmethods: fancy\n").resolved() == {
        "name": "some",
        "title": "",
        "question": [],
        "dataset": {"name": "speech", "modalities": ["audio", "image", "text"], "noise": 0.0},
        "encoders": {
            modality: {"name": "mlp", "hidden": [256], "width": 128} for modality in ("audio", "image", "text")
        },
        "methods": [
            {
                "name": "fancy",
                "label": "Fancy!",
                "modification": True,
                "fusion": "average",
                "strength": 0.5,
                "order": "given",
            }
        ],
        "missing": {
            "protocol": "balanced",
            "rates": [0.0],
            "splits": ["train", "test"],
            "pattern_seed": 0,
            "evaluate": ["diagonal"],
            "select": "train",
            "file": "",
        },
        "seeds": [0],
        "training": {
            "epochs": 30,
            "batch_size": 64,
            "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "weight_decay": 0.0},
            "schedule": {"name": "constant"},
            "selection": "best_val",
            "precision": "32",
        },
        "settings": "suite",
        "tuning": {"tries": 20, "seed": 0, "folds": None, "optimizers": ["adam", "sgd"], "space": {}},
        "tuned": None,
        "paper": "",
        "limit": None,
        "folds": None,
        "margin": 2.0,
        "until_width": None,
        "max_repeats": 10,
    }


def test_short_forms_mean_the_long_ones(load: Callable[..., Suite]) -> None:
    short = load(
        "question: Q1\ndataset: speech\nencoders: mlp\nmethods: fancy\nseeds: 3\n"
        "missing: {rates: 0.5, splits: test, evaluate: matrix}\ntraining: {optimizer: sgd, schedule: cosine}\n"
    )
    long = load(
        "question: [Q1]\ndataset: {name: speech}\nencoders: {audio: {name: mlp}, image: mlp, '*': mlp}\n"
        "methods: [{name: fancy}]\nseeds: [3]\nmissing: {rates: [0.5], splits: [test], evaluate: [matrix]}\n"
        "training: {optimizer: {name: sgd}, schedule: {name: cosine}}\n"
    )
    assert short.resolved() == long.resolved()


def test_variants_are_labelled_by_what_they_change(load: Callable[..., Suite]) -> None:
    suite = load(
        "dataset: speech\nmethods:\n  - fancy\n  - {name: fancy, modification: false}\n"
        "  - {name: fancy, fusion: entropy, strength: 2}\n  - {name: fancy, strength: 3, label: Mine}\n"
        "  - {name: demanding, depth: 2}\n"
    )
    assert [entry.label for entry in suite.methods] == [
        "Fancy!",
        "Fancy! (modification=false)",
        'Fancy! (fusion="entropy", strength=2.0)',
        "Mine",
        "demanding (depth=2)",
    ]
    assert [entry.method.version for entry in suite.methods] == [3, 3, 3, 3, 1]


def test_the_star_is_for_modalities_that_are_not_named(load: Callable[..., Suite]) -> None:
    suite = load(VALID + "encoders: {image: {name: mlp, width: 4}, '*': {name: mlp, width: 9}}\n")
    assert list(suite.encoders) == ["audio", "image", "text"]
    assert [encoder.config["width"] for encoder in suite.encoders.values()] == [9, 4, 9]


def test_the_dataset_decides_the_modalities(load: Callable[..., Suite]) -> None:
    assert load("dataset: {name: speech, modalities: [text, audio]}\nmethods: plain\n").modalities == ("text", "audio")


# -- extends --------------------------------------------------------------------------------------


def test_extends_merges_mappings_and_replaces_lists(load: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "base.yaml").write_text(
        VALID + "name: base\ntitle: Base\nseeds: [0, 1, 2]\ntraining: {epochs: 7, optimizer: {lr: 0.5, name: sgd}}\n"
    )
    (tmp_path / "other.yaml").write_text("seeds: [8]\ntraining: {batch_size: 5}\n")
    suite = load("extends: [inner/base.yaml, other.yaml]\nseeds: [9, 10]\ntraining: {optimizer: {momentum: 0.1}}\n")
    assert suite.name == "some", "a name is not inherited"
    assert suite.title == "Base"
    assert suite.seeds == (9, 10)
    assert suite.training.model_dump(include={"epochs", "batch_size", "optimizer"}) == {
        "epochs": 7,
        "batch_size": 5,
        "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.1, "weight_decay": 0.0},
    }


def test_options_are_not_inherited_by_something_else(load: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "dataset: {name: speech, noise: 2}\nmethods: plain\ntraining: {optimizer: {name: adam, betas: [0.5, 0.5]}}\n"
    )
    suite = load("extends: base.yaml\ndataset: captions\ntraining: {optimizer: sgd}\n")
    assert suite.dataset.config == {}
    assert suite.training.optimizer.name == "sgd"
    assert load("extends: base.yaml\ndataset: speech\n").dataset.config["noise"] == 2.0


def test_a_mistake_in_an_extended_file_names_that_file(mistake: Callable[..., UserError], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(VALID + "training:\n  epochs: 0\n")
    error = mistake("extends: base.yaml\ntraining: {batch_size: 0}\n")
    assert (error.file, error.line, error.field) == (str(tmp_path / "base.yaml"), 4, "training.epochs")
    other = error.others[0]
    assert (other.file, other.line, other.field) == (str(tmp_path / "some.yaml"), 2, "training.batch_size")


def test_extends_in_a_circle(mistake: Callable[..., UserError], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("title: x\nextends: some.yaml\n")
    error = mistake("extends: a.yaml\n")
    assert (error.file, error.line, error.field) == (str(tmp_path / "a.yaml"), 2, "extends")
    assert "some.yaml -> a.yaml -> some.yaml" in error.problem
    assert "some.yaml -> some.yaml" in mistake("extends: some.yaml\n").problem


def test_extends_what_is_not_there(mistake: Callable[..., UserError], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(VALID)
    error = mistake("title: x\nextends: bass.yaml\n")
    assert (error.file, error.line, error.field) == (str(tmp_path / "some.yaml"), 2, "extends")
    assert error.remedy == "Did you mean 'base.yaml'?"
    assert "another suite's path or name" in mistake("extends: {a: 1}\n").problem
    assert "another suite's path or name" in mistake("extends: [3]\n").problem


def test_the_same_base_twice_is_no_circle(load: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text(VALID)
    (tmp_path / "a.yaml").write_text("extends: root.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: root.yaml\ntitle: b\n")
    assert load("extends: [a.yaml, b.yaml]\n").title == "b"


# -- environment ----------------------------------------------------------------------------------


def test_variables(load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(VALID)
    monkeypatch.setenv("MLABENCH_BASE", "base")
    monkeypatch.setenv("MLABENCH_EMPTY", "")
    monkeypatch.delenv("MLABENCH_UNSET", raising=False)
    suite = load(
        "extends: ${MLABENCH_BASE}.yaml\ntitle: ${MLABENCH_BASE}-${MLABENCH_UNSET:-x y}-${MLABENCH_EMPTY:-}$\n"
    )
    assert suite.title == "base-x y-$"


def test_a_pattern_file_is_relative_to_its_suite(load: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "mask.csv").write_text("id,audio,image,text\na,1,0,1\n")
    (tmp_path / "inner" / "base.yaml").write_text(VALID + "missing: {protocol: file, file: mask.csv}\n")
    suite = load("extends: inner/base.yaml\n")
    (condition,) = suite.missing.conditions()
    assert Path(condition.file) == tmp_path / "inner" / "mask.csv"
    assert len(condition.sha256) == 64
    assert suite.missing.file == condition.file


# -- overrides ------------------------------------------------------------------------------------

SUITE = """
dataset: {name: speech, noise: 2}
encoders: {audio: {name: mlp, width: 3}, image: {name: mlp, width: 4}, text: {name: mlp, width: 5}}
methods: [plain, fancy, {name: fancy, label: Mine, strength: 2}]
missing: {rates: [0.5]}
seeds: [5]
"""


def test_set(load: Callable[..., Suite]) -> None:
    suite = load(
        SUITE,
        settings=(
            "training.epochs=5",
            "training.optimizer.lr=1e-2",
            "methods.2.strength=4",
            "encoders.text=mlp",
            "missing.rates=[0.1, 0.2]",
            "title=a = b",
            "limit=7",
            "limit=",
        ),
    )
    assert suite.training.epochs == 5
    assert suite.training.optimizer.lr == 0.01
    assert suite.methods[2].method.config["strength"] == 4.0
    assert suite.encoders["text"].config["width"] == 128
    assert suite.missing.rates == (0.1, 0.2)
    assert suite.title == "a = b"
    assert suite.limit is None


@pytest.mark.parametrize(
    ("overrides", "flag", "field", "problem"),
    [
        ({"settings": ("training.epochs=x",)}, "--set training.epochs", "training.epochs", "must be a whole number"),
        ({"settings": ("training.epoch=3",)}, "--set training.epoch", "training.epoch", "unknown field 'epoch'"),
        ({"settings": ("dataset.noise.x=3",)}, "--set dataset.noise.x", "dataset.noise.x", "there is no 'x'"),
        ({"settings": ("methods.7=plain",)}, "--set methods.7", "methods.7", "there is no 7"),
        ({"settings": ("training.epochs",)}, "--set", None, "is not FIELD=VALUE"),
        ({"settings": ("a..b=1",)}, "--set", None, "is not FIELD=VALUE"),
        ({"settings": ("title=[1",)}, "--set title", None, "is not valid YAML"),
        ({"rates": "0,2"}, "--rates", "missing.rates.1", "must be below 1.0, not 2."),
        ({"rates": "0,x"}, "--rates", "missing.rates.1", "must be a number"),
        ({"rates": ""}, "--rates", "missing.rates", "needs 1 or more entries"),
        ({"seeds": "1,1"}, "--seeds", "seeds.1", "the seed 1 is listed twice"),
        ({"seeds": "4-0"}, "--seeds", "seeds", "neither a range such as 0-4"),
        ({"seeds": "a"}, "--seeds", "seeds", "neither a range such as 0-4"),
        ({"seeds": "0-99999999999"}, "--seeds", "seeds", "'0-99999999999' are more than 10,000 seeds."),
        ({"settings": ("extends=base.yaml",)}, "--set extends", None, "a file has to say what it extends"),
        ({"folds": "1"}, "--folds", "folds.count", "must be at least 2, not 1."),
        ({"settings": ("folds={count: 5.5}",)}, "--set folds", "folds.count", "must be a whole number"),
        ({"settings": ("folds={by: session, split: 5}",)}, "--set folds", "folds.split", "unknown field 'split'"),
        ({"settings": ("folds={}",)}, "--set folds", "folds", "needs a number of folds, or a division"),
        ({"folds": "[5]"}, "--folds", "folds.count", "must be a whole number"),
        ({"limit": 0}, "--limit", "limit", "must be at least 1"),
        ({"precision": "16"}, "--precision", "training.precision", "must be '32', 'bf16-mixed' or 'auto'"),
        ({"dataset": "speach"}, "--dataset", "dataset", "unknown dataset 'speach'"),
        ({"methods": ("Mein",)}, "--method", "methods", "no method is called 'Mein'"),
        ({"methods": ("demanding",)}, "--method", "methods.0.depth", "is required"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_flag(
    overrides: dict[str, object], flag: str, field: str | None, problem: str, mistake: Callable[..., UserError]
) -> None:
    error = mistake(SUITE, **overrides)
    assert (error.file, error.line, error.field) == (flag, None, field)
    assert problem in error.problem


def test_method(load: Callable[..., Suite], mistake: Callable[..., UserError]) -> None:
    def labels(*wanted: str) -> list[str]:
        return [entry.label for entry in load(SUITE, methods=wanted).methods]

    assert labels() == ["plain", "Fancy!", "Mine"]
    assert labels("fancy") == ["Fancy!", "Mine"], "a name keeps all variants"
    assert labels("Mine", "plain") == ["plain", "Mine"], "the suite's order"
    assert mistake(SUITE, methods=("Mein",)).remedy == "Did you mean 'Mine'?"
    suite = load("dataset: speech\nmethods: plain\n", methods=("fancy", "fancy"))
    assert [entry.label for entry in suite.methods] == ["Fancy!"], "added with its defaults"


def test_seeds_rates_limit_precision(load: Callable[..., Suite]) -> None:
    suite = load(SUITE, seeds="0-2, 7", rates="0,0.25", limit=9, precision="bf16-mixed")
    assert suite.seeds == (0, 1, 2, 7)
    assert suite.missing.rates == (0.0, 0.25)
    assert suite.limit == 9
    assert suite.training.precision == "bf16-mixed"
    assert load(VALID, rates="0.25").missing.rates == (0.25,), "also where the suite has no rates"


def test_another_dataset(load: Callable[..., Suite]) -> None:
    suite = load(SUITE, dataset="captions")
    assert suite.dataset.config == {}
    assert {key: encoder.config["width"] for key, encoder in suite.encoders.items()} == {"image": 4, "caption": 128}
    assert load(SUITE, dataset="speech").resolved() == load(SUITE).resolved(), "the same dataset keeps its options"
    star = SUITE.replace("encoders: {", "encoders: {'*': {name: mlp, width: 6}, ")
    assert load(star, dataset="captions").encoders["caption"].config["width"] == 6


def test_a_suite_on_another_dataset_is_another_suite(load: Callable[..., Suite]) -> None:
    titled = SUITE + "title: Speech, all of it\n"
    moved = load(titled, dataset="captions")
    assert (moved.name, moved.title) == ("some.captions", "Speech, all of it (moved to captions)")
    assert load(titled, dataset="speech").name == "some"


def test_a_dataset_brings_the_encoders_and_the_training_that_suit_it(
    load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {"encoders": {"*": {"name": "mlp", "width": 9}}, "training": {"epochs": 7}}
    monkeypatch.setattr(Captions, "defaults", defaults)
    suite = load(SUITE + "training: {epochs: 3, batch_size: 5}\n", dataset="captions")
    assert {key: encoder.config["width"] for key, encoder in suite.encoders.items()} == {"image": 9, "caption": 9}
    assert (suite.training.epochs, suite.training.batch_size) == (7, Training().batch_size)
    assert load(SUITE, dataset="captions", settings=("training.epochs=2",)).training.epochs == 2


# -- several suites in one file --------------------------------------------------------------------


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_file_that_lists_suites_stands_for_them(tmp_path: Path) -> None:
    write(tmp_path, a=VALID, b=VALID, all="suites: [b.yaml, some.yaml]\n", some="suites: [a.yaml, b.yaml]\n")
    assert members(tmp_path / "all.yaml") == [tmp_path / "b.yaml", tmp_path / "a.yaml"]
    assert members(tmp_path / "a.yaml") == [tmp_path / "a.yaml"]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("suites: [a.yaml]\nseeds: 3\n", 1, "stands beside 'seeds'. A file that lists suites holds nothing else."),
        ("suites: a.yaml\n", 1, "must be a list of at least one path."),
        ("suites: []\n", 1, "must be a list of at least one path."),
        ("suites:\n- 3\n", 2, "must be another suite's path or name, or a list of them."),
        ("suites:\n- b.yaml\n", 2, "there is no file 'b.yaml'. Did you mean 'a.yaml'?"),
        ("suites:\n- all.yaml\n", 2, "suites list each other in a circle: all.yaml -> all.yaml."),
    ],
)
def test_mistakes_in_a_list_of_suites(text: str, line: int, problem: str, tmp_path: Path) -> None:
    write(tmp_path, a=VALID, all=text)
    with pytest.raises(UserError) as caught:
        members(tmp_path / "all.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'all.yaml'}:{line}: suites: {problem}")


# -- origins --------------------------------------------------------------------------------------


def test_describe(load: Callable[..., Suite], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "dataset: speech\nencoders:\n  text: mlp\n  '*':\n    name: mlp\n    width: 8\n"
    )
    suite = load(
        "extends: base.yaml\nmethods:\n  - plain\n  - name: fancy\n    strength: 2\n",
        seeds="0-1",
        settings=("training.epochs=5",),
    )
    fields = {field: (value, origin) for field, value, origin in describe(suite)}
    base, here = tmp_path / "base.yaml", tmp_path / "some.yaml"
    assert fields["dataset.name"] == ("speech", f"{base}:1")
    assert fields["dataset.noise"] == (0.0, "default")
    assert fields["encoders.audio.width"] == (8, f"{base}:6")
    assert fields["encoders.text.name"] == ("mlp", f"{base}:3")
    assert fields["encoders.text.width"] == (128, "default")
    assert fields["methods.1.strength"] == (2.0, f"{here}:5")
    assert fields["methods.1.label"] == ("Fancy! (strength=2.0)", "default")
    assert fields["seeds"] == ([0, 1], "--seeds")
    assert fields["training.epochs"] == (5, "--set training.epochs")
    assert fields["name"] == ("some", str(here))
    assert fields["limit"] == (None, "default")


@pytest.mark.parametrize(
    "missing",
    [
        "{rates: [0, 0.3], splits: train, evaluate: [matrix, subsets], pattern_seed: 4}",
        "{protocol: per_modality, rates: [{audio: 0.5}, {audio: 0.25, text: 0.5}]}",
        "{protocol: file, file: mask.csv}",
    ],
)
def test_the_source_of_a_plan_is_the_same_suite(
    load: Callable[..., Suite], spoken: None, tmp_path: Path, missing: str
) -> None:
    (tmp_path / "mask.csv").write_text(MASK)
    suite = load(SUITE.replace("missing: {rates: [0.5]}", f"missing: {missing}"))
    plan = expand(suite)
    copy = tmp_path / "copy.yaml"
    copy.write_text(plan.source, encoding="utf-8")
    again = load_suite(copy, Overrides())
    assert again.resolved() == suite.resolved()
    assert expand(again) == plan
    assert yaml.safe_load(plan.source)["name"] == "some"

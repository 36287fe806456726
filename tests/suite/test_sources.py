"""A suite is a file, a name or a mapping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlabench.errors import UserError
from mlabench.suite import (
    Overrides,
    Suite,
    describe,
    find_suite,
    load_plans,
    load_suite,
    members,
    own_folder,
    suites_by_name,
)
from mlabench.suite import files as module
from mlabench.trial import SGD

TEXT = """
dataset: {name: speech, noise: 0.5}
encoders: {'*': {name: mlp, width: 4}}
methods: [plain, {name: fancy, strength: 2}]
missing: {rates: [0, 1.0e-5]}
seeds: [0, 1, 2]
training: {optimizer: {lr: 1.0e-2}}
"""


def test_a_mapping_means_what_the_file_means(load: Callable[..., Suite]) -> None:
    mapping = yaml.safe_load(TEXT)
    changes = Overrides(settings=("training.epochs=3",), methods=("fancy",))
    suite = load_suite(mapping, changes)
    assert suite.resolved() == {
        **load(TEXT, settings=("training.epochs=3",), methods=("fancy",)).resolved(),
        "name": "suite",
    }
    assert load_suite({**mapping, "name": "mine"}).name == "mine"
    origins = {field: origin for field, _, origin in describe(suite)}
    assert (origins["dataset.noise"], origins["training.epochs"]) == ("suite", "--set training.epochs")


def test_python_data_of_other_types(fakes: None, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(TEXT)
    given = {"extends": tmp_path / "base.yaml", "seeds": range(2), "missing": {"rates": (np.float64(0.5), 0)}}
    suite = load_suite(given)
    assert (suite.seeds, suite.missing.rates) == ((0, 1), (0.5, 0.0))
    assert load_suite({**given, "seeds": np.arange(3)}).seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traning": {}}, "suite: traning: unknown field 'traning'. Did you mean 'training'?"),
        ({"methods": ["fanci"]}, "suite: methods.0: unknown method 'fanci'. Did you mean 'fancy'?"),
        ({"seeds": ["0"]}, 'suite: seeds.0: must be a whole number, not "0".'),
        ({"title": {1}}, "suite: cannot be written as YAML: "),
        ({"title": "a\ud800"}, "suite: "),
        ({"title": "a\x7f\ufffe"}, "suite: "),
    ],
)
def test_a_mistake_in_a_mapping(change: dict[str, object], message: str, fakes: None) -> None:
    with pytest.raises(UserError) as caught:
        load_suite({**yaml.safe_load(TEXT), **change})
    assert str(caught.value).startswith(message)


def test_a_mapping_that_holds_itself(fakes: None) -> None:
    mapping: dict[str, object] = {"dataset": "speech"}
    mapping["methods"] = [mapping]
    with pytest.raises(UserError, match="suite: cannot be written as YAML"):
        load_suite(mapping)


def test_a_name_is_looked_up_here_and_then_in_the_checkout(
    fakes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Path(module.__file__).parents[2] / "suites"
    assert find_suite("stamps_missing") == shipped / "stamps_missing.yaml"
    assert members("paper")[0] == shipped / "cremad.yaml"
    (tmp_path / "suites").mkdir()
    (tmp_path / "stamps").mkdir()
    for name in ("stamps", "mine"):
        (tmp_path / "suites" / f"{name}.yaml").write_text(TEXT)
    assert find_suite("stamps") == Path("suites/stamps.yaml"), "a folder of that name does not matter"
    assert load_suite("mine").name == "mine"
    assert find_suite(tmp_path / "no.yaml") == tmp_path / "no.yaml", "a path stays as it is"
    assert find_suite("suites/mine.yaml") == Path("suites/mine.yaml")
    assert find_suite("suites/iemocap.yaml") == shipped / "iemocap.yaml", "as in the checkout"
    assert find_suite("other/iemocap.yaml") == Path("other/iemocap.yaml")
    known = suites_by_name()
    assert (known["mine"], known["stamps"]) == (Path("suites/mine.yaml"), Path("suites/stamps.yaml"))
    assert set(known) == {"mine", *(file.stem for file in shipped.glob("*.yaml"))}


def test_an_installation_has_them_in_the_package(fakes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "mlabench" / "suites"
    installed.mkdir(parents=True)
    monkeypatch.setattr(module, "_INSTALLED", installed)
    monkeypatch.chdir(tmp_path)
    (installed / "speech.yaml").write_text(TEXT)
    assert find_suite("speech") == find_suite("suites/speech.yaml") == installed / "speech.yaml"
    assert list(suites_by_name()) == ["speech"]
    origins = {field: origin for field, _, origin in describe(load_suite("speech"))}
    assert origins["dataset.noise"] == "mlabench/suites/speech.yaml:2", "not where it happens to be installed"


def test_others_are_named_too(fakes: None, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(TEXT)
    (tmp_path / "mine.yaml").write_text("extends: base\nseeds: 7\n")
    (tmp_path / "all.yaml").write_text("suites: [mine, stamps_missing]\n")
    assert load_suite(tmp_path / "mine.yaml").seeds == (7,)
    assert members(tmp_path / "all.yaml") == [tmp_path / "mine.yaml", own_folder() / "stamps_missing.yaml"]
    (tmp_path / "all.yaml").write_text("suites: stamps_mising\n")
    (tmp_path / "mine.yaml").write_text("extends: stamps_mising\n")
    with pytest.raises(UserError, match=r"mine.yaml:1: extends: there is no file 'stamps_mising'. Did you .*_missing'"):
        load_suite(tmp_path / "mine.yaml")


def test_a_name_that_no_suite_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^there is no suite 'stamps_mising'. Did you mean 'stamps_missing'\?$"):
        load_suite("stamps_mising")
    with pytest.raises(UserError, match=r"there is no suite 'x'. Give the path of a YAML file"):
        find_suite("x")


def test_two_mappings_are_two_plans(fakes: None) -> None:
    one, two = yaml.safe_load(TEXT), {**yaml.safe_load(TEXT), "seeds": 5}
    plans = load_plans([{**one, "name": "one"}, {**two, "name": "two"}])
    assert [plan.name for plan in plans.values()] == ["one", "two"]
    with pytest.raises(UserError, match="suite is named 'suite', too"):
        load_plans([one, two])


def test_flags_reach_into_short_forms(fakes: None) -> None:
    short = {"dataset": "speech", "encoders": "mlp", "methods": "fancy", "training": {"optimizer": "sgd"}}
    settings = ("dataset.noise=2", "encoders.*.width=3", "methods.0.strength=4", "training.optimizer.momentum=0.5")
    suite = load_suite(short, Overrides(settings=settings))
    assert suite.dataset.config["noise"] == 2.0
    assert [encoder.config["width"] for encoder in suite.encoders.values()] == [3, 3, 3]
    assert suite.methods[0].method.config["strength"] == 4.0
    assert suite.training.optimizer == SGD(momentum=0.5)
    origins = {field: origin for field, _, origin in describe(suite)}
    assert (origins["dataset.name"], origins["dataset.noise"]) == ("suite", "--set dataset.noise")
    assert (origins["encoders.audio.name"], origins["encoders.text.width"]) == ("suite", "--set encoders.*.width")
    with pytest.raises(UserError, match=r"--set title.x: title.x: there is no 'x' in the suite's 'title.x'"):
        load_suite({**short, "title": "a"}, Overrides(settings=("title.x=1",)))

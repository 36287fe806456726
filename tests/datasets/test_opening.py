"""The door through which datasets are opened by name."""

from pathlib import Path

import pytest

from mlabench.datasets import has_raw_inputs, media_of, open_dataset
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.trial import Component
from tests.datasets.trees import TREES


def test_options_and_places_are_those_of_the_component(tmp_path: Path) -> None:
    root = TREES["mvsa"](tmp_path)
    component = Component(name="mvsa", config={"labels": "polar"}, location={"root": str(root)})
    dataset = open_dataset(component)
    assert dataset.name == "mvsa"
    assert dataset.config.model_dump()["root"] == root
    assert dataset.load().skipped == {"contradictory labels": 2}


def test_a_dataset_that_is_opened_again_sees_what_has_changed(tmp_path: Path) -> None:
    root = TREES["mvsa"](tmp_path)
    component = Component(name="mvsa", location={"root": str(root)})
    before = open_dataset(component).fingerprint()
    (root / "data/1.txt").write_text("something else")
    assert open_dataset(component).fingerprint() != before


def test_the_media_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Component(name="clipart", config={"modalities": ["text", "image"]})
    assert media_of(pair) == {"text": "features", "image": "features"}
    monkeypatch.setattr(Clipart, "media", None)
    assert media_of(pair) == {"text": "features", "image": "features"}


@pytest.mark.parametrize(("name", "raw"), [("stamps", False), ("synthetic", False), ("mvsa", True), ("crema_d", True)])
def test_raw_inputs_are_known_without_their_files(name: str, raw: bool) -> None:
    assert has_raw_inputs(Component(name=name)) is raw

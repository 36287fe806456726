"""``mlabench leaderboard``: which folders it takes, and what it says of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlabench.store import Store
from mlabench.trial import Component
from tests.command_line import invoke
from tests.reporting.predicted import Skill, sweep

CARD = {
    "name": "mine",
    "title": "Mine <b>",
    "authors": ["Ada Lovelace", "Grace Hopper"],
    "contact": "ada@example.org",
    "licence": "MIT",
    "encoder_saw_data": "unknown",
    "tuned": "nothing",
    "mlabench": "0.1.0",
    "code": "https://example.org/mine",
}


def always(accuracy: float) -> Skill:
    return lambda _target, _test, _seed: accuracy


def suite(folder: Path, skills: dict[str, Skill], **changes: object) -> None:
    store = Store(folder)
    store.write_plan(sweep(store, skills, folds=2, seeds=(0,), **changes))  # type: ignore[arg-type]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a reference and a contribution, and results of one's own."""
    suite(tmp_path / "results" / "reference", {"Concat": always(0.7), "MLA": always(0.8)})
    theirs = tmp_path / "results" / "contributed" / "mine"
    suite(theirs, {"Mine": always(0.9)}, methods={"Mine": Component(name="mine")}, name="theirs")
    (theirs / "card.yaml").write_text(yaml.safe_dump(CARD), encoding="utf-8")
    suite(tmp_path / "results", {"Concat": always(0.7), "QMF": always(0.8)}, dataset="clipart", name="own")
    return tmp_path


def test_a_checkout_shows_the_reference_and_what_others_contributed(checkout: Path) -> None:
    done = invoke("leaderboard", cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert "On stamps, Mine is first of 3 (not tuned)." in done.stdout
    assert "clipart" not in done.stdout
    page = (checkout / "site" / "methods" / "predicted" / "Mine.html").read_text(encoding="utf-8")
    for said in ("Ada Lovelace, Grace Hopper (ada@example.org)", "unknown", "MIT", "Contributed"):
        assert said in page
    assert '<a href="https://example.org/mine">' in page
    index = (checkout / "site" / "index.html").read_text(encoding="utf-8")
    assert "<code>mlabench leaderboard</code>" in index


def test_named_folders_alone_are_shown(checkout: Path) -> None:
    done = invoke("leaderboard", "results", "--out", "elsewhere", cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert "On clipart, QMF is first of 2 (not tuned)." in done.stdout
    assert "stamps" not in done.stdout
    assert (checkout / "elsewhere" / "index.html").is_file()


def test_without_a_reference_ones_own_results_are_shown(checkout: Path) -> None:
    (checkout / "results" / "reference").rename(checkout / "reference")
    assert "On clipart" in invoke("leaderboard", cwd=checkout).stdout


def test_mistakes_name_what_is_wrong(checkout: Path) -> None:
    done = invoke("leaderboard", "nowhere", cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("error: RESULTS: no results in nowhere.")
    card = checkout / "results" / "contributed" / "mine" / "card.yaml"
    card.write_text(yaml.safe_dump({**CARD, "licence": None}), encoding="utf-8")
    done = invoke("leaderboard", cwd=checkout)
    assert done.returncode == 2
    assert "card.yaml: licence: " in done.stderr

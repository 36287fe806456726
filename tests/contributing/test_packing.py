"""What is packed of a results folder, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlabench.contributing import Card, read_card, verify
from mlabench.store import Store
from tests.command_line import invoke


def test_a_contribution_agrees_with_itself(packed: Path) -> None:
    found = verify(packed)
    assert (found.findings, found.notes) == ([], [])
    assert (len(found.records), [plan.name for plan in found.plans]) == (8, ["mine"])


def test_it_holds_what_is_needed_and_nothing_else(packed: Path, ran: Path) -> None:
    names = sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    trials = sorted(path.name for path in (packed / "trials").iterdir())
    assert len(trials) == 8
    assert all("-my_method" in trial for trial in trials)
    samples = [f"samples/{path.name}" for path in sorted((packed / "samples").iterdir())]
    inside = [f"trials/{trial}/{name}" for trial in trials for name in ("outcomes.npz", "record.json")]
    assert names == sorted(
        ["SHA256SUMS", "card.yaml", "plugin.py", "plans/mine.json", "verdicts.json", *samples, *inside]
    )
    assert len(samples) == 2
    assert (packed / "plugin.py").read_bytes() == (ran / "mine.py").read_bytes()
    assert read_card(packed / "card.yaml") == read_card(ran / "card.yaml")


def test_nothing_in_it_says_where_it_was_made(packed: Path, ran: Path) -> None:
    assert str(ran) in json.loads((ran / "results/plans/mine.json").read_text())["command"]
    for path in packed.rglob("*"):
        assert not path.is_file() or str(ran.parent).encode() not in path.read_bytes(), path
    command = json.loads((packed / "plans/mine.json").read_text())["command"]
    assert command == "mlabench run mine.yaml --plugin mine.py --jobs 0 --quiet"


@pytest.mark.skipif(sys.platform != "linux", reason="sha256sum is a program of Linux")
def test_sha256sum_agrees(packed: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=packed, check=False)
    assert done.returncode == 0


def test_its_verdicts_are_those_of_the_interface(packed: Path) -> None:
    import mlabench

    frame = mlabench.compare(packed, "my_method", "Weighted")
    stored = json.loads((packed / "verdicts.json").read_text())
    assert [row["verdict"] for row in stored] == frame["verdict"].tolist()
    assert [row["difference"] for row in stored] == pytest.approx(frame["difference"].tolist())
    assert {(row["first"], row["second"]) for row in stored} == {("my_method", "Weighted")}


def test_packing_again_replaces_it(ran: Path, copy: Path) -> None:
    (copy / "SHA256SUMS").write_text("")
    words = (
        "contribute",
        ran / "results",
        "--plugin",
        ran / "mine.py",
        "--card",
        ran / "card.yaml",
        "--out",
        copy.parent,
    )
    done = invoke(*words, "--method", "my_method")
    assert done.returncode == 0, done.stderr
    assert len(verify(copy).records) == 4
    assert [path.name for path in copy.parent.iterdir()] == ["my_method"]


def test_without_a_card_a_template_is_written(ran: Path, tmp_path: Path) -> None:
    words = ("contribute", ran / "results", "--plugin", ran / "mine.py")
    done = invoke(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "Wrote card.yaml: fill it in" in done.stdout
    again = invoke(*words, cwd=tmp_path)
    assert again.returncode == 2
    assert "card.yaml: title: " in again.stderr
    assert {*yaml.safe_load((tmp_path / "card.yaml").read_text())} == {
        name for name, field in Card.model_fields.items() if field.is_required()
    }


def refused(folder: Path, *words: str | Path) -> str:
    done = invoke("contribute", folder / "results", "--card", folder / "card.yaml", "--out", folder / "out", *words)
    assert done.returncode == 2, done.stdout
    assert not (folder / "out").exists()
    return done.stderr


def test_what_is_not_complete_is_refused(ran: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ran, tmp_path / "ran")
    store = Store(folder / "results")
    trial = next(one for one in store.ids() if "-my_method-" in one)
    shutil.rmtree(store.folder(trial))
    assert f"{trial}: not run" in refused(folder, "--plugin", folder / "mine.py")


def test_results_of_other_methods_are_none(ran: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ran, tmp_path / "ran")
    assert "no results of mla in" in refused(folder, "--method", "mla")
    assert "say which methods" in refused(folder)


def test_another_folder_is_not_overwritten(ran: Path, tmp_path: Path) -> None:
    (tmp_path / "my_method").mkdir()
    (tmp_path / "my_method" / "thesis.txt").write_text("mine")
    done = invoke(
        "contribute", ran / "results", "--plugin", ran / "mine.py", "--card", ran / "card.yaml", "--out", tmp_path
    )
    assert done.returncode == 2
    assert "there is something else here" in done.stderr
    assert (tmp_path / "my_method" / "thesis.txt").read_text() == "mine"


def test_another_version_of_the_plugin_is_refused(ran: Path, tmp_path: Path) -> None:
    changed = tmp_path / "mine.py"
    changed.write_text((ran / "mine.py").read_text().replace("Not used.", "Used."), encoding="utf-8")
    done = invoke("contribute", ran / "results", "--plugin", changed, "--card", ran / "card.yaml", "--out", tmp_path)
    assert done.returncode == 1
    assert "environment.method_source: stored" in done.stdout
    assert not (tmp_path / "my_method").exists()


def test_methods_are_called_as_the_card(ran: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text((ran / "card.yaml").read_text().replace("name: my_method", "name: other"), encoding="utf-8")
    done = invoke("contribute", ran / "results", "--plugin", ran / "mine.py", "--card", card, "--out", tmp_path)
    assert done.returncode == 1
    assert "trial.method.name: 'my_method' must be 'other' or begin with 'other_'" in done.stdout

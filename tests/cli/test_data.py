"""The commands ``mlabench data ...`` on the fixtures of the raw datasets, and suites whose data are not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command_line import ROOT, invoke
from tests.datasets.published import crema_d_tree, mvsa_tree
from tests.media.test_dirt import damaged_fax

SUITES = ROOT / "suites"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))


def test_list_says_what_each_dataset_needs() -> None:
    listed = {row["name"]: row["state"] for row in json.loads(invoke("data", "list", "--json").stdout)}
    assert re.fullmatch(r"ready \([0-9a-f]{12}\)", listed["stamps"])
    assert listed["iemocap"] == "needs its files: dataset.root=DIR"
    assert listed["manifest"] == "needs the options file, modalities"


def test_check_counts_what_is_there_and_what_will_be_skipped(tmp_path: Path) -> None:
    root = mvsa_tree.make_tree(tmp_path)
    next((root / "data").glob("*.jpg")).unlink()
    done = invoke("data", "check", "mvsa", "--root", root, "--set", "labels=polar")
    assert done.returncode == 0, done.stderr
    assert f"{root}: " in done.stdout
    assert "independent groups" in done.stdout
    assert "skipped, no picture: 1" in done.stdout
    assert "skipped, contradictory labels: 2" in done.stdout


def test_check_shows_speakers_in_two_splits(tmp_path: Path) -> None:
    root = crema_d_tree.make_tree(tmp_path)
    crema_d_tree.write_lists(root)
    leaking = invoke("data", "check", "crema_d", "--root", root, "--set", "split=mla").stdout
    clean = invoke("data", "check", "crema_d", "--root", root).stdout
    assert re.search(
        r"\d of the \d groups \(speakers.*\) of the test split are in the training", " ".join(leaking.split())
    )
    assert "In more than one split: 0 ids, 0 groups." in clean
    assert "Divided by actor into 4 parts." in clean


def test_prepare_by_name_and_a_second_time(tmp_path: Path) -> None:
    root = mvsa_tree.make_tree(tmp_path)
    command = ("data", "prepare", "mvsa", "--root", root, "--encoder", "text=text_cnn", "--encoder", "image=cnn")
    first, second = invoke(*command), invoke(*command)
    assert first.returncode == 0, first.stderr
    assert "text: 60 prepared\nimage: 60 prepared\n" in first.stdout
    assert "prepared\n" not in second.stdout
    assert "mvsa is prepared: text [96], image [3, 64, 64]." in second.stdout


def test_prepare_tells_what_decoders_complained_of(tmp_path: Path) -> None:
    root = mvsa_tree.make_tree(tmp_path)
    command = ("data", "prepare", "mvsa", "--root", root, "--encoder", "text=text_cnn", "--encoder", "image=cnn")
    assert "complaints" not in invoke(*command).stdout
    damaged_fax(sorted((root / "data").glob("*.jpg"))[0])
    done = invoke(*command)
    assert done.returncode == 0, done.stderr
    assert "decoded, but with complaints of the decoder, image: 1\n" in done.stdout
    assert done.stderr == ""


def test_prepare_without_anything_to_do() -> None:
    done = invoke("data", "prepare", SUITES / "stamps.yaml")
    assert done.returncode == 0
    assert "reads features only: there is nothing to prepare" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["check", "mvsa"],
            r"the data of 'mvsa' are not there: no folder was given\. `mlabench data get mvsa` fetches them",
        ),
        (["check", "mvsa", "--set", "label=x"], r"dataset\.label: unknown field 'label'\. Did you mean 'labels'\?"),
        (["check", "mvsa", "--set", "labels=some"], r"dataset\.labels: must be 'agreeing' or 'polar', not \"some\"\."),
        (["prepare", "mvsa", "--root", "."], r"the encoder 'mlp' reads features, but the modality 'text' is text\."),
        (["prepare", "manifest"], r"dataset\.file: is required\."),
        (["stats", "nothing"], r"unknown dataset 'nothing'"),
    ],
)
def test_mistakes_get_one_clear_message(arguments: list[str], message: str) -> None:
    done = invoke("data", *arguments)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


def test_a_suite_without_its_data_says_what_to_get_and_what_runs_now(tmp_path: Path) -> None:
    done = invoke("run", SUITES / "iemocap_missing.yaml", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert not (tmp_path / "results").exists()
    for part in ("iemocap_release.htm", "dataset.root", "IEMOCAP_full_release", "`--dataset stamps`"):
        assert part in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_list_of_suites_names_all_that_is_not_there() -> None:
    done = invoke("validate", SUITES / "paper.yaml")
    assert done.returncode == 2
    for dataset in ("crema_d", "kinetics_sounds", "food101", "mvsa", "iemocap"):
        assert done.stderr.count(f"the data of {dataset!r} are not there") == 1


def test_the_stand_in_runs_the_same_sweep(tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = invoke(
        *("run", SUITES / "iemocap_missing.yaml", "--dataset", "stamps", "--results", results, "--limit", "60"),
        *("--rates", "0,0.5", "--seeds", "0", "--set", "training.epochs=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = [json.loads(path.read_text())["trial"] for path in results.rglob("record.json")]
    assert {trial["method"]["name"] for trial in trials} == {
        "concat",
        "late_fusion",
        "qmf",
        "mmin",
        "mla",
        "mla_released",
    }
    assert len(trials) == 8 * 2  # QMF and late fusion twice each
    assert {trial["encoders"]["audio"]["name"] for trial in trials} == {"mlp"}
    assert (results / "plans").is_dir()
    assert [path.name for path in (results / "plans").iterdir()] == ["iemocap_missing.stamps.limit60.json"]

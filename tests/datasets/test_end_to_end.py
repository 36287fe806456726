"""Every raw dataset from its files to a report, by the commands and with the committed suites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from mlabench.training.devices.arithmetic import has_bfloat16
from tests.command_line import mlabench
from tests.datasets.trees import TREES

pytestmark = pytest.mark.slow

SUITES = Path(__file__).parents[2] / "suites"
SMALL = {
    "audio": "{name: cnn, seconds: 0.5}",
    "video": "{name: cnn, size: 32, frames: 2}",
    "image": "{name: cnn, size: 32}",
}
TEXT = "{name: text_cnn, length: 24}"


class Case(NamedTuple):
    """A dataset: its suite, its options where they differ, its modalities."""

    suite: str
    options: str
    modalities: tuple[str, ...]


CASES = {
    "crema_d": Case("cremad", "split: speaker", ("audio", "video")),
    "kinetics_sounds": Case("kinetics_sounds", "split: kinetics", ("audio", "video")),
    "grid": Case("grid", "crop: none", ("audio", "video")),
    "food101": Case("food101", "split: official, text: titles", ("text", "image")),
    "mvsa": Case("mvsa", "split: stratified", ("text", "image")),
    "iemocap": Case("iemocap_missing", "split: session, face: false", ("audio", "image", "text")),
}


def write_suite(case: Case, name: str, folder: Path, root: Path) -> Path:
    """The committed suite on the fixture, with small encoders and one epoch."""
    encoders = "".join(f"  {modality}: {SMALL.get(modality, TEXT)}\n" for modality in case.modalities)
    path = folder / "small.yaml"
    path.write_text(
        f"extends: {SUITES / case.suite}.yaml\n"
        f'dataset: {{name: {name}, root: "{root}", {case.options}}}\n'
        f"encoders:\n{encoders}"
        "methods: [concat, mla]\n"
        "seeds: 0\n"
        "missing: {rates: [0.0, 0.5]}\n"
        "training: {epochs: 1, batch_size: 16, optimizer: {name: adam}, schedule: constant}\n"
    )
    return path


@pytest.mark.parametrize("name", CASES)
def test_from_raw_files_to_a_report(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    root = TREES[name](tmp_path / "raw files")
    suite = write_suite(case, name, tmp_path, root)
    results = tmp_path / "results"

    options = [("--set", option.strip().replace(": ", "=")) for option in case.options.split(",")]
    checked = mlabench("data", "check", name, "--root", root, *(word for pair in options for word in pair))
    assert checked.returncode == 0, checked.stderr
    assert str(root) in checked.stdout

    prepared = mlabench("data", "prepare", suite, "--jobs", 1)
    assert prepared.returncode == 0, prepared.stderr
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(made) == 2 * len(case.modalities)  # the values, and which of them are made

    ran = mlabench("run", suite, "--results", results, "--jobs", 1)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == made
    records = [json.loads(path.read_text()) for path in results.rglob("record.json")]
    assert len(records) == 4
    assert all(record["status"] == "ok" for record in records)
    assert all(str(tmp_path) not in path.read_text() for path in results.rglob("record.json"))

    reported = mlabench("report", results)
    assert reported.returncode == 0, reported.stderr
    assert list((results / "report").rglob("*.png"))


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "auto"])
def test_crema_d_with_the_papers_network(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    root = TREES["crema_d"](tmp_path)
    small = (
        "--set",
        "encoders.audio.seconds=0.64",
        "--set",
        "encoders.video.size=32",
        "--set",
        "dataset.split=speaker",
    )
    short = ("--set", "training.epochs=1", "--seeds", "0", "--method", "mla", "--limit", "16")
    ran = mlabench(
        *("run", SUITES / "cremad.yaml", "--set", f"dataset.root={root}", "--results", tmp_path / "results"),
        *("--precision", precision, *small, *short),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("record.json")]
    assert record["trial"]["encoders"]["audio"]["name"] == "timm"
    assert record["trial"]["encoders"]["video"]["config"]["model"] == "resnet18"
    assert record["trial"]["training"]["precision"] == precision
    native = "bf16-mixed" if has_bfloat16(torch.device("cpu")) else "32"
    assert record["environment"]["precision"] == (native if precision == "auto" else precision)
    # Two networks of 11.2 million parameters (three input channels and one), a head of 512 x 6 + 6.
    assert record["parameters"] == 2 * 11_176_512 - 2 * 64 * 49 + 512 * 6 + 6
    assert all(np.isfinite(epoch["logs"]["loss"]) for epoch in record["curves"])

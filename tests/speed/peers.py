"""Our suite against MLA's released code, on the same clips in CREMA-D's layout, in turns: how long each takes.

    python -m tests.speed.peers CLONE

CLONE is a folder with github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation, to be got by the
user. It stays as it is: a copy is changed where it names paths of its authors' machine, their GPU, and 32 readers. The
clips are invented, tones and flat colours in the format and length of CREMA-D's; both sides have their inputs
decoded beforehand. Both train ResNet-18 from scratch on sound and three frames, one epoch in batches of 16.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
import torch
import torchaudio
from torch.nn import functional

from mlabench.processes import usable_cores
from tests.datasets.media_files import write_video, write_wav

SUITE = Path(__file__).parents[2] / "suites" / "cremad.yaml"
EMOTIONS = {"ANG": "Anger", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
SECONDS, RATE, SIZE = 2.5, 30, (480, 360)
#: The paths that the released code names.
DATA, LISTS = "/data1/zhangxiaohui/CREMA-D/", "/data1/zhangxiaohui/Multimodal-Learning-Adaptation/data/"
#: What the released code imports and does not use on CREMA-D; a dummy stands for what is not installed.
UNUSED = ("einops", "ml_collections", "ml_collections.config_dict", "transformers", "sklearn", "sklearn.preprocessing")

LAUNCHER = f"""
import runpy, sys
from importlib.util import find_spec
from unittest.mock import MagicMock

absent = {{name for name in {UNUSED} if "." not in name and find_spec(name) is None}}
sys.modules |= {{name: MagicMock() for name in {UNUSED} if name.partition(".")[0] in absent}}
if find_spec("tensorboard") is None:
    sys.modules["torch.utils.tensorboard"] = MagicMock()
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""

#: Of a trial. The last is part of the third: a linear probe on the encoders, which main.py does not have. It encodes
#: the training split, as much work as a third of an epoch.
PHASES = ("data", "train", "evaluate", "probe")


class Goal(NamedTuple):
    """A ratio to reach: in float32, and in bfloat16 on a CPU that has it."""

    what: str
    exact: float
    bfloat16: float


GOALS = (
    Goal("one trial with its evaluations / main.py", 0.6, 0.35),
    Goal("two trials at once / main.py twice", 0.55, 0.3),
    Goal("the whole command with one trial / main.py", 0.9, 0.7),
)


# -- clips ----------------------------------------------------------------------------------------


def make_clips(folder: Path, count: int) -> None:
    """Writes clips in the layout of CREMA-D's repository, and MLA's two lists of them, a tenth for test."""
    actors = range(1001, 1092)
    names = [
        f"{actor}_{sentence}_{code}_XX"
        for sentence, actor, code in itertools.islice(itertools.product(SENTENCES, actors, EMOTIONS), count)
    ]
    for number, code in enumerate(EMOTIONS):
        sound = write_wav(folder / f"one/{code}.wav", seconds=SECONDS, pitch=200.0 * (number + 1))
        video = write_video(folder / f"one/{code}.flv", seconds=SECONDS, rate=RATE, size=SIZE)
        frames, bank = _frames(video), _filter_bank(sound)
        for name in (name for name in names if name[9:12] == code):
            _copy(sound, folder / f"AudioWAV/{name}.wav")
            _copy(video, folder / f"VideoFlash/{name}.flv")
            part = _part(names.index(name))
            for frame in frames:
                _copy(frame, folder / f"released/visual/{part}_imgs/Image-01-FPS/{name}/{frame.name}")
            _copy(bank, folder / f"released/audio/{part}_fbank/{name}.npy")
    for part in ("train", "test"):
        lines = [f"{n}.flv {EMOTIONS[n[9:12]]}\n" for at, n in enumerate(names) if _part(at) == part]
        (folder / f"my_{part}_cre.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "stat_cre.txt").write_text("\n".join(EMOTIONS.values()), encoding="utf-8")


def _part(place: int) -> str:
    return "test" if place % 10 == 3 else "train"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _frames(video: Path) -> list[Path]:
    """One frame per second as JPEG, as the released code extracts them."""
    folder = video.with_suffix("")
    folder.mkdir()
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % RATE == 0:
                frame.to_image().save(folder / f"{number:05d}.jpg")
    return sorted(folder.iterdir())


def _filter_bank(sound: Path) -> Path:
    """1024 frames of 128 mel bands, as the released code extracts them."""
    values, rate = soundfile.read(sound, dtype="float32")
    wave = torch.from_numpy(values).unsqueeze(0)
    bank = torchaudio.compliance.kaldi.fbank(
        wave - wave.mean(), htk_compat=True, sample_frequency=rate, use_energy=False, window_type="hanning",
        num_mel_bins=128, dither=0.0, frame_shift=10,
    )  # fmt: skip
    path = sound.with_suffix(".npy")
    np.save(path, functional.pad(bank[:1024], (0, 0, 0, max(0, 1024 - len(bank)))).numpy())
    return path


# -- the released code ------------------------------------------------------------------------------


def patched(clone: Path, folder: Path, clips: Path) -> Path:
    """A copy of the released code that finds the clips and runs on the CPU."""
    copy = shutil.copytree(clone, folder / "clone", ignore=shutil.ignore_patterns(".git", "images"))
    changes = {
        "main.py": {
            "torch.device('cuda:0')": "torch.device('cpu')",
            "    model.cuda()\n": "",
            "num_workers=32, pin_memory=True": f"num_workers={usable_cores()}",
        },
        "dataset/dataset.py": {DATA: f"{clips}/released/", LISTS: f"{clips}/"},
        "utils/utils.py": {"torch.cuda.FloatTensor": "torch.FloatTensor"},
    }
    for name, replacements in changes.items():
        text = (copy / name).read_text(encoding="utf-8")
        for old, new in replacements.items():
            if old not in text:
                raise SystemExit(f"{clone / name} does not have {old!r}: is it the released code, at ab6c184?")
            text = text.replace(old, new)
        (copy / name).write_text(text, encoding="utf-8")
    (copy / "board" / "CREMAD").mkdir(parents=True)
    return copy


def run_released(copy: Path) -> float:
    """Seconds of its main.py: one epoch of MLA with dynamic fusion, and its test."""
    arguments = (
        "--train --ckpt_path ckpt --tensorboard_path board --batch_size 16 --lorb base --modulation Normal --epochs 1 "
        "--dataset CREMAD --gs_flag --dynamic"
    )
    command = [sys.executable, "-c", LAUNCHER, *arguments.split(), "--gpu_ids", ""]
    return _seconds(command, copy)


def _seconds(command: Sequence[str | Path], folder: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


# -- our suite --------------------------------------------------------------------------------------


class Ours(NamedTuple):
    """Seconds of a command, from its first trial's beginning to its last one's end, and of the phases of each trial."""

    command: float
    trials: float
    phases: dict[str, float]


def run_ours(folder: Path, suite: Path, trials: int, precision: str) -> Ours:
    """Our MLA under the suite, with so many seeds at once."""
    with tempfile.TemporaryDirectory(dir=folder) as results:
        options = ["--seeds", f"0-{trials - 1}", "--jobs", str(trials), "--device", "cpu", "--precision", precision]
        command = _seconds(_mlabench("run", suite, "--results", results, *options), folder)
        (log,) = Path(results, "events").iterdir()
        times: dict[str, list[datetime]] = {}
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            times.setdefault(event["event"], []).append(datetime.fromisoformat(event["time"]))
        costs = [json.loads(path.read_text())["cost"] for path in Path(results).rglob("record.json")]
    phases = {phase: statistics.mean(cost[f"wall_seconds_{phase}"] for cost in costs) for phase in PHASES}
    return Ours(command, (times["finished"][-1] - times["started"][0]).total_seconds(), phases)


def _mlabench(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "mlabench", *map(str, arguments)]


def write_suite(folder: Path, clips: Path) -> Path:
    """The committed suite on the clips, with MLA alone and one epoch."""
    path = folder / "peers.yaml"
    path.write_text(
        f"extends: {SUITE}\n"
        f'dataset: {{name: crema_d, root: "{clips}", split: mla}}\n'
        "methods: [mla]\n"
        "training: {epochs: 1, batch_size: 16}\n",
        encoding="utf-8",
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clone", type=Path, help="Folder of MLA's released code.")
    parser.add_argument("--clips", type=int, default=600, help="How many; a tenth of them for test.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="32", help="Of ours; the released code has float32 only.")
    options = parser.parse_args()
    if options.clips < 36:
        parser.error("fewer than 36 clips leave none for validation")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MLABENCH_CACHE"] = str(folder / "cache")
        make_clips(folder / "clips", options.clips)
        copy, suite = patched(options.clone, folder, folder / "clips"), write_suite(folder, folder / "clips")
        prepared = _seconds(_mlabench("data", "prepare", suite), folder)
        released, one, two = list[float](), list[Ours](), list[Ours]()
        for number in range(1, options.rounds + 1):  # in turns, so that a busy moment of the machine hits all
            released.append(run_released(copy))
            one.append(run_ours(folder, suite, 1, options.precision))
            print(f"round {number}: main.py {released[-1]:.1f} s, one trial {one[-1].trials:.1f} s", file=sys.stderr)
            two.append(run_ours(folder, suite, 2, options.precision))
            print(f"two at once {two[-1].trials:.1f} s, command {one[-1].command:.1f} s", file=sys.stderr)
    seconds = (
        ([own.trials for own in one], one, 1),
        ([own.trials for own in two], two, 2),
        ([own.command for own in one], one, 1),
    )
    print(f"{options.clips} clips, {usable_cores()} cores, load {load:.1f} at the start, precision {options.precision}")
    print(f"main.py {statistics.median(released):.1f} s; ours, decoding all clips before: {prepared:.1f} s")
    for phase in PHASES:
        print(f"  one trial, {phase}: {statistics.median(own.phases[phase] for own in one):.1f} s")
    for goal, (times, runs, trials) in zip(GOALS, seconds, strict=True):
        wanted = goal.exact if options.precision == "32" else goal.bfloat16
        theirs = [trials * other for other in released]
        ratios = [own / other for own, other in zip(times, theirs, strict=True)]
        probes = [run.phases["probe"] / other for run, other in zip(runs, theirs, strict=True)]
        bare = statistics.median(ratio - probe for ratio, probe in zip(ratios, probes, strict=True))
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        ratio = statistics.median(ratios)
        print(f"{goal.what:45} {ratio:.2f}, without the probe {bare:.2f}  (goal {wanted}; by round {each})")


if __name__ == "__main__":
    main()

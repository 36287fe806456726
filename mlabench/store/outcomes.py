"""Which test predictions of a trial are right: what a report needs of them, in a few kilobytes. Free of torch.

``outcomes.npz`` lies beside each record and holds arrays by test pattern, booleans as packed bits. The samples that it
is about, the same for all methods, are stored once in the folder ``samples``, under a hash of their content.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter

OUTCOMES = "outcomes.npz"
#: What may come of reading an archive that is damaged, or was not written by us.
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error)


class DamagedOutcomesError(Exception):
    """Outcomes that are there but cannot be read; says which file and why."""


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Test samples: ``ids``, ``groups`` (what belongs together) and ``labels`` (the classes' indices). ``[N]`` each"""

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: NDArray[np.int64]

    @cached_property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of the content."""
        content = json.dumps([self.ids.tolist(), self.groups.tolist(), self.labels.tolist()])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class PatternOutcomes:
    """A trained model's predictions of ``N`` samples under one test pattern.

    Attributes:
        present: Which modalities a sample has. ``[N, M]``
        correct: Which of the modalities' own and, last, of the fused predictions are right; False where a modality is
            absent. ``[N, M + 1]``
        brier: Brier score of each fused prediction, between 0 and 2, stored in half precision; NaN under patterns that
            leave out whole modalities. ``[N]``
    """

    present: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    brier: NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class TrialOutcomes:
    """What came of a trial's test samples, by key of the test pattern; ``modalities`` are the columns."""

    samples: SampleSet
    modalities: tuple[str, ...]
    tests: Mapping[str, PatternOutcomes]


@dataclass(frozen=True)
class _About:
    """What the arrays of an archive are about."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    samples: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    modalities: tuple[str, ...]
    tests: tuple[str, ...]


_ABOUT = TypeAdapter(_About)


def write_outcomes(path: Path, outcomes: TrialOutcomes) -> None:
    """Writes the archive of one trial; it names its samples and does not hold them."""
    tests = list(outcomes.tests.values())
    about = _About(outcomes.samples.key, outcomes.modalities, tuple(outcomes.tests))
    # By modality and then by sample: runs of zeros or of ones, which compress best.
    present = np.stack([test.present.T for test in tests])
    correct = np.stack([test.correct.T for test in tests])
    correct[:, :-1] &= present
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            about=np.frombuffer(json.dumps(asdict(about)).encode(), np.uint8),
            present=np.packbits(present),
            correct=np.packbits(correct),
            brier=np.stack([test.brier for test in tests]).astype(np.float16),
        )


def read_outcomes(path: Path, samples_of: Callable[[str], SampleSet]) -> TrialOutcomes:
    """The outcomes in the archive of one trial; ``samples_of`` gives the samples that it names.

    Raises:
        FileNotFoundError: If there is no such archive.
        DamagedOutcomesError: If it or its samples cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        arrays = _arrays(path)
        about = _ABOUT.validate_json(arrays["about"].tobytes())
        samples = samples_of(about.samples)
        shape = len(about.tests), len(about.modalities), len(samples.ids)
        present = _unpacked(arrays["present"], shape)
        correct = _unpacked(arrays["correct"], (shape[0], shape[1] + 1, shape[2]))
        brier = arrays["brier"].astype(np.float32).reshape(shape[0], shape[2])
    except _UNREADABLE as error:
        raise _damaged(path.name, error) from error
    tests = map(PatternOutcomes, present.transpose(0, 2, 1), correct.transpose(0, 2, 1), brier)
    return TrialOutcomes(samples, about.modalities, dict(zip(about.tests, tests, strict=True)))


def packed(samples: SampleSet) -> bytes:
    """The archive of test samples."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, ids=samples.ids, groups=samples.groups, labels=samples.labels)
    return file.getvalue()


def read_samples(path: Path) -> SampleSet:
    """The test samples in an archive that is called by their hash.

    Raises:
        DamagedOutcomesError: If it is not there, cannot be read or holds other samples.
    """
    try:
        arrays = _arrays(path)
        samples = SampleSet(arrays["ids"], arrays["groups"], arrays["labels"])
        if samples.key != path.stem:
            raise ValueError("other samples than its name says")
    except _UNREADABLE as error:
        raise _damaged(f"{path.parent.name}/{path.name}", error) from error
    return samples


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def _damaged(name: str, error: Exception) -> DamagedOutcomesError:
    return DamagedOutcomesError(f"{name} cannot be read ({type(error).__name__})")


def _unpacked(bits: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The booleans of ``shape`` that were packed into bytes; ValueError if there are fewer or more."""
    if len(bits) != (prod(shape) + 7) // 8:
        raise ValueError(f"not the bits of {shape}")
    return np.unpackbits(bits, count=prod(shape)).view(np.bool_).reshape(shape)

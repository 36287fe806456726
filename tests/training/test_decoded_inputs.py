"""Raw items become arrays: each once, in any number of processes, and unreadable ones are counted."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlabench.datasets import Data, Split, StoredRows, Task
from mlabench.errors import UserError
from mlabench.media import Item, Text, UnreadableError
from mlabench.media.preprocessing import Preprocessing
from mlabench.training import decoded_inputs as decoding
from mlabench.training.decoded_inputs import decode_inputs


@dataclass(frozen=True)
class Letters(Preprocessing):
    """Length and first letter of a text; an ``!`` makes a text unreadable, of a ``?`` a library complains."""

    scale: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32)

    def __call__(self, item: Item) -> NDArray[Any]:
        assert isinstance(item, Text)
        if "?" in item.value:
            os.write(2, b"odd word")
        if "!" in item.value:
            raise UnreadableError("too loud")
        return self.scale * np.array([len(item.value), ord(item.value[0])], np.int32)


def make_data(words: list[str], bad: tuple[str, ...] = ()) -> Data:
    """Words in three splits, every third one in the next; those of ``bad`` with an ``!``."""

    def split(start: int) -> Split:
        own = words[start::3]
        return Split(
            ids=tuple(own),
            labels=np.arange(len(own)) % 2,
            inputs={
                "word": tuple(Text(word + "!" * (word in bad)) for word in own),
                "number": np.arange(len(own), dtype=np.float32)[:, None] + start,
                "echo": tuple(Text(word * 2) for word in own),
            },
            groups=tuple(own),
        )

    task = Task(("word", "number", "echo"), ("a", "b"), {"number": (1,)})
    return Data(task, split(0), split(1), split(2), skipped={"known before": 2})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path))


WORDS = [f"{'xyz'[at % 3]}{'o' * at}" for at in range(12)]
STEPS = {"word": Letters(), "echo": Letters(scale=2)}


def values(split: Split, modality: str) -> NDArray[Any]:
    stored = split.inputs[modality]
    assert isinstance(stored, StoredRows)
    return stored.read(np.arange(len(split)))


def test_each_sample_gets_its_own_values() -> None:
    raw = make_data(WORDS)
    data = decode_inputs(raw, STEPS)
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        assert split.ids == getattr(raw, name).ids
        assert values(split, "word").tolist() == [[len(word), ord(word[0])] for word in split.ids]
        assert values(split, "echo").tolist() == [[4 * len(word), 2 * ord(word[0])] for word in split.ids]
        assert np.array_equal(split.inputs["number"], getattr(raw, name).inputs["number"])
    assert data.task.shapes == {"word": (2,), "number": (1,), "echo": (2,)}
    assert data.skipped == {"known before": 2}


def test_unreadable_samples_are_left_out_everywhere_and_counted() -> None:
    bad = (WORDS[3], WORDS[4], WORDS[9])
    data = decode_inputs(make_data(WORDS, bad), STEPS)
    assert data.train.ids == (WORDS[0], WORDS[6])
    assert data.validation.ids == (WORDS[1], WORDS[7], WORDS[10])
    assert values(data.train, "echo").tolist() == [[4 * len(word), 2 * ord(word[0])] for word in data.train.ids]
    assert data.train.labels.tolist() == [0, 0]
    assert data.skipped == {"known before": 2, "word: too loud": 3}


def test_complaints_of_decoders_are_counted_and_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS[:-2], "why?", "what?!"]
    for _ in range(2):  # decoded, and from the cache
        data = decode_inputs(make_data(words), {"word": Letters()})
        assert data.complaints == {"word": 1}
        assert data.skipped == {"known before": 2, "word: too loud": 1}
        assert data.damage == (
            "Left out: known before (2), word: too loud (1).",
            "Decoded, but with complaints of the decoder: word (1).",
        )
    assert "why?" in {*data.train.ids, *data.validation.ids, *data.test.ids}
    assert capfd.readouterr() == ("", "")
    assert decode_inputs(make_data(WORDS), {"word": Letters()}).complaints == {}


def test_a_split_without_a_readable_sample_is_refused() -> None:
    with pytest.raises(UserError, match=r"no sample of the validation split can be read: word: too loud \(4\)"):
        decode_inputs(make_data(WORDS, tuple(WORDS[1::3])), STEPS)


def test_another_split_of_the_same_samples_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data(WORDS)
    decode_inputs(data, STEPS)
    monkeypatch.setattr(decoding, "_decode_chunk", None)
    swapped = decode_inputs(replace(data, train=data.test, test=data.train), STEPS)
    assert values(swapped.train, "word")[:, 0].tolist() == [len(word) for word in data.test.ids]


def test_other_items_and_other_settings_are_decoded_again() -> None:
    first = decode_inputs(make_data(WORDS), STEPS)
    louder = decode_inputs(make_data(WORDS), {**STEPS, "word": Letters(scale=5)})
    longer = decode_inputs(make_data([*WORDS[:-1], WORDS[-1] + "oo"]), STEPS)
    assert values(louder.test, "word")[0, 0] == 5 * values(first.test, "word")[0, 0]
    assert values(longer.test, "word")[-1, 0] == values(first.test, "word")[-1, 0] + 2


def test_the_number_of_processes_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"{'xyz'[at % 3]}{'o' * (at % 50)}{at}" for at in range(200)]
    bad = (words[0], words[150], words[199])
    seen: list[tuple[str, int, int]] = []
    one = decode_inputs(make_data(words, bad), STEPS)
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "other"))
    two = decode_inputs(make_data(words, bad), STEPS, workers=2, progress=lambda *told: seen.append(told))
    for name in ("train", "validation", "test"):
        assert getattr(two, name).ids == getattr(one, name).ids
        assert np.array_equal(values(getattr(two, name), "word"), values(getattr(one, name), "word"))
    assert two.skipped == one.skipped
    assert [told for told in seen if told[1] == 200] == [("word", 200, 200), ("echo", 200, 200)]
    assert sum(stage == "word" for stage, *_ in seen) == 13  # chunks of 16

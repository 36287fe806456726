"""Raw items become arrays: each is decoded once, as its encoder wants it, and shared by all trials. Free of torch."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mlabench.datasets import Data, ReportProgress, Split, StoredRows
from mlabench.errors import UserError
from mlabench.media import Item, UnreadableError, identity
from mlabench.media.preprocessing import Preprocessing
from mlabench.store import VALUES, CachedArray, Draft, cached_array, open_array

#: Items that a worker process decodes in one go.
CHUNK = 16


def silent(stage: str, done: int, total: int) -> None:
    """ReportProgress that nobody sees."""


def decode_inputs(
    data: Data, preprocessing: Mapping[str, Preprocessing], workers: int = 1, progress: ReportProgress = silent
) -> Data:
    """The data with raw modalities decoded, and without the samples of which an item is unreadable.

    Args:
        data: As a dataset loads it.
        preprocessing: One for each raw modality.
        workers: Processes that decode; their number changes no value.
        progress: Told of the modality, the items done, and their number.

    Raises:
        UserError: If the cache cannot be written, or a split has no sample left.
    """
    if not preprocessing:
        return data
    items = {modality: _by_id(data, modality) for modality in preprocessing}
    cached = {
        modality: _decode_all(modality, items[modality], step, workers, progress)
        for modality, step in preprocessing.items()
    }
    reasons: dict[str, str] = {}
    for modality, array in cached.items():
        ids = list(items[modality])
        for row, reason in array.failures.items():
            reasons.setdefault(ids[row], f"{modality}: {reason}")
    row_of = {sample: row for row, sample in enumerate(next(iter(items.values())))}

    def decoded(name: str, split: Split) -> Split:
        kept = split.take([at for at, sample in enumerate(split.ids) if sample not in reasons])
        if not kept.ids:
            counts = ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons.values()).items())
            raise UserError(f"no sample of the {name} split can be read: {counts}.")
        rows = np.array([row_of[sample] for sample in kept.ids], dtype=np.int64)
        stored = {modality: StoredRows(array.values, rows) for modality, array in cached.items()}
        return replace(kept, inputs={**kept.inputs, **stored})

    shapes = {**data.task.shapes, **{modality: step.shape for modality, step in preprocessing.items()}}
    return replace(
        data,
        task=replace(data.task, shapes=shapes),
        train=decoded("train", data.train),
        validation=decoded("validation", data.validation),
        test=decoded("test", data.test),
        skipped={**data.skipped, **Counter(reasons.values())},
    )


def _by_id(data: Data, modality: str) -> dict[str, Item]:
    """The items of all splits in the order of their ids, so that another split of them shares the array."""
    pairs: list[tuple[str, Item]] = []
    for split in (data.train, data.validation, data.test):
        pairs += zip(split.ids, split.inputs[modality], strict=True)  # type: ignore[arg-type]
    return dict(sorted(pairs, key=lambda pair: pair[0]))


def _decode_all(
    modality: str, items: Mapping[str, Item], step: Preprocessing, workers: int, progress: ReportProgress
) -> CachedArray:
    content = hashlib.sha256()
    for sample, item in items.items():
        content.update(json.dumps([sample, identity(item)], sort_keys=True).encode())
    return cached_array(
        name=f"{modality}-{type(step).__name__.lower()}",
        key={"items": content.hexdigest(), "preprocessing": step.identity()},
        shape=(len(items), *step.shape),
        dtype=step.dtype,
        make=lambda draft: _fill(draft, list(items.values()), step, workers, partial(progress, modality)),
    )


def _fill(
    draft: Draft, items: Sequence[Item], step: Preprocessing, workers: int, report: Callable[[int, int], None]
) -> None:
    todo = draft.todo.tolist()
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    done = len(items) - len(todo)
    for rows, failures in _chunks_done(draft.folder, chunks, items, step, workers):
        draft.finish(rows, failures)
        done += len(rows)
        report(done, len(items))


def _chunks_done(
    folder: Path, chunks: Sequence[Sequence[int]], items: Sequence[Item], step: Preprocessing, workers: int
) -> Iterable[tuple[Sequence[int], dict[int, str]]]:
    if workers == 1 or len(chunks) < 2 * workers:  # starting processes would take longer
        for rows in chunks:
            yield rows, _decode_chunk(folder, rows, [items[row] for row in rows], step)
        return
    # Not forked: torch's and FFmpeg's threads would not survive that.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        futures: dict[Future[dict[int, str]], Sequence[int]] = {}
        try:
            for rows in chunks:
                futures[pool.submit(_decode_chunk, folder, rows, [items[row] for row in rows], step)] = rows
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that decoded inputs died, for want of memory or because a file broke its decoder.",
                remedy="Run again, perhaps with `--jobs 1`; what is decoded is kept.",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business
    os.environ["OMP_NUM_THREADS"] = "1"  # torch, which some decoders import, then adds up in the same order everywhere


def _decode_chunk(folder: Path, rows: Sequence[int], items: Sequence[Item], step: Preprocessing) -> dict[int, str]:
    """Writes the arrays of ``items`` to their ``rows``. Returns why some could not be made."""
    values: Any = open_array(folder / VALUES, mode="r+")
    failures = {}
    for row, item in zip(rows, items, strict=True):
        try:
            values[row] = step(item)
        except UnreadableError as reason:
            failures[row] = str(reason)
    values.flush()
    return failures

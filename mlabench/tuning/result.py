"""What tuning found, as a table and as a suite."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mlabench import __version__
from mlabench.errors import cannot_write
from mlabench.store import write_atomically
from mlabench.suite import Suite, Tuned
from mlabench.tuning.space import put
from mlabench.tuning.tries import OBJECTIVE, Try, TuningResult
from mlabench.words import as_written

COLUMNS = ("Method", "Default", "Tuned", "Tries", "Failed", "Values")


def rows(results: Sequence[TuningResult], *, as_json: bool) -> list[tuple[Any, ...]]:
    """One row per method for :data:`COLUMNS`: accuracies in percent, or in [0, 1] for JSON."""
    found: list[tuple[Any, ...]] = []
    for one in results:
        values: Any = dict(one.best.candidate.values) if one.best else {}
        scores: list[Any] = [one.default.score, one.best.score if one.best else None]
        if not as_json:
            values = "\n".join(f"{path}={as_written(value)}" for path, value in values.items())
            scores = ["failed" if score is None else f"{100 * score:.1f}" for score in scores]
        found.append((one.label, *scores, len(one.tries), one.failed, values))
    return found


def tuned_suite(suite: Suite, searched: Suite, results: Sequence[TuningResult], extends: Path | None) -> dict[str, Any]:
    """The suite with the best try of each method, as a document.

    Args:
        suite: What was tuned, with all its seeds and missing rates.
        searched: The same with those of the tries.
        results: What was found for each method; at least one try of each must have succeeded.
        extends: The suite's file as seen from the document, if that says all but the methods; None to write all down.
    """
    if extends is not None:
        document: dict[str, Any] = {"extends": extends.as_posix()}
    else:
        document = {key: value for key, value in suite.resolved().items() if key != "name"}
        if suite.missing.file:
            document["missing"]["file"] = str(Path(suite.missing.file).resolve())
    best = {one.label: one.best for one in results if one.best is not None}
    document["methods"] = [
        _entry(suite.entry(at), entry.label, best[entry.label].candidate.values)
        for at, entry in enumerate(suite.methods)
    ]
    some = next(iter(best.values()))
    document["tuned"] = Tuned(
        tries=suite.tuning.tries,
        seed=suite.tuning.seed,
        objective=OBJECTIVE,
        seeds=searched.seeds,
        missing=tuple(dict.fromkeys(trial.missing.key for trial in some.trials)),
        folds=len({trial.fold for trial in some.trials if trial.fold}),
        version=__version__,
        suite=suite.name,
        scores={one.label: _scores(one.default, one.best) for one in results if one.best is not None},
        methods={label: one.trials[0].configuration for label, one in best.items()},
    ).model_dump(mode="json")
    return document


def _scores(default: Try, best: Try) -> tuple[float | None, float]:
    """As precise as anybody needs who compares them."""
    return None if default.score is None else round(default.score, 4), round(best.score or 0.0, 4)


def _entry(written: Mapping[str, Any], label: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A method's entry as it was written, with ``values``. Its label is spelt out, so that no value changes it."""
    entry = {"name": written["name"], "label": label, **copy.deepcopy({**written, "label": label})}
    for path, value in values.items():
        put(entry, path, value)
    return entry


def write_suite(document: Mapping[str, Any], out: Path) -> None:
    """Writes the suite; an older file of the same name is replaced."""
    plain = json.loads(json.dumps(document))  # so that equal parts are not written as anchors and aliases
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    has_schema = (out.parent / "suite.schema.json").is_file()  # by which editors complete and check what is edited
    editors = "# yaml-language-server: $schema=suite.schema.json\n" if has_schema else ""
    try:
        write_atomically(out, f"{editors}# Written by `mlabench tune`.\n{text}".encode())
    except OSError as error:
        raise cannot_write("the tuned suite", out, error) from error

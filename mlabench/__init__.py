"""mlabench: a benchmark of multimodal learning with all modalities present and with modalities missing.

    import mlabench

    frame = mlabench.run("stamps_missing", seeds=range(5), methods=["mla", "concat"])
    mlabench.compare("results", "MLA", "Concat")
    mlabench.report("results")

A script that trains with worker processes, or reports on much, does so below ``if __name__ == "__main__":``, since
workers import it; a notebook needs no such line, and ``jobs=0`` no workers.

The command line is a thin shell over these functions. Mistakes in what they are given raise :class:`UserError`, whose
message names the file, the field and the remedy.

The contract for plugins lives in :mod:`mlabench.method` (methods), :mod:`mlabench.encoders` (encoders) and
:mod:`mlabench.datasets` (datasets). Importing this package imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mlabench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from mlabench.suite import Overrides, Plan

__version__ = "0.1.0"
__all__ = ["UserError", "__version__", "compare", "plan", "report", "results", "run"]

#: A suite's name (``"stamps_missing"``), its file, or its content as a mapping.
SuiteLike: TypeAlias = str | PathLike[str] | Mapping[str, Any]
Folder: TypeAlias = str | PathLike[str]


def run(
    suite: SuiteLike,
    *,
    results: Folder = "results",
    methods: Iterable[str] | None = None,
    seeds: Iterable[int] | int | None = None,
    folds: int | str | None = None,
    rates: Iterable[float] | None = None,
    dataset: str | None = None,
    limit: int | None = None,
    precision: str | None = None,
    until_width: float | None = None,
    max_repeats: int | None = None,
    settings: Mapping[str, Any] | None = None,
    plugins: Iterable[Folder] = (),
    jobs: int | None = None,
    device: str = "auto",
    overwrite: Literal["never", "only-missing", "failed", "always"] = "only-missing",
    fail_fast: bool = False,
    keep: Literal["auto", "outcomes", "predictions", "models"] = "auto",
    quiet: bool = False,
) -> pd.DataFrame:
    """Trains what is not done yet, and returns the numbers. Interrupt it and call it again to resume.

    Args:
        suite: A suite's name, its file, or its content as a mapping.
        results: The folder where records are kept.
        methods: Only these methods or labels; a registered method that the suite lacks is added with its defaults.
        seeds: Training seeds in place of the suite's, e.g. ``range(5)``.
        folds: Folds in place of the suite's: a number, a division of the dataset, or ``"none"``.
        rates: Missing rates in place of the suite's, each in [0, 1).
        dataset: Another dataset, by name.
        limit: Samples per split, for a smoke test; reports leave such trials out.
        precision: ``"32"``, ``"bf16-mixed"`` or ``"auto"``.
        until_width: Add repeats (seeds) until the 95 % intervals of all contrasts are at most so many points wide to
            either side.
        max_repeats: With that, repeats at most; 10 unless the suite says otherwise.
        settings: Other fields of the suite, e.g. ``{"training.epochs": 5}``.
        plugins: Python files that define further methods, datasets or encoders.
        jobs: Worker processes; by default one per core, or one per GPU; 0 runs trials in this process.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        overwrite: Which finished trials run again.
        fail_fast: Stop at the first trial that fails.
        keep: What is kept of a trial beside its record and which of its predictions are right: nothing
            (``"outcomes"``), all ``"predictions"``, these and the selected weights (``"models"``), or these and the
            weights if they are small.
        quiet: Show failures only.

    Returns:
        The suite's rows of :func:`results`. A trial that failed has rows of status ``"failed"`` that say why.

    Raises:
        UserError: If the suite, a flag or the data have a mistake, or the results folder cannot be written.
    """
    from rich.console import Console

    from mlabench.registry import register
    from mlabench.reporting import contrasts, tidy_frame
    from mlabench.running import Overwrite, Session, run_until
    from mlabench.store import Store
    from mlabench.training import RunOptions, require_device

    require_device(device)
    known = register(map(Path, plugins))
    options = RunOptions(device=device, keep=keep, fail_fast=fail_fast, plugins=known)
    changes = _overrides(methods, seeds, folds, rates, dataset, limit, precision, settings)
    plans = _plans(suite, replace(changes, until_width=until_width, max_repeats=max_repeats))
    store = Store(Path(results))
    session = Session.open(store, Console(quiet=quiet, highlight=False), jobs, options, plans=tuple(plans))
    for at, one in enumerate(plans):
        plans[at], failed = run_until(one, Overwrite(overwrite), session, contrasts)
        if failed and fail_fast:
            break
    return tidy_frame(store, plans, include_limited=True)


def plan(
    suite: SuiteLike,
    *,
    results: Folder = "results",
    methods: Iterable[str] | None = None,
    seeds: Iterable[int] | int | None = None,
    folds: int | str | None = None,
    rates: Iterable[float] | None = None,
    dataset: str | None = None,
    limit: int | None = None,
    precision: str | None = None,
    until_width: float | None = None,
    max_repeats: int | None = None,
    settings: Mapping[str, Any] | None = None,
    plugins: Iterable[Folder] = (),
) -> pd.DataFrame:
    """What :func:`run` with the same arguments would do. Trains nothing.

    Returns:
        One row per trial: ``suite``, ``trial``, ``label``, ``dataset``, ``train`` (the missing pattern), ``seed``,
        ``fold`` (empty for the dataset's own split), ``evaluations`` (their number) and ``state`` (``done``,
        ``incomplete``, ``failed``, ``running`` or ``missing``).

    Raises:
        UserError: If the suite or the data have a mistake.
    """
    import pandas as pd

    from mlabench.registry import register
    from mlabench.running import as_run, survey
    from mlabench.store import Store

    register(map(Path, plugins))
    changes = _overrides(methods, seeds, folds, rates, dataset, limit, precision, settings)
    rows = []
    for wanted in _plans(suite, replace(changes, until_width=until_width, max_repeats=max_repeats)):
        one = as_run(wanted, Store(Path(results)))
        labels = {entry.trial.id: entry.label for entry in one.cells}
        for standing in survey(one, Store(Path(results))):
            trial = standing.trial
            about = (one.name, trial.id, labels[trial.id], trial.dataset.name, trial.missing.key)
            rows.append((*about, trial.seed, trial.fold_name, len(standing.tests), str(standing.state)))
    columns = ["suite", "trial", "label", "dataset", "train", "seed", "fold", "evaluations", "state"]
    return pd.DataFrame(rows, columns=columns)


def results(folder: Folder = "results", *, suite: str | None = None) -> pd.DataFrame:
    """Every number of a results folder as one tidy frame.

    Args:
        folder: The results folder, or an edition of the reference that is here: ``"edition:2026.12"``.
        suite: Only this suite, by name.

    Returns:
        One row per suite, trial, evaluation and target, where the target is ``multimodal`` or a modality. Accuracies
        lie in [0, 1]. ``results/README.md`` describes the columns.

    Raises:
        UserError: If there are no results, or none of this suite.
    """
    from mlabench.reporting import tidy_frame
    from mlabench.store import Store, results_folder

    store = Store(results_folder(folder))
    return tidy_frame(store, _stored_plans(store, suite), include_limited=True)


def compare(
    folder: Folder, first: str, second: str, *, suite: str | None = None, target: str = "multimodal"
) -> pd.DataFrame:
    """The accuracy of one method minus another's, in points, paired over seeds and test samples.

    Args:
        folder: The results folder, or an edition, as for :func:`results`.
        first: A method's label, e.g. ``"MLA"``.
        second: Another's, e.g. ``"Concat"``.
        suite: Only this suite, by name; by default each that has both.
        target: ``"multimodal"`` or a modality.

    Returns:
        One row per suite and missing pattern: ``difference`` with its 95 % interval ``low`` to ``high``; ``p`` of this
        row alone, ``p_holm`` and ``p_equal_holm``, of no difference and of one of the suite's margin or more,
        corrected for the rows of the suite; ``verdict`` (``better``, ``worse``, ``practically equal`` or
        ``undecided``; one training never decides); ``excluded``, the smallest margin that the difference stays within
        at 95 %; ``needed``, about so many more trainings per method would decide; ``detectable``, ``seeds``,
        ``trainings``, ``samples``, ``groups``.

    Raises:
        UserError: If no suite has both labels, or they have no trainings in common.
    """
    from mlabench.reporting import compare_labels
    from mlabench.store import Store, results_folder

    store = Store(results_folder(folder))
    return compare_labels(store, _stored_plans(store, suite), first, second, target)


def report(
    results: Folder = "results",
    *,
    suite: str | None = None,
    out: Folder | None = None,
    published: Folder | None = None,
    include_limited: bool = False,
    quiet: bool = False,
) -> Path:
    """Writes tables, figures and one HTML page that answers Q1 to Q4.

    Args:
        results: The results folder.
        suite: Only this suite, by name.
        out: Where to write; by default ``report`` in the results folder.
        published: A CSV file of published numbers to set beside ours.
        include_limited: Also use trials made with ``limit``.
        quiet: Print nothing.

    Returns:
        The HTML page.

    Raises:
        UserError: If there are no results, or the report cannot be written.
    """
    from rich.console import Console

    from mlabench.reporting import build_report
    from mlabench.store import Store

    store = Store(Path(results))
    folder = Path(out) if out is not None else store.root / "report"
    build_report(
        store,
        _stored_plans(store, suite),
        folder,
        include_limited=include_limited,
        published=Path(published) if published is not None else None,
        console=Console(quiet=quiet, highlight=False),
    )
    return folder / "report.html"


def _plans(suite: SuiteLike, changes: Overrides) -> list[Plan]:
    from mlabench.suite import load_plans

    source = suite if isinstance(suite, str | Mapping) else Path(suite)
    return list(load_plans([source], changes).values())


def _stored_plans(store: Any, suite: str | None) -> list[Plan]:
    """The plans of a results folder, or one of them."""
    from mlabench.registry import suggest

    plans: list[Plan] = store.plans()
    if not plans:
        raise UserError(f"no results in {store.root}.", remedy="Run a suite first: `mlabench run stamps_missing`.")
    names = [one.name for one in plans]
    if suite is not None and suite not in names:
        remedy = suggest(suite, names) or f"There are {', '.join(names)}."
        raise UserError(f"no results of a suite {suite!r} in {store.root}.", remedy=remedy, field="suite")
    return [one for one in plans if suite in (None, one.name)]


def _overrides(
    methods: Iterable[str] | None,
    seeds: Iterable[int] | int | None,
    folds: int | str | None,
    rates: Iterable[float] | None,
    dataset: str | None,
    limit: int | None,
    precision: str | None,
    settings: Mapping[str, Any] | None,
) -> Overrides:
    """The arguments as the command line would write them."""
    import json

    from mlabench.suite import Overrides

    def listed(values: Iterable[float] | float | None) -> str | None:
        return None if values is None else ",".join(map(str, values if isinstance(values, Iterable) else [values]))

    return Overrides(
        settings=tuple(f"{field}={json.dumps(value)}" for field, value in (settings or {}).items()),
        methods=(methods,) if isinstance(methods, str) else tuple(methods or ()),
        seeds=listed(seeds),
        folds=None if folds is None else str(folds),
        rates=listed(rates),
        limit=limit,
        dataset=dataset,
        precision=precision,
    )

"""Writes the leaderboard's pages, and copies the records that they link to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.text import Text

from mlabench import __version__, registry
from mlabench.errors import UserError, cannot_write
from mlabench.reporting import files
from mlabench.reporting.charts import HIGHLIGHT, styles
from mlabench.reporting.explorer.families import FAMILIES
from mlabench.reporting.explorer.folder import TUNED, Folder
from mlabench.reporting.results import MULTIMODAL
from mlabench.store import RECORD

if TYPE_CHECKING:
    from mlabench.reporting.explorer.boards import Board
    from mlabench.statistics import RankInterval

_TITLE = "mlabench: leaderboard"

_READING = (
    "Accuracy: of the fused prediction, in percent. Brackets are 95 % intervals, for the draw of the test samples and "
    "of the trainings. They overlap even where methods differ: methods are compared in pairs.",
    "Rank: by accuracy; in brackets the best and the worst that it may have, at 95 % for all pairs of methods "
    "together. Bold accuracies and green bars: may be first. Filters change no rank.",
    "Families: fusion, plain or weighted, with one modality alone as its control; learning that balances modalities; "
    "methods made for missing modalities; MLA and its released code.",
    f"P({HIGHLIGHT} > it): how probably a training of {HIGHLIGHT} beats its twin on the same fold and seed, in "
    "percent. Time ×: of a training step as measured, in units of the suite's first method.",
    "Tuned alike: every method had the same number of tries on validation data. Otherwise methods run with the values "
    "of the suite, or of their sources where Settings says so. The two are ranked apart.",
    "Contributed: results that others sent in, ranked where they ran under a suite's protocol. A method's page says "
    "who made it, and links to the record of each training.",
)


def build_leaderboard(folders: Sequence[Folder], out: Path, *, command: str, console: Console) -> Path:
    """Writes ``out/index.html``, a page per method and suite, and the records; prints who may be first.

    Args:
        folders: Results; suites of those that come first are ranked, and the others' methods join them.
        out: Folder to write to; files of an earlier site are overwritten.
        command: What made the site, for its footer.
        console: Where to print.

    Returns:
        The page to open.

    Raises:
        UserError: If no suite has two methods to rank, or ``out`` cannot be written.
    """
    from mlabench.reporting.explorer.boards import boards  # with SciPy, which takes a moment to import

    found, notes = boards(folders)
    if not found:
        raise UserError(
            "no suite here ranks two methods.", remedy="Run one first: `mlabench run stamps_missing`.", field="RESULTS"
        )
    index, lead = out / "index.html", who_may_be_first(found)
    try:
        for board in found:
            _write_methods(board, out)
            _copy_records(board, out / "records")
        files.write_text(index, _index(found, lead, notes, command))
    except OSError as error:
        raise cannot_write("the leaderboard", out, error) from error
    for sentence in (*lead, *notes, f"Leaderboard: {index}"):
        console.print(Text(sentence))
    return index


def who_may_be_first(found: Sequence[Board]) -> list[str]:
    """A sentence for each dataset, about its first board."""
    first: dict[str, Board] = {}
    for board in found:
        first.setdefault(board.dataset, board)
    said = []
    for board in first.values():
        view = board.views[0]
        count, top = len(view.ranked), len(view.top)
        many = f"{top} of {count} methods may be first" if top > 1 else f"{view.entries[0].label} is first of {count}"
        ours = f", {HIGHLIGHT} among them" if HIGHLIGHT in view.top and top > 1 else ""
        how = " (tuned alike)" if board.settings == TUNED else " (not tuned)"
        said.append(f"On {board.dataset}, {many}{ours}{how}.")
    return said


def _index(found: Sequence[Board], lead: Sequence[str], notes: Sequence[str], command: str) -> str:
    from mlabench.reporting.page import filled

    charts = [view.chart for board in found for view in board.views if view.chart]
    drawn = files.as_svg(charts, styles((), charts))
    present = {entry.family for board in found for view in board.views for entry in view.entries}
    return filled(
        "leaderboard.html",
        title=_TITLE,
        version=__version__,
        contents=[("Who may be first", "found"), ("Rankings", "rankings"), ("How to read this page", "reading")],
        commands=[command],
        lead=" ".join(lead),
        boards=found,
        notes=notes,
        reading=_READING,
        families=[family for family in FAMILIES if family in present],
        drawings={chart.name: svg for chart, svg in zip(charts, drawn, strict=True)},
        rank_bar=rank_bar,
        highlight=HIGHLIGHT,
        tuned=TUNED,
    )


def rank_bar(own: RankInterval, count: int) -> dict[str, str]:
    """Where places lie on a bar that is 100 wide, the first at its left end."""
    step = 92 / max(1, count - 1)
    ends = {"low": own.low, "high": own.high, "estimate": own.estimate}
    return {name: f"{4 + step * (place - 1):.1f}" for name, place in ends.items()}


class _Training(NamedTuple):
    """One evaluation of one training, as its method's page lists it; ``record`` is whether it has one."""

    missing: str
    seed: int
    fold: str
    accuracy: float | None
    epoch: int | None
    status: str
    trial: str
    record: bool


def _write_methods(board: Board, out: Path) -> None:
    """A page for each method of a suite."""
    from mlabench.reporting.page import filled

    known = registry.entries("methods")
    for label in board.plan.labels:
        standing = {view.name: entry for view in board.views for entry in view.entries if entry.label == label}
        if not standing:
            continue
        trial = next(cell.trial for cell in board.plan.cells if cell.label == label)
        entry = next(iter(standing.values()))
        guest = board.guests.get(label)
        path = out / entry.page
        files.write_text(
            path,
            filled(
                "method.html",
                title=f"{label} on {board.dataset}",
                version=__version__,
                contents=[("Standing", "standing"), ("Trainings", "trainings")],
                commands=[],
                board=board,
                entry=entry,
                standing=standing,
                about=known[trial.method.name].about if trial.method.name in known else None,
                facts=guest.facts if guest else {},
                options=json.dumps(trial.method.config, indent=1, ensure_ascii=False),
                training=json.dumps(trial.training.model_dump(mode="json"), indent=1, ensure_ascii=False),
                trial=trial,
                trainings=list(_trainings(board, label)),
            ),
        )


def _trainings(board: Board, label: str) -> Iterator[_Training]:
    results = board.evidence.results
    scores = results.on_axis()
    for row in scores[(scores["label"] == label) & (scores["target"] == MULTIMODAL)].to_dict("records"):
        ok = row["status"] == "ok"
        yield _Training(
            missing=row["setting"],
            seed=row["seed"],
            fold=row["fold"],
            accuracy=100 * row["accuracy"] if ok else None,
            epoch=row["selected_epoch"] if ok else None,
            status=" ".join(filter(None, [row["status"], row["reason"]])),
            trial=row["trial"],
            record=row["trial"] in results.records,
        )


def _copy_records(board: Board, folder: Path) -> None:
    """The records of all trainings, as they are: their checksums stay valid."""
    folder.mkdir(parents=True, exist_ok=True)
    store = board.evidence.archive.store
    assert store is not None  # noqa: S101
    for trial in board.evidence.results.records:
        shutil.copyfile(store.folder(trial) / RECORD, folder / f"{trial}.json")

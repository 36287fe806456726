"""The commands ``mlabench data ...`` and ``mlabench masks ...``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mlabench.errors import UserError, cannot_write

if TYPE_CHECKING:
    from mlabench.datasets import Data, Dataset
    from mlabench.missing import Missing

data_app = typer.Typer(name="data", help="What data are there, and how to prepare them.", no_args_is_help=True)
masks_app = typer.Typer(name="masks", help="Missing patterns as files.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset, e.g. stamps.")]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Where the raw files are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SPLITS = ("train", "validation", "test")


@data_app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the datasets, and whether each is ready to use."""
    from mlabench import registry
    from mlabench.display import make_console, print_listing

    rows = []
    for name, entry in registry.entries("datasets").items():
        kind = entry.load()
        try:
            state = f"ready ({kind(kind.Config()).fingerprint()})"
        except UserError as error:
            state = str(error)
        rows.append((name, entry.summary, kind.source, kind.twin_of, state))
    columns = ("Name", "Summary", "Source", "Stands in for", "State")
    print_listing(make_console(), f"{len(rows)} datasets", columns, rows, as_json=as_json)


@data_app.command()
def stats(name: Name, as_json: AsJson = False) -> None:
    """Count a dataset's samples by class and split, and what its splits share."""
    from mlabench.display import make_console, print_listing

    data = _default(name).load()
    splits = {split: getattr(data, split) for split in SPLITS}
    rows = []
    for label, title in enumerate(data.task.classes):
        counts = [int((split.labels == label).sum()) for split in splits.values()]
        rows.append((title, *counts, sum(counts)))
    sizes = [len(split) for split in splits.values()]
    rows.append(("all", *sizes, sum(sizes)))
    groups = [len(set(split.groups)) for split in splits.values()]
    rows.append(("independent groups", *groups, sum(groups)))
    console = make_console()
    print_listing(console, f"Samples of {name}", ("Class", *SPLITS, "all"), rows, as_json=as_json)
    if not as_json:
        shapes = ", ".join(f"{modality} {shape}" for modality, shape in data.task.shapes.items())
        console.print(f"Inputs: {shapes}.", f"In more than one split: {_overlap(data)}.", *data.notes, sep="\n")


@data_app.command()
def check(name: Name, root: Root = None) -> None:
    """Say what is found among a dataset's raw files, and what will be skipped."""
    from mlabench.display import make_console

    found = _kind(name).check(root)
    console = make_console()
    console.print(f"{found.folder}: {sum(found.samples.values())} samples", soft_wrap=True)
    _print_counts(found.samples, found.skipped)


@data_app.command()
def prepare(
    name: Name,
    root: Root = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default: where the dataset reads them.")
    ] = None,
) -> None:
    """Rebuild a dataset's frozen features from its raw files."""
    from rich.progress import Progress

    from mlabench.display import make_console

    console = make_console()
    with Progress(console=console, disable=not console.is_terminal) as bars:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        made = _kind(name).prepare(root, out, report)
    console.print(f"{made.folder}: {sum(made.samples.values())} samples", soft_wrap=True)
    _print_counts(made.samples, made.skipped)


@masks_app.command()
def export(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the files.")],
) -> None:
    """Write every missing pattern of a suite as CSV, for other benchmarks and for the protocol `file`."""
    from mlabench.missing import missing_rate, write_pattern

    for path, dataset, missing, ids, modalities in _patterns(suite, out):
        present = missing.pattern(dataset, ids, modalities)
        about = {"dataset": dataset, "recipe": missing.identity(), "rate": missing_rate(present)}
        try:
            out.mkdir(parents=True, exist_ok=True)
            digest = write_pattern(path, ids, modalities, present, about)
        except OSError as error:
            raise cannot_write("patterns", out, error) from error
        typer.echo(f"{path}: {len(ids)} samples, {missing_rate(present):.1%} missing, SHA-256 {digest[:12]}")


@masks_app.command()
def verify(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `mlabench masks export` wrote.")],
) -> None:
    """Check that exported patterns equal those that this version draws."""
    from mlabench.missing import read_pattern

    for path, dataset, missing, ids, modalities in _patterns(suite, folder):
        if not (read_pattern(path, ids, modalities) == missing.pattern(dataset, ids, modalities)).all():
            raise UserError("the pattern differs from the one that this version draws.", file=str(path))
        typer.echo(f"{path}: equal")


class _Pattern(NamedTuple):
    """A missing pattern of a suite, over all samples, so that it serves whichever splits a suite masks."""

    path: Path
    dataset: str
    missing: Missing
    ids: tuple[str, ...]
    modalities: tuple[str, ...]


def _patterns(suite: Path, folder: Path) -> list[_Pattern]:
    """Each missing pattern of a suite once, and where it is exported to.

    Raises:
        UserError: If the suite has a mistake, or nothing is missing in it.
    """
    from mlabench.planning import expand
    from mlabench.suite import load_suite
    from mlabench.suite.components import instantiate

    loaded = load_suite(suite)
    recipes = {
        missing.key: missing
        for cell in expand(loaded).cells
        for missing in (cell.trial.missing, *cell.tests)
        if missing.protocol != "complete"
    }
    if not recipes:
        raise UserError(
            "nothing is missing in this suite.", remedy="Give it 'missing: {rates: [...]}'.", file=str(suite)
        )
    data, name = instantiate(loaded.dataset).load(), loaded.dataset.name
    ids = (*data.train.ids, *data.validation.ids, *data.test.ids)
    return [
        _Pattern(folder / f"{name}-{key}.csv", name, missing, ids, data.task.modalities)
        for key, missing in recipes.items()
    ]


def _kind(name: str) -> type[Dataset]:
    from mlabench import registry

    return registry.get("datasets", name).load()


def _default(name: str) -> Dataset:
    kind = _kind(name)
    return kind(kind.Config())


def _overlap(data: Data) -> str:
    """How many ids and groups stand in more than one split; both should be none."""
    parts = []
    for what in ("ids", "groups"):
        sets = [set(getattr(getattr(data, split), what)) for split in SPLITS]
        counts = Counter(item for members in sets for item in members)
        parts.append(f"{sum(count > 1 for count in counts.values())} {what}")
    return ", ".join(parts)


def _print_counts(samples: dict[str, int], skipped: dict[str, int]) -> None:
    for what, count in samples.items():
        typer.echo(f"  {what}: {count}")
    for reason, count in skipped.items():
        typer.echo(f"  skipped, {reason}: {count}")

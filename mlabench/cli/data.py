"""The commands ``mlabench data ...`` and ``mlabench masks ...``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mlabench.cli.get import get
from mlabench.cli.options import AsJson, PluginOption, use_plugins
from mlabench.errors import UserError, cannot_write

if TYPE_CHECKING:
    from mlabench.datasets import Data, Dataset
    from mlabench.missing import Missing
    from mlabench.suite import Overrides

data_app = typer.Typer(name="data", help="List, get, check and prepare data.", no_args_is_help=True)
masks_app = typer.Typer(name="masks", help="Missing patterns as files.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset, e.g. stamps.")]
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Where the raw files are.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="An option of the dataset, e.g. split=speaker. Repeatable."),
]
SPLITS = ("train", "validation", "test")
_COLUMNS = ("Class", *SPLITS, "all")


data_app.command()(get)


@data_app.command("list")
def list_data(plugin: PluginOption = None, as_json: AsJson = False) -> None:
    """List the datasets, and whether each is ready to use."""
    from mlabench import registry
    from mlabench.cli.console import make_console, print_listing
    from mlabench.cli.listings import data_state

    use_plugins(plugin)
    rows = []
    for name, entry in registry.entries("datasets").items():
        kind = entry.load()
        rows.append((name, entry.about.summary, kind.source, kind.twin_of, data_state(kind)))
    columns = ("Name", "Summary", "Source", "Stands in for", "State")
    print_listing(make_console(), f"{len(rows)} datasets", columns, rows, as_json=as_json)


@data_app.command()
def stats(
    name: Name,
    root: Root = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Count a dataset's samples by class and split, and what its splits share."""
    from mlabench.cli.console import make_console, print_listing

    use_plugins(plugin)
    dataset = _dataset(name, root, settings)
    data = dataset.load()
    if as_json:
        print_listing(make_console(), "", _COLUMNS, _class_counts(data), as_json=True)
        return
    shapes = ", ".join(f"{modality} {shape}" for modality, shape in data.task.shapes.items())
    media = ", ".join(f"{modality} ({medium})" for modality, medium in dataset.media.items())
    _print_data(name, data, f"Inputs: {shapes or media}.")
    _print_counts({}, data.skipped)


@data_app.command()
def check(name: Name, root: Root = None, settings: SetOption = None, plugin: PluginOption = None) -> None:
    """Say what is found among a dataset's raw files, and what will be skipped. Decodes nothing."""
    from mlabench.datasets import RawDataset

    use_plugins(plugin)
    dataset = _dataset(name, root, settings)
    found = dataset.check(root)
    typer.echo(f"{found.folder}: {sum(found.samples.values())} samples")
    if isinstance(dataset, RawDataset):
        _print_data(name, dataset.load())
    else:
        _print_counts(found.samples, {})
    _print_counts({}, found.skipped)


@data_app.command()
def prepare(
    what: Annotated[
        str, typer.Argument(metavar="DATASET|SUITE", help="A dataset, e.g. stamps, or a suite whose inputs to prepare.")
    ],
    root: Root = None,
    settings: SetOption = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(metavar="MODALITY=NAME", help="For a raw dataset, what reads it. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For rebuilt features; default: where they are read.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Samples per split, for a smoke test.")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes; default: one per core.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where frozen networks run: auto, cpu, cuda or mps.")] = "auto",
    plugin: PluginOption = None,
) -> None:
    """Decode a suite's inputs and compute frozen features, once; or rebuild an embedded dataset's features."""
    from mlabench.cli.console import make_console
    from mlabench.datasets import RawDataset, open_dataset
    from mlabench.running import Bars, default_jobs, prepare_inputs
    from mlabench.suite import Overrides, load_inputs, load_plans, with_content, with_fingerprint
    from mlabench.trial import InputSpec

    use_plugins(plugin)
    console = make_console()
    if Path(what).suffix in (".yaml", ".yml"):
        plans = load_plans([Path(what)], Overrides(settings=tuple(settings or ()), limit=limit)).values()
        wanted: list[InputSpec] = [cell.trial for plan in plans for cell in plan.cells]
    elif issubclass(_kind(what), RawDataset):
        component, encoders = load_inputs(what, _overrides(what, root, settings, encoder))
        dataset = with_fingerprint(component, open_dataset(component))
        wanted = [InputSpec(dataset=dataset, encoders=with_content(encoders), limit=limit)]
    else:
        with Bars(console) as bars:
            made = _dataset(what, None, settings).prepare(root, out, bars.report)
        console.print(f"{made.folder}: {sum(made.samples.values())} samples", soft_wrap=True, markup=False)
        _print_counts(made.samples, made.skipped)
        return
    prepared = prepare_inputs(wanted, console, jobs or default_jobs("cpu"), device)
    if not prepared:
        console.print(f"{what} reads features only: there is nothing to prepare.", soft_wrap=True, markup=False)
    for data in prepared:
        shapes = ", ".join(f"{modality} {list(shape)}" for modality, shape in data.task.shapes.items())
        console.print(f"{what} is prepared: {shapes}.", soft_wrap=True, markup=False)
        _print_counts({split: len(getattr(data, split)) for split in SPLITS}, data.skipped)


@masks_app.command()
def export(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the files.")],
    plugin: PluginOption = None,
) -> None:
    """Write every missing pattern of a suite as CSV, for other benchmarks and for the protocol `file`."""
    from mlabench.missing import missing_rate, write_pattern

    use_plugins(plugin)
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
    plugin: PluginOption = None,
) -> None:
    """Check that exported patterns equal those that this version draws."""
    from mlabench.missing import read_pattern

    use_plugins(plugin)
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
    """Each missing pattern of a suite (or of those that it lists) once, and where it is exported to."""
    from mlabench.datasets import open_dataset
    from mlabench.suite import load_plans

    recipes = {
        (cell.trial.dataset.model_dump_json(), missing.key): (cell.trial.dataset, missing)
        for plan in load_plans([suite]).values()
        for cell in plan.cells
        for missing in (cell.trial.missing, *cell.trial.validation, *cell.tests)
        if missing.protocol != "complete"
    }
    if not recipes:
        raise UserError(
            "nothing is missing in this suite.", remedy="Give it 'missing: {rates: [...]}'.", file=str(suite)
        )
    datasets = {key: dataset for (key, _), (dataset, _) in recipes.items()}
    loaded = {key: open_dataset(dataset).load() for key, dataset in datasets.items()}
    found: dict[Path, _Pattern] = {}
    for (key, _), (dataset, missing) in recipes.items():
        data, path = loaded[key], _mask_file(folder, dataset.name, missing)
        ids = (*data.train.ids, *data.validation.ids, *data.test.ids)
        pattern = _Pattern(path, dataset.name, missing, ids, data.task.modalities)
        if found.setdefault(path, pattern) != pattern:
            raise UserError(
                f"its suites read {dataset.name!r} with different samples.",
                remedy="Give the command one suite at a time, each with a folder of its own.",
                file=str(suite),
            )
    return list(found.values())


def _mask_file(folder: Path, dataset: str, missing: Missing) -> Path:
    """A name that every file system can take, whatever modalities are called."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_.+-]', '_', f'{dataset}-{missing.key}')}.csv"


def _kind(name: str) -> type[Dataset]:
    from mlabench import registry

    return registry.get("datasets", name).load()


def _dataset(name: str, root: Path | None, settings: list[str] | None) -> Dataset:
    """The dataset with its options from the command line."""
    from mlabench.datasets import open_dataset
    from mlabench.suite import load_dataset

    return open_dataset(load_dataset(name, _overrides(name, root, settings)))


def _overrides(
    name: str, root: Path | None, settings: list[str] | None, encoders: list[str] | None = None
) -> Overrides:
    """Flags of these commands as overrides of a suite."""
    from mlabench.suite import Overrides

    given = [f"dataset.{setting.removeprefix('dataset.')}" for setting in settings or ()]
    if root is not None and "root" in _kind(name).Config.model_fields:
        given.append(f"dataset.root={json.dumps(str(root))}")
    return Overrides(settings=(*given, *(f"encoders.{choice}" for choice in encoders or ())))


def _class_counts(data: Data) -> list[tuple[str | int, ...]]:
    """Rows of a table: samples of each class in each split and in all, then the sums and the independent groups."""
    splits = [getattr(data, split) for split in SPLITS]
    counted = [
        (title, [int((split.labels == label).sum()) for split in splits])
        for label, title in enumerate(data.task.classes)
    ]
    counted.append(("all", [len(split) for split in splits]))
    counted.append(("independent groups", [len(set(split.groups)) for split in splits]))
    return [(title, *counts, sum(counts)) for title, counts in counted]


def _print_data(name: str, data: Data, *inputs: str) -> None:
    """Its samples by class and split, and how many ids and groups stand in more than one split: it should be none."""
    from mlabench.cli.console import make_console, print_listing

    console, overlap = make_console(), []
    print_listing(console, f"Samples of {name}", _COLUMNS, _class_counts(data), as_json=False)
    for what in ("ids", "groups"):
        counts = Counter(item for split in SPLITS for item in set(getattr(getattr(data, split), what)))
        overlap.append(f"{sum(count > 1 for count in counts.values())} {what}")
    for unit in data.train.units:
        values = {value for split in SPLITS for value in getattr(data, split).units[unit]}
        inputs += (f"Divided by {unit} into {len(values)} parts.",)
    notes = (f"In more than one split: {', '.join(overlap)}.", *data.notes, *data.split_notes)
    console.print(*inputs, *notes, sep="\n", markup=False)


def _print_counts(samples: Mapping[str, int], skipped: Mapping[str, int]) -> None:
    for what, count in samples.items():
        typer.echo(f"  {what}: {count}")
    for reason, count in sorted(skipped.items()):
        typer.echo(f"  skipped, {reason}: {count}")

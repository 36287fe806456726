"""The commands ``mlabench data ...`` and ``mlabench masks ...``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
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
    from mlabench.trial import InputSpec

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


What = Annotated[
    str, typer.Argument(metavar="DATASET|SUITE", help="A dataset, e.g. stamps, or a suite whose inputs to prepare.")
]
EncoderOption = Annotated[
    list[str] | None,
    typer.Option("--encoder", metavar="MODALITY=NAME", help="For a raw dataset, what reads it. Repeatable."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Samples per split, for a smoke test.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes; default: one per core.")]
Device = Annotated[str, typer.Option(help="Where frozen networks run: auto, cpu, cuda or mps.")]


@data_app.command()
def prepare(
    what: What,
    root: Root = None,
    settings: SetOption = None,
    encoder: EncoderOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For rebuilt features; default: where they are read.")
    ] = None,
    limit: Limit = None,
    jobs: Jobs = None,
    device: Device = "auto",
    plugin: PluginOption = None,
) -> None:
    """Decode a suite's inputs and compute frozen features, once; or rebuild an embedded dataset's features."""
    from mlabench.cli.console import make_console
    from mlabench.running import Bars, default_jobs, prepare_inputs

    use_plugins(plugin)
    console = make_console()
    wanted = _wanted(what, root, settings, encoder, limit)
    if wanted is None:
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
        for modality, count in data.complaints.items():
            typer.echo(f"  decoded, but with complaints of the decoder, {modality}: {count}")


@data_app.command()
def features(
    what: What,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="FILE.safetensors, for the features; the table is FILE.csv.")
    ],
    root: Root = None,
    settings: SetOption = None,
    encoder: EncoderOption = None,
    limit: Limit = None,
    jobs: Jobs = None,
    device: Device = "auto",
    plugin: PluginOption = None,
) -> None:
    """Write what a suite's frozen networks make of its inputs, for other programs and for the dataset `manifest`.

    They are as the networks give them: nothing is fitted to them, nothing on top is applied. The table has the samples'
    ids, labels, splits and groups, row for row.
    """
    from mlabench.cli.console import make_console
    from mlabench.datasets import export_features
    from mlabench.running import default_jobs, prepare_inputs

    use_plugins(plugin)
    _require_new_files(out)
    spec = _only_inputs(what, _wanted(what, root, settings, encoder, limit) or ())
    (data,) = prepare_inputs([spec], console := make_console(), jobs or default_jobs("cpu"), device)
    encoders = {modality: {"name": one.name, **one.config} for modality, one in spec.encoders.items()}
    about = {"dataset": spec.dataset.name, "fingerprint": spec.dataset.fingerprint, "encoders": encoders}
    table = export_features(out, data, about)
    shapes = ", ".join(f"{modality} {list(shape)}" for modality, shape in data.task.shapes.items())
    console.print(f"{out}: {shapes}.", soft_wrap=True, markup=False)
    _print_counts({split: len(getattr(data, split)) for split in SPLITS}, data.skipped)
    modalities = ", ".join(f"{modality}: features" for modality in data.task.modalities)
    read = f"{{name: manifest, file: {table}, features: {out}, modalities: {{{modalities}}}}}"
    console.print(f"A suite reads them as `dataset: {read}`.", soft_wrap=True, markup=False)


def _wanted(
    what: str, root: Path | None, settings: list[str] | None, encoder: list[str] | None, limit: int | None
) -> list[InputSpec] | None:
    """The inputs of a suite's trials, or of a raw dataset; None for a dataset of features."""
    from mlabench import registry
    from mlabench.datasets import RawDataset, open_dataset
    from mlabench.suite import Overrides, is_suite, load_inputs, load_plans, with_content, with_fingerprint
    from mlabench.trial import InputSpec

    if what not in registry.entries("datasets") and is_suite(what):
        plans = load_plans([what], Overrides(settings=tuple(settings or ()), limit=limit)).values()
        return [cell.trial for plan in plans for cell in plan.cells]
    if issubclass(_kind(what), RawDataset):
        component, encoders = load_inputs(what, _overrides(what, root, settings, encoder))
        dataset = with_fingerprint(component, open_dataset(component))
        return [InputSpec(dataset=dataset, encoders=with_content(encoders), limit=limit)]
    return None


def _only_inputs(what: str, trials: Iterable[InputSpec]) -> InputSpec:
    """The inputs that all trials share, whatever their folds; raw ones must become features without training."""
    from mlabench.datasets import has_raw_inputs, media_of
    from mlabench.trial import InputSpec

    shared = [InputSpec(dataset=trial.dataset, encoders=trial.encoders, limit=trial.limit) for trial in trials]
    different = {spec.model_dump_json(): spec for spec in shared if has_raw_inputs(spec.dataset)}
    if len(different) != 1:
        found = f"{len(different)} different sets of raw inputs" if different else "no raw inputs"
        raise UserError(f"{what} reads {found}.", remedy="Give a suite on one raw dataset with one choice of encoders.")
    (spec,) = different.values()
    for modality, medium in media_of(spec.dataset).items():
        encoder = spec.encoders[modality]
        if medium != "features" and not encoder.config.get("frozen"):
            raise UserError(
                f"{encoder.name!r} is not frozen, so it has no features before it is trained.",
                remedy="Give a published network, and `frozen: true`.",
                field=f"encoders.{modality}.frozen",
            )
    return spec


def _require_new_files(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise UserError("must end in .safetensors.", remedy=f"Write {out}.safetensors.", file=str(out), field="--out")
    for path in (out, out.with_suffix(".csv")):
        if path.exists():
            raise UserError("is there already.", remedy="Remove it, or choose another name.", file=str(path))


@masks_app.command()
def export(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite, by name or by file.")],
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
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite, by name or by file.")],
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

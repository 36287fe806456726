"""The command ``mlabench data get``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mlabench.cli.console import make_console
from mlabench.cli.options import PluginOption, use_plugins
from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.datasets.sources import Order


def get(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="What to fetch, e.g. openmoji.")],
    part: Annotated[
        list[str] | None, typer.Option("--part", metavar="PART", help="Only this part, e.g. s1 of grid. Repeatable.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Where to; default: where the suites look.")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option("--mirror", metavar="URL", envvar="MLABENCH_MIRROR", help="Fetch the files from here instead."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the licence and the size; do not ask.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Fetch a dataset's files, as far as its licence allows. Interrupt and run again to resume."""
    from mlabench.datasets.sources import Transfer, carry_out, place_order

    use_plugins(plugin)
    console = make_console()
    try:
        with Transfer() as transfer:
            order = place_order(name, part or (), root, mirror, transfer)
            console.print(_description(order, mirror), soft_wrap=True, markup=False)
            if order.items or order.kaggle:
                _require_consent(yes=yes)
                with _Downloads(console) as downloads:
                    carry_out(order, transfer, downloads, _wanted(name))
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to resume", err=True)
        raise typer.Exit(130) from None
    console.print(f"All of it is in {order.root}.", soft_wrap=True, markup=False)


def _require_consent(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(
            "this asks before it starts, and there is no terminal to answer at.",
            remedy="Give it --yes if you agree to the licence and the size.",
        )
    typer.confirm("Fetch it?", abort=True)


def _wanted(name: str) -> Callable[[Path], Callable[[str], bool] | None]:
    """Which members of archives a dataset reads, as it says itself."""
    from mlabench import registry
    from mlabench.datasets import RawDataset

    entry = registry.entries("datasets").get(name)
    kind = entry.load() if entry else None
    return kind.wanted if kind is not None and issubclass(kind, RawDataset) else lambda _: None


def _description(order: Order, mirror: str | None) -> str:
    """What is fetched, under which licence, from where to where, and how much it is."""
    source = order.source
    parts = {name: source.parts[name] for name in order.parts}
    licences: dict[str, list[str]] = {}
    for name, part in parts.items():
        licences.setdefault(part.licence or source.licence, []).append(name)
    rows = [
        ("licence", licence if len(licences) == 1 else f"{', '.join(names)}: {licence}")
        for licence, names in licences.items()
    ]
    rows.append(("page", source.page))
    if source.form:
        rows.append(("form", f"{source.form} (its authors ask you to fill it in)"))
    origins = {f"Kaggle, {part.kaggle.handle}" if part.kaggle else mirror or part.base for part in parts.values()}
    rows += [("from", origin) for origin in sorted(origins)]
    rows += [("to", str(order.root)), ("parts", ", ".join(parts)), ("size", _size(order))]
    return "\n".join([source.title, *(f"{label:9}{value}" for label, value in rows)])


def _size(order: Order) -> str:
    if not order.items and not order.kaggle:
        return "nothing left to fetch"
    about = "" if order.exact else "about "
    return f"{about}{filesize.decimal(order.size)} to fetch, {about}{filesize.decimal(order.disk)} on disk at most"


class _Downloads:
    """One bar per part; where there is no terminal, one line when a part is complete."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._console = console
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def received(self, part: str, done: int, total: int | None) -> None:
        if part not in self._tasks:
            self._tasks[part] = self._bars.add_task(part, total=total)
        self._bars.update(self._tasks[part], completed=done)

    def finished(self, part: str, files: int) -> None:
        self._console.print(f"{part}: {files:,} files", markup=False)

    def trusted(self, path: str, digest: str) -> None:
        line = f"{path}: no checksum is published; on record from now on: {digest}"
        self._console.print(line, soft_wrap=True, markup=False)

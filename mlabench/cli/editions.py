"""The command ``mlabench results``: editions of the reference."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench import __version__
from mlabench.cli.console import make_console, print_listing
from mlabench.cli.options import AsJson
from mlabench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from mlabench.store import Edition


def results_command(
    edition: Annotated[
        str | None,
        typer.Option("--edition", metavar="NAME", help="Fetch this one, unless it is here; say what it holds."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PLACE", help="Its archive, or the folder or address that holds it; default: the release."
        ),
    ] = None,
    frozen: Annotated[
        Path | None, typer.Option("--freeze", metavar="DIR", help="Make the archive of it from this results folder.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="With --freeze: where to.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the editions of the reference, frozen records to compare yours with; or fetch or make one."""
    from mlabench.store import freeze_edition

    console = make_console()
    if edition is None:
        for flag, value in (("--from", source), ("--freeze", frozen)):
            if value is not None:
                raise UserError("say which edition.", remedy="Add --edition 2026.12, for example.", field=flag)
        _list(console, as_json=as_json)
    elif frozen is not None:
        archive, seal = freeze_edition(edition, frozen, out)
        console.print(f"{archive}: {archive.stat().st_size:,} bytes", soft_wrap=True, markup=False)
        console.print(f"Its row in mlabench/store/editions.csv: {edition},{__version__},{seal}", soft_wrap=True)
    else:
        folder, manifest = _fetched(edition, source, console)
        rows = [(edition, suite, trials, folder) for suite, trials in manifest.suites.items()]
        made = f"{manifest.trials} trials, made with mlabench {', '.join(manifest.mlabench)}"
        columns = ("Edition", "Suite", "Trials", "Folder")
        shown = rows if as_json else [row[1:3] for row in rows]
        print_listing(console, f"{edition}: {made}", columns if as_json else columns[1:3], shown, as_json=as_json)
        if not as_json:
            lines = (
                f"It is in {folder}.",
                f"mlabench report --compare edition:{edition} results  sets yours beside it",
                f'mlabench.results("edition:{edition}")  is all its numbers as a frame, in Python',
            )
            console.print("\n".join(lines), soft_wrap=True, markup=False)


def _list(console: Console, *, as_json: bool) -> None:
    from mlabench.store import kept_editions, published_editions

    known, here = published_editions(), kept_editions()
    editions: list[tuple[str, str | None, Path | None]]
    editions = [(one.edition, one.mlabench, here.get(one.edition)) for one in known.values()]
    editions += [(edition, None, folder) for edition, folder in here.items() if edition not in known]
    if not editions and not as_json:
        console.print(f"mlabench {__version__} knows no edition of the reference, and none is here.")
        return
    print_listing(console, "Editions of the reference", ("Edition", "mlabench", "Folder"), editions, as_json=as_json)
    if not as_json:
        console.print("`mlabench results --edition NAME` fetches one, and says what it holds.", markup=False)


def _fetched(edition: str, source: str | None, console: Console) -> tuple[Path, Edition]:
    """An edition in the cache: as it is there, or taken in from where it is published or ``source`` says it is."""
    from mlabench.store import (
        edition_address,
        edition_archive,
        kept_editions,
        open_edition,
        published_editions,
        take_edition,
    )

    name = edition_archive(edition)
    if source is None and edition in kept_editions():
        with suppress(UserError):  # what is damaged is fetched again
            return open_edition(edition)
    place = edition_address(edition) if source is None else source
    if not re.match("https?://", place):
        path = Path(place, name) if Path(place).is_dir() else Path(place)
        if not path.is_file():
            raise UserError("no such file.", remedy=f"Give the file {name}, or its folder.", file=str(path))
        taken = take_edition(path, edition)
    else:
        archive = _download(place if place.endswith(".zip") else f"{place.rstrip('/')}/{name}", console)
        try:
            taken = take_edition(archive, edition)
        finally:
            archive.unlink()
    if edition not in published_editions():
        console.print(f"This version of mlabench has no seal of {edition}: it may be anybody's.", style="yellow")
    return taken


def _download(address: str, console: Console) -> Path:
    from mlabench.datasets.sources import Transfer
    from mlabench.store import cache_folder

    base, _, name = address.rpartition("/")
    console.print(f"Fetching {address}", soft_wrap=True, markup=False)
    try:
        with Transfer() as transfer:
            folder = cache_folder() / "editions" / "downloads"
            return transfer.receive(f"{base}/", name, folder, None, None, lambda _: None).path
    except UserError as error:  # whose remedies are those of `data get`
        remedy = "Try again later, or give the archive, or another place that has it, with --from."
        raise UserError(error.problem, remedy=remedy, file=error.file) from error

"""The command that writes the leaderboard as a static site."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.cli.options import PluginOption, use_plugins
from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.contributing import Card
    from mlabench.reporting import Folder

#: What is shown where no folder is named: of a checkout the reference and what others contributed.
_REFERENCE, _CONTRIBUTED, _OWN = Path("results/reference"), Path("results/contributed"), Path("results")


def leaderboard(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RESULTS...]",
            help="Results folders; methods of the later ones, contributed ones among them, join the suites of the "
            "first. Default: results/reference and results/contributed/* if they are there, else results.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("site"),
    plugin: PluginOption = None,
) -> None:
    """Write the leaderboard as a static site: filters, ranks with intervals, cost, every record."""
    from mlabench.cli.console import make_console
    from mlabench.reporting import build_leaderboard

    use_plugins(plugin)
    named = results or _default()
    folders = [_folder(path) for path in named]
    shown = shlex.join(["mlabench", "leaderboard", *(path.as_posix() for path in results or ())])
    build_leaderboard(folders, out, command=shown, console=make_console())


def _default() -> list[Path]:
    if not _REFERENCE.is_dir():
        return [_OWN]
    return [_REFERENCE, *sorted(path.parent for path in _CONTRIBUTED.glob("*/card.yaml"))]


def _folder(path: Path) -> Folder:
    from mlabench.contributing import CARD, read_card
    from mlabench.reporting import Folder
    from mlabench.store import Store

    store = Store(path)
    plans = tuple(store.plans())
    for unread in store.unread:
        typer.echo(f"warning: {unread}", err=True)
    if not plans:
        remedy = "Name a folder that `mlabench run` wrote to, or run a suite first: `mlabench run stamps_missing`."
        raise UserError(f"no results in {path}.", remedy=remedy, field="RESULTS")
    if not (path / CARD).is_file():
        return Folder(store, plans)
    card = read_card(path / CARD)
    return Folder(store, plans, card.title, _facts(card))


def _facts(card: Card) -> dict[str, str]:
    """What readers of the leaderboard should know of a contribution."""
    saw = {True: "yes", False: "no", "unknown": "unknown"}[card.encoder_saw_data]
    return {
        "Contributed by": f"{', '.join(card.authors)} ({card.contact})",
        "Encoders saw these data": saw,
        "Tuned": card.tuned,
        "Paper": card.paper or "none",
        "Code": card.code or f"in {card.name}/plugin.py, not published elsewhere",
        "Licence of the code": card.licence,
    }

"""Options that commands share, and the suites that they are given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.suite import Overrides, Plan

#: What trials can run on; with ``auto``, on the fastest of what is there.
DEVICES = ("auto", "cpu", "cuda", "mps")

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file, e.g. suites/stamps_missing.yaml.")]
SuiteFiles = Annotated[list[Path], typer.Argument(metavar="SUITE...", help="One or more suite files.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where records are kept.")]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes; default: one per core, or one per GPU.")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="|".join(DEVICES), help="Where trials run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. training.epochs=5. Repeatable."),
]
MethodOption = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME", help="Only this method or label. Repeatable.")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", metavar="LIST", help="Seeds, e.g. 0-4 or 0,2,5.")]
RatesOption = Annotated[str | None, typer.Option("--rates", metavar="LIST", help="Missing rates, e.g. 0,0.5.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Samples per split, for a smoke test; kept out of reports.")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Another dataset.")]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Also know the methods, datasets and encoders of this file. Repeatable."
    ),
]
PrecisionOption = Annotated[str | None, typer.Option("--precision", metavar="32|bf16-mixed", help="Arithmetic.")]


def use_plugins(files: list[Path] | None, *, imported: bool = False) -> tuple[Path, ...]:
    """Makes what plugin files define known to this process. Returns their absolute paths.

    Args:
        files: The files of the option ``--plugin``.
        imported: Whether to import them, too, so that their mistakes show before a trial is run.

    Raises:
        UserError: If one is missing, broken, or defines nothing or what is there already.
    """
    from mlabench import plugins

    paths = plugins.register(files or ())
    if imported:
        plugins.import_all(paths)
    return paths


def overrides(
    settings: list[str] | None = None,
    methods: list[str] | None = None,
    seeds: str | None = None,
    rates: str | None = None,
    limit: int | None = None,
    dataset: str | None = None,
    precision: str | None = None,
) -> Overrides:
    """What the flags change about a suite."""
    from mlabench.suite import Overrides

    return Overrides(
        settings=tuple(settings or ()),
        methods=tuple(methods or ()),
        seeds=seeds,
        rates=rates,
        limit=limit,
        dataset=dataset,
        precision=precision,
    )


def load_plans(paths: Iterable[Path], changes: Overrides | None = None) -> dict[Path, Plan]:
    """The plan of each suite; a file that lists suites stands for them. All are read before the first is run.

    Raises:
        UserError: If anything is wrong with any of them; it lists all mistakes, and all data that are not there.
    """
    from mlabench.suite import expand, load_suite, members

    plans: dict[Path, Plan] = {}
    errors: list[UserError] = []
    for path in dict.fromkeys(member for given in paths for member in members(given)):
        try:
            plans[path] = expand(load_suite(path, changes))
        except UserError as error:
            errors.append(error.within(str(path)))
    if errors:
        # Several suites that lack the same data have one problem.
        raise UserError.of(list({error.problem: error for error in reversed(errors)}.values())[::-1])
    _refuse_namesakes(plans)
    return plans


def _refuse_namesakes(plans: dict[Path, Plan]) -> None:
    """Of two suites with one name, the results folder would remember the last one only.

    Raises:
        UserError: If there are two different ones.
    """
    known: dict[str, tuple[Path, Plan]] = {}
    for path, plan in plans.items():
        other, before = known.setdefault(plan.name, (path, plan))
        if before != plan:
            raise UserError(
                f"{other} is named {plan.name!r}, too.",
                remedy="Give each suite its own name.",
                file=str(path),
                field="name",
            )


def choice(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is allowed.

    Raises:
        UserError: Otherwise, with the nearest spelling.
    """
    from mlabench.registry import suggest

    if value not in allowed:
        raise UserError(
            f"{value!r} is not one of {', '.join(allowed)}.", remedy=suggest(value, list(allowed)), field=flag
        )
    return value

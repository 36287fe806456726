"""Options that commands share, and the suites that they are given."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

import typer

from mlabench.errors import UserError

#: What trials can run on; with ``auto``, on the fastest of what is there.
DEVICES = ("auto", "cpu", "cuda", "mps")

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="A suite, by name or by file, e.g. stamps_missing.")]
SuiteFiles = Annotated[list[Path], typer.Argument(metavar="SUITE...", help="One or more suites, by name or by file.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where records are kept.")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Worker processes; default: one per core, or one per GPU. 0: run in this process, for a debugger.",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="|".join(DEVICES), help="Where trials run.")]
UntilOption = Annotated[
    float | None,
    typer.Option(
        "--until-width",
        metavar="POINTS",
        help="Add repeats (seeds) until all contrasts' 95 % intervals are at most so wide to either side.",
    ),
]
MaxRepeatsOption = Annotated[
    int | None, typer.Option("--max-repeats", metavar="N", help="With --until-width: repeats at most; default: 10.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FullOption = Annotated[bool, typer.Option("--full", help="Print all tables, not only 40 lines.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. training.epochs=5. Repeatable."),
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Also know the methods, datasets and encoders of this file. Repeatable."
    ),
]

#: The options that change a suite.
OVERRIDES: dict[str, Any] = {
    "settings": SetOption,
    "methods": Annotated[
        list[str] | None, typer.Option("--method", metavar="NAME", help="Only this method or label. Repeatable.")
    ],
    "seeds": Annotated[str | None, typer.Option(metavar="LIST", help="Seeds, e.g. 0-4 or 0,2,5.")],
    "folds": Annotated[
        str | None,
        typer.Option(metavar="N|NAME|none", help="Folds: a number, a division such as session, or the own split."),
    ],
    "rates": Annotated[str | None, typer.Option(metavar="LIST", help="Missing rates, e.g. 0,0.5.")],
    "limit": Annotated[
        int | None, typer.Option(min=1, help="Samples per split, for a smoke test; kept out of reports.")
    ],
    "dataset": Annotated[str | None, typer.Option(metavar="NAME", help="Another dataset.")],
    "precision": Annotated[str | None, typer.Option(metavar="32|bf16-mixed|auto", help="Arithmetic.")],
}


def use_plugins(files: list[Path] | None) -> tuple[Path, ...]:
    """Makes what plugin files define known to this process. Returns their absolute paths."""
    from mlabench.registry import register

    return register(files or ())


def takes_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the :data:`OVERRIDES` in place of its parameter ``changes``."""
    written = {name: kind for name, kind in command.__annotations__.items() if name != "changes"}
    kinds = get_type_hints(
        SimpleNamespace(__annotations__=written), vars(sys.modules[command.__module__]), include_extras=True
    )
    own = [
        parameter.replace(annotation=kinds[name])
        for name, parameter in signature(command).parameters.items()
        if name != "changes"
    ]
    added = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in OVERRIDES.items()]

    @wraps(command)
    def wrapped(**given: Any) -> None:
        from mlabench.suite import Overrides

        texts = {name: given.pop(name) for name in OVERRIDES}
        settings, methods = (tuple(texts.pop(name) or ()) for name in ("settings", "methods"))
        command(changes=Overrides(settings, methods, **texts), **given)

    wrapped.__annotations__ = {**kinds, **OVERRIDES}
    wrapped.__signature__ = Signature([*own, *added])  # type: ignore[attr-defined]
    return wrapped


def choice(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is allowed, else an error with the nearest spelling."""
    from mlabench.registry import suggest

    if value not in allowed:
        raise UserError(
            f"{value!r} is not one of {', '.join(allowed)}.", remedy=suggest(value, list(allowed)), field=flag
        )
    return value

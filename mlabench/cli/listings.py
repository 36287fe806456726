"""The listings of ``mlabench ls`` and ``mlabench data list``. Free of torch."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlabench import registry
from mlabench.cli.console import make_console, print_listing
from mlabench.errors import UserError
from mlabench.registry import About, Entry, Kind
from mlabench.words import as_written, counted

if TYPE_CHECKING:
    from mlabench.datasets import Dataset


def list_kind(kind: Kind, pattern: str, *, as_json: bool) -> None:
    """Lists what is registered under one kind, with its options and, of methods, what they cannot do."""
    entries = [entry for name, entry in registry.entries(kind).items() if fnmatch(name, pattern)]
    columns = ["Name", "Title", "Summary", "Package", "Paper", "Options"]
    rows: list[list[Any]] = []
    for entry in entries:
        about = entry.about
        options = _options(entry, as_json=as_json)
        rows.append([entry.name, about.title, about.summary, entry.package, about.paper, options])
    if kind == "methods":
        columns.append("Limits")
        for entry, row in zip(entries, rows, strict=True):
            limits = _limits(entry.about)
            row.append(limits if as_json else "\n".join(limits))
    print_listing(make_console(), f"{len(rows)} {kind}", columns, rows, as_json=as_json)


def _limits(about: About) -> list[str]:
    """What a method cannot do, and what to know before its scores are compared."""
    limits = [f"{limit}: {sentence}" for limit, sentence in about.limits.items()]
    return limits if about.predicts_per_sample else [*limits, "a prediction depends on what shares the sample's batch"]


def _options(entry: Entry, *, as_json: bool) -> Any:
    options, defaults = entry.about.options, entry.about.defaults
    if not as_json:
        return "\n".join(f"{name}={as_written(defaults[name])}" if name in defaults else name for name in options)
    tune = entry.search_space
    return {
        name: {
            "default": defaults.get(name),
            "required": name not in defaults,
            "description": option.get("description"),
            "tune": tune[name].model_dump(mode="json", exclude_defaults=True) if name in tune else None,
        }
        for name, option in options.items()
    }


def data_state(kind: type[Dataset]) -> str:
    """Whether a dataset can be used without being told where it lies."""
    needed = [name for name, field in kind.Config.model_fields.items() if field.is_required()]
    if needed:
        return f"needs the options {', '.join(needed)}"
    if "root" in kind.Config.model_fields:
        return "needs its files: dataset.root=DIR"
    try:
        return f"ready ({kind(kind.Config()).fingerprint()})"
    except UserError as error:
        return str(error)


def list_suites(pattern: str, *, as_json: bool) -> None:
    """Lists the suite files of the folder ``suites``."""
    from mlabench.suite import load_suite, members

    folder = Path("suites")
    if not folder.is_dir():
        raise UserError("there is no folder 'suites' here.", remedy="Change to a checkout of mlabench, or give paths.")
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        if fnmatch(path.stem, pattern):
            suites = [load_suite(member) for member in members(path)]
            questions = sorted({question for suite in suites for question in suite.question})
            datasets = list(dict.fromkeys(suite.dataset.name for suite in suites))
            title = suites[0].title if len(suites) == 1 else counted(len(suites), "suite")
            rows.append((str(path), ", ".join(questions), ", ".join(datasets), title))
    print_listing(
        make_console(), f"{len(rows)} suites", ("File", "Questions", "Dataset", "Title"), rows, as_json=as_json
    )

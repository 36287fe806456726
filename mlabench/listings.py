"""The listings of ``mlabench ls`` and ``mlabench data list``. Free of torch."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mlabench import registry
from mlabench.display import as_written, counted, make_console, print_listing
from mlabench.errors import UserError
from mlabench.registry import Entry, Kind


def list_kind(kind: Kind, pattern: str, *, as_json: bool) -> None:
    """Lists what is registered under one kind, with its options."""
    entries = [entry for name, entry in registry.entries(kind).items() if fnmatch(name, pattern)]
    rows = [
        (entry.name, entry.title, entry.summary, entry.package, entry.paper, _options(entry, as_json=as_json))
        for entry in entries
    ]
    columns = ("Name", "Title", "Summary", "Package", "Paper", "Options")
    print_listing(make_console(), f"{len(rows)} {kind}", columns, rows, as_json=as_json)


def _options(entry: Entry, *, as_json: bool) -> Any:
    fields = entry.config.model_fields
    required = [name for name, field in fields.items() if field.is_required()]
    defaults = entry.config.model_construct().model_dump(mode="json", exclude=set(required))
    if as_json:
        return {
            name: {
                "default": defaults.get(name),
                "required": field.is_required(),
                "description": field.description,
            }
            for name, field in fields.items()
        }
    return "\n".join(name if name in required else f"{name}={as_written(defaults[name])}" for name in fields)


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

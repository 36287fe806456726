"""Tables that are made from what there is: methods, options, messages, published numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from docs.assembly import ROOT
from mlabench import registry
from mlabench.registry import Entry, Kind
from mlabench.reporting.published import Number, load_published
from mlabench.suite import load_suite, members, suites_by_name
from mlabench.words import as_written, counted


def methods(_: str = "") -> str:
    """One row per method: title, what it does, what its docstring says of its logits and of absent modalities."""
    rows = []
    for entry in registry.entries("methods").values():
        about, said = entry.about, _docstring(entry)
        title = f"[{about.title}]({about.paper})" if about.paper else about.title
        rows.append((f"`{entry.name}`", title, about.summary, *(_said(said, of) for of in ("Unimodal", "Absent"))))
    return table(("Name", "Method", "What it does", "Unimodal logits", "An absent modality"), rows)


def options(kind: str) -> str:
    """All options of what is registered under a kind, with defaults and meaning."""
    if kind not in get_args(Kind):
        raise ValueError(f"nothing is registered as {kind!r}")
    rows = [
        (f"`{entry.name}`", f"`{name}`", _default(entry, name), option.get("description", ""))
        for entry in registry.entries(kind).values()  # type: ignore[arg-type]
        for name, option in entry.about.options.items()
    ]
    return table((kind[:-1].capitalize(), "Option", "Default", "Meaning"), rows)


def published(_: str = "") -> str:
    """Each table of MLA's paper: what it says as far as a source was found, what others got, what measures ours."""
    numbers, suites = load_published(), _suites_by_table()
    reruns: dict[tuple[object, ...], list[Number]] = {}
    for number in numbers:
        if number.origin == "re-run" and number.accuracy is not None and number.confidence != "low":
            reruns.setdefault(number.key[1:], []).append(number)
    order = list(_TABLES)
    own = sorted((one for one in numbers if one.study == "MLA"), key=lambda number: order.index(number.table))
    parts = []
    for name, cells in groupby(own, key=lambda number: number.table):
        title = _TABLES[name]
        rows = []
        for cell in cells:
            rate = "all rates" if cell.rate is None else f"{cell.rate:g} %"
            paper = "not sourced" if cell.accuracy is None else f"{cell.shown} ({cell.confidence})"
            ours = ", ".join(f"`{suite}`" for suite in suites.get((title, cell.dataset), ()))
            rows.append(
                (cell.dataset, cell.method, cell.target, rate, paper, _range(reruns.get(cell.key[1:], ())), ours)
            )
        heads = ("Dataset", "Method", "Target", "Missing", "MLA's paper (confidence)", "Others", "Ours: `mlabench run`")
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def measured(_: str = "") -> str:
    """What the reference's report says of suites that belong to a table of the paper: published numbers beside ours."""
    parts = []
    for name, path in suites_by_name(ROOT / "suites").items():
        found = ROOT / "results" / "reference" / "report" / name / "tables" / "published.md"
        if found.is_file() and load_suite(path).paper:
            said = found.read_text(encoding="utf-8").strip()
            parts.append(f"{said}\n\nReproduce it: `mlabench run {name} && mlabench report`.")
    return "\n\n".join(parts)


#: What suites call the tables of the paper whose numbers we keep, in the order in which they are shown.
_TABLES = {
    "MLA-Table1": "Table 1",
    "MLA-Table2": "Table 2",
    "MLA-IEMOCAP-missing": "IEMOCAP with missing modalities",
    "MLA-ablation": "Table 3",
    "MLA-KS-missing-figure": "the figure on missing modalities in Kinetics-Sounds",
    "MLA-modality-gap": "the figure on the modality gap in Food-101",
    "MLA-CLIP-table": "the table with CLIP features",
}


def _suites_by_table() -> dict[tuple[str, str], list[str]]:
    """The names of the suites that belong to a table of the paper and a dataset."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, path in suites_by_name(ROOT / "suites").items():
        if members(path) == [path] and (suite := load_suite(path)).paper:
            found.setdefault((suite.paper, suite.dataset.name), []).append(name)
    return found


def _range(numbers: Iterable[Number]) -> str:
    found = sorted({(number.accuracy or 0.0, number.shown, number.study) for number in numbers})
    ends = " to ".join(dict.fromkeys([found[0][1], found[-1][1]])) if found else ""
    return f"{ends} ({counted(len({study for *_, study in found}), 'source')})" if found else "none"


def messages(_: str = "") -> str:
    """What a ``UserError`` can say, by the package that says it."""
    found = sorted({message for path in _sources() for message in _messages(path)})
    parts = []
    for package, group in groupby(found, key=lambda message: message[0]):
        parts.append(f"## `{package}`\n\n{table(('Message', 'What to do'), [row for _, *row in group])}")
    return "\n\n".join(parts)


def _sources() -> list[Path]:
    return [path for name in ("mlabench", "baselines") for path in sorted((ROOT / name).rglob("*.py"))]


def _messages(path: Path) -> Iterator[tuple[str, str, str]]:
    """Package, problem and remedy of each error that a function of a file makes."""
    top, *inside = path.relative_to(ROOT).with_suffix("").parts
    package = top if inside[0] == "__init__" else f"{top}.{inside[0]}"
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef):
            for problem, remedy in _made_in(function):
                if re.search(r"\w{3}", problem):  # and not all of it is filled in
                    yield package, problem, remedy


def _made_in(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    nodes = list(ast.walk(function))
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    known = {target.id: one.value for one in assigned for target in one.targets if isinstance(target, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Call) and node.args and _called(node.func) in ("UserError", "error"):
            remedies = [word.value for word in node.keywords if word.arg == "remedy"]
            if _called(node.func) == "error":  # as of ``Origin``: the remedy is the second
                remedies += node.args[1:2]
            remedy = _text(remedies[0], known) if remedies else ""
            yield _text(node.args[0], known), "" if remedy == "…" else remedy


def _called(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _text(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """What a message says, with an ellipsis for what is filled in; ``known`` are the variables of its function."""
    if isinstance(node, ast.JoinedStr):
        whole = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub(r"…[… ]*…", "…", whole)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name) and isinstance(known.get(node.id), ast.JoinedStr | ast.Constant | ast.BoolOp):
        return _text(known[node.id], known)
    if isinstance(node, ast.BoolOp):  # such as ``suggest(...) or "..."``
        return _text(node.values[-1], known)
    return "…"


def _docstring(entry: Entry) -> str:
    module = ast.parse(entry.path.read_text(encoding="utf-8"))
    (own,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == entry.attribute)
    return ast.get_docstring(own) or ""


def _said(docstring: str, word: str) -> str:
    """What stands behind ``Unimodal logits:`` or ``Absent modality:``, up to the end of the sentence's paragraph."""
    found = re.search(rf"^{word} \w+: *(.+?)(?:\n\n|\Z)", docstring, flags=re.MULTILINE | re.DOTALL)
    said = " ".join(found[1].split()) if found else ""
    return said[:1].upper() + said[1:]


def _default(entry: Entry, option: str) -> str:
    defaults = entry.about.defaults
    return f"`{as_written(defaults[option])}`" if option in defaults else "required"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    heads = tuple(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: object) -> str:
    return " ".join(str(text).replace("``", "`").replace("|", "\\|").replace("<", "&lt;").split())

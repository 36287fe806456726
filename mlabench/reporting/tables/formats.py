"""Tables as terminal output, Markdown, CSV and LaTeX. All show the same digits."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from mlabench.reporting.table import Cell, Table

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "—": "---", "–": "--", "−": "$-$", "±": r"$\pm$",
    "“": "``", "”": "''", "‘": "`", "’": "'", "…": r"\ldots{}", "≈": r"$\approx$", "Δ": r"$\Delta$",
    "×": r"$\times$", "→": r"$\to$",
    "≥": r"$\geq$", "≤": r"$\leq$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$",
    "ε": r"$\epsilon$", "η": r"$\eta$", "θ": r"$\theta$", "κ": r"$\kappa$", "λ": r"$\lambda$", "μ": r"$\mu$",
    "ν": r"$\nu$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "φ": r"$\phi$", "ω": r"$\omega$",
}  # fmt: skip

#: The words of verdicts, in colours of a terminal.
_VERDICTS = {"better": "green", "worse": "red", "practically equal": "blue", "undecided": "yellow", "mixed": "magenta"}


def terminal(table: Table) -> Group:
    """The table for a rich console, with its note but without its conditions, which several tables share.

    Print it without cropping: on a narrow terminal it is wider than that.
    """
    return Group(Text(table.title, style="bold"), rich_table(table), Text(table.note, style="dim"), "")


def rich_table(table: Table) -> RichTable:
    """The table alone, for a rich console."""
    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for head in table.heads:
        shown.add_column(Text(head), no_wrap=True)
    rows = [list(map(_terminal_cell, row.cells)) for row in table.rows]
    for place, column in enumerate(table.columns):
        words = " ".join([column.name, *(row[place].plain for row in rows)]).split()
        # A number broken in two would mislead, and a column of no width would be lost.
        shown.add_column(Text(column.name), justify="right", min_width=max(map(cell_len, words)))
    following = [row.group for row in table.rows[1:]] + [None]
    for row, cells, group in zip(table.rows, rows, following, strict=True):
        shown.add_row(*map(Text, row.heads), *cells, end_section=group not in (row.group, None))
    return shown


def _terminal_cell(cell: Cell) -> Text:
    styles = {"best": "bold", "failed": "red", "status": "dim"} | {"number": _VERDICTS.get(cell.text, "")}
    pieces = [(text.replace("± ", "±"), styles.get(kind, "")) for kind, text in cell.parts]  # broken only before ±
    return Text(" ").join(Text(*piece) for piece in pieces)


def markdown(table: Table) -> str:
    """The table as a Markdown section: title, table, caption."""
    heads = [*table.heads, *(column.name for column in table.columns)]
    rules = ["---"] * len(table.heads) + ["---:"] * len(table.columns)
    rows = [[*map(escape_markdown, row.heads), *map(_markdown_cell, row.cells)] for row in table.rows]
    body = "\n".join(f"| {' | '.join(row)} |" for row in (list(map(escape_markdown, heads)), rules, *rows))
    return f"### {escape_markdown(table.title)}\n\n{body}\n\n{escape_markdown(table.caption)}\n"


def _markdown_cell(cell: Cell) -> str:
    pieces = ((kind, escape_markdown(text)) for kind, text in cell.parts)
    return " ".join(f"**{text}**" if kind == "best" else text for kind, text in pieces)


def csv(table: Table) -> str:
    """The table as CSV.

    Per column of the table four columns: mean, standard deviation, runs, what is not there; or estimate,
    lower and upper end of the interval, what is not there; or the words alone.
    """
    file = io.StringIO()
    writer = csv_module.writer(file, lineterminator="\n")
    parts = [_csv_parts([row.cells[place] for row in table.rows]) for place in range(len(table.columns))]
    names = [column.name + part for column, some in zip(table.columns, parts, strict=True) for part in some]
    writer.writerow([*table.heads, *names])
    for row in table.rows:
        values = [_CSV_PARTS[part](cell) for cell, some in zip(row.cells, parts, strict=True) for part in some]
        writer.writerow([*row.heads, *values])
    return file.getvalue()


_CSV_PARTS: dict[str, Callable[[Cell], object]] = {
    "": lambda cell: cell.mean,
    " std": lambda cell: cell.std,
    " runs": lambda cell: cell.summary.n,
    " low": lambda cell: cell.low,
    " high": lambda cell: cell.high,
    " status": lambda cell: cell.status,
}


def _csv_parts(cells: Sequence[Cell]) -> tuple[str, ...]:
    """What is written about the cells of one column."""
    if any(cell.interval for cell in cells):
        return ("", " low", " high", " status")
    if any(cell.text for cell in cells) and all(cell.text or cell.number is None for cell in cells):
        return ("",)
    return ("", " std", " runs", " status")


def latex(table: Table, label: str) -> str:
    """The table as a LaTeX float; needs ``booktabs`` and ``graphicx``. One wider than the line is scaled down to it."""
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}[t]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape_latex(table.title)}. {escape_latex(table.caption)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', label)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(map(escape_latex, [*table.heads, *(column.name for column in table.columns)])) + r" \\",
    ]
    before = None
    for row in table.rows:
        lines += [r"\midrule"] if row.group != before else []
        before = row.group
        # A group in front of "[" or "*": after a line break both would be read as its arguments.
        cells = [*(f"{{{escape_latex(head)}}}" for head in row.heads), *map(_latex_cell, row.cells)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def _latex_cell(cell: Cell) -> str:
    pieces = ((kind, escape_latex(text)) for kind, text in cell.parts)
    return " ".join(rf"\textbf{{{text}}}" if kind == "best" else text for kind, text in pieces)


def latex_document(names: Sequence[str]) -> str:
    """A document of its own that shows the tables of these files, one after the other."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[margin=25mm]{geometry}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        *(rf"\input{{{name}}}\clearpage" for name in names),
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Takes the meaning from characters that Markdown or HTML would interpret, and keeps to one line."""
    escaped = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Takes the meaning from LaTeX's characters. What no standard font has is replaced by its code point."""
    return "".join(map(_latex_character, " ".join(text.split())))


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    # Up to here, LaTeX's default input and font encodings know (nearly) every letter.
    return character if ord(character) < 0x180 and character.isprintable() else f"[U+{ord(character):04X}]"


def file_name(name: str) -> str:
    """A name that every file system, and LaTeX, can take."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.") or "suite"

"""The page of one suite in Markdown: question, tables, figures, and everything that one should doubt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlabench.report import render, wording
from mlabench.report.answer import Answer
from mlabench.report.results import Results
from mlabench.report.table import Table
from mlabench.suite import Plan
from mlabench.words import counted

if TYPE_CHECKING:
    from mlabench.report.suite_report import SuiteReport

QUESTIONS = {
    "Q1": "With all modalities there, what does each modality reach, and what their fusion?",
    "Q2": "How does the accuracy fall as modalities go missing?",
    "Q3": "What does each part of MLA contribute?",
    "Q4": "How does MLA change the modality gap, and does the absence of one modality in training hurt the others?",
}


def heading(plan: Plan) -> str:
    """The suite's name and title."""
    return f"{plan.name}: {plan.title}" if plan.title else plan.name


def shortfalls(results: Results, unused: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each kind of thing that is not in the tables.

    Args:
        results: The numbers.
        unused: Trials whose stored predictions are of no use, by id, with the reason.
    """
    planned = {cell.trial.id for cell in results.plan.cells} - set(results.left_out)
    status = {
        kind: results.scores.loc[results.scores["status"] == kind, "trial"].nunique() for kind in ("failed", "missing")
    }
    sentences = []
    if not results.plan.cells:
        sentences.append("The suite asks for no trial.")
    elif not results.records and planned:
        sentences.append(f"None of the {counted(len(planned), 'planned trial')} has a record yet.")
    else:
        if status["failed"]:
            sentences.append(f"{status['failed']} of {counted(len(planned), 'trial')} failed.")
        if status["missing"]:
            sentences.append(f"{status['missing']} of {counted(len(planned), 'trial')} have not (fully) been run.")
    if results.left_out:
        sentences.append(
            f"{counted(len(results.left_out), 'trial')} made with a limit on the samples left out; "
            "`--include-limited` shows them."
        )
    sentences += [f"Set aside: {trial}: {reason}." for trial, reason in results.set_aside]
    sentences += [f"Not read: {trial}: {reason}" for trial, reason in results.unread]
    sentences += [
        f"Without stored predictions ({reason}): {counted(len(trials), 'trial')}; their intervals are over seeds alone."
        for reason, trials in _by_reason(unused or {}).items()
    ]
    return sentences


def _by_reason(trials: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for trial, reason in trials.items():
        reasons.setdefault(reason.rstrip("."), []).append(trial)
    return reasons


def markdown(suite: SuiteReport, tables: Sequence[Table], figures: Mapping[str, str]) -> str:
    """The page.

    Args:
        suite: What it is about.
        tables: The tables, those of the answers included.
        figures: Captions of the figures, which lie in the folder ``figures`` as .png and .pdf, by name.
    """
    plan = suite.results.plan
    sections = [f"# {render.escape_markdown(heading(plan))}\n"]
    sections += [f"**{question}.** {QUESTIONS[question]}\n" for question in plan.questions]
    sections += [f"> {render.escape_markdown(sentence)}\n" for sentence in suite.shortfalls]
    if suite.answers:
        sections += ["## Answers\n", *map(_answer, suite.answers)]
    sections.append("## Tables\n")
    sections += [render.markdown(table) for table in tables] or ["There is nothing to show yet.\n"]
    sections.append(
        "Each table lies in `tables/` as CSV, Markdown and LaTeX; all numbers, unrounded, in `tidy.csv` and "
        "`tidy.parquet`. `tables/document.tex` has all of them.\n"
    )
    if figures:
        sections.append("## Figures\n")
        captions = {name: render.escape_markdown(caption) for name, caption in figures.items()}
        sections += [f"![{caption}](figures/{name}.png)\n\n{caption}\n" for name, caption in captions.items()]
    sections += ["## What to keep in mind\n", _bullets(suite.caveats)]
    if failures := list(_failures(suite.results)):
        sections += ["## Failed and missing trials\n", _bullets(failures)]
    if suite.environment:
        sections += ["## Made with\n", _bullets(suite.environment)]
    if plan.source:
        sections += [
            "## To run it again\n",
            f"Save this as `{plan.name}.yaml`, then `mlabench run {plan.name}.yaml` and `mlabench report`.\n",
            f"{_fenced(plan.source)}\n",
        ]
    return "\n".join(sections)


def _answer(answer: Answer) -> str:
    """Verdict, claim, rule and findings, so that a reader can check the one by the others."""
    findings = [f"{finding.statement} ({finding.verdict})" for finding in answer.findings]
    escape = render.escape_markdown
    parts = [
        f"### {answer.question}: {answer.verdict}\n",
        f"{escape(answer.headline)}\n",
        f"Claim: {escape(answer.claim)}\n",
        f"Rule: {escape(answer.rule)}\n",
    ]
    if findings:
        parts += ["Findings:\n", _bullets(findings)]
    if answer.caveats:
        parts += ["Caveats:\n", _bullets(answer.caveats)]
    return "\n".join(parts)


def caveats(results: Results) -> Iterator[str]:
    """What one should keep in mind about the numbers."""
    scores = results.scores
    yield wording.dataset_sentence(results.plan)
    if results.plan.paper:
        yield f"It re-runs {results.plan.paper}. Numbers of another dataset, split or encoder are not comparable."
    yield f"{wording.samples(scores)}; {wording.seeds(scores)}. {wording.spread_sentence(scores)}"
    yield wording.DEFINITIONS
    for sentence in (
        wording.selection_sentences(scores),
        wording.tuning_sentence(results.plan),
        wording.limit_sentence(scores),
    ):
        if sentence:
            yield sentence
    yield from dict.fromkeys(note for record in results.records.values() for note in record.notes)


def _failures(results: Results) -> Iterator[str]:
    rows = results.scores[results.scores["status"] != "ok"].drop_duplicates(["trial", "status", "reason"])
    for row in rows.itertuples():
        yield f"{row.status}: {row.label}, {row.train_setting} missing, seed {row.seed} ({row.trial}): {row.reason}"


def environments(results: Results) -> Iterator[str]:
    """Every distinct value of every entry, with the number of trials if there are several."""
    found: dict[str, Counter[str]] = {}
    for record in results.records.values():
        for name, value in _flat(record.environment):
            found.setdefault(name, Counter())[value] += 1
    for name, values in sorted(found.items()):
        listed = [
            value if len(values) == 1 else f"{value} ({counted(count, 'trial')})"
            for value, count in sorted(values.items())
        ]
        yield f"{name}: {', '.join(listed)}"


def _flat(entries: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)


def _bullets(sentences: Sequence[str]) -> str:
    return "".join(f"- {render.escape_markdown(sentence)}\n" for sentence in sentences)


def _fenced(text: str) -> str:
    """A code block that no back-ticks in the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"

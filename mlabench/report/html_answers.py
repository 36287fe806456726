"""Answers in HTML: the summary at the top of the page, and one section per answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mlabench.report.answer import Answer, Finding, Verdict
from mlabench.report.html_charts import chart
from mlabench.report.html_elements import Markup, bullets, element, identifier, joined, prose
from mlabench.report.html_tables import tables
from mlabench.report.markdown import QUESTIONS
from mlabench.report.questions.common import ends, p_value, points
from mlabench.statistics import Interval

#: A tick, a cross and a question mark in a box from 0 to 16.
_ICONS: dict[Verdict, str] = {
    "supported": "M3.5 8.5l3 3l6-7",
    "contradicted": "M4 4l8 8M12 4l-8 8",
    "not decided": "M5.2 6a2.8 2.8 0 1 1 4.3 2.4c-1 .7-1.5 1.1-1.5 2.1M8 13v.2",
}

#: Size of a bar that shows an effect, in its own units.
_WIDTH, _HEIGHT = 160, 20


def place(answer: Answer) -> str:
    """The id of an answer's section."""
    return identifier(answer.question, answer.suite)


def summary(answers: Sequence[Answer]) -> Markup:
    """All answers at a glance."""
    return element("ol", *(element("li", _card(answer)) for answer in answers), class_="answers")


def section(answer: Answer, drawings: Mapping[tuple[str, str], str]) -> Markup:
    """One answer: verdict, evidence, caveats; then what they rest on.

    Args:
        answer: The answer.
        drawings: SVG of its charts by (suite, name of the chart).
    """
    name = place(answer)
    scale = _scale([answer.effect, *(finding.effect for finding in answer.findings)])
    parts = [
        element("h2", element("span", answer.question, class_="question"), " ", QUESTIONS[answer.question]),
        element("p", chip(answer.verdict), " ", prose(answer.headline), class_="headline"),
        element(
            "dl",
            *_term("Claim of the paper", answer.claim),
            *_term("Rule", answer.rule),
            *_term("Dataset", answer.dataset),
            *_term("Suite", answer.suite),
            class_="terms",
        ),
    ]
    if answer.findings:
        findings = [element("li", _finding(finding, scale)) for finding in answer.findings]
        parts += [element("h3", "What the verdict rests on"), element("ol", *findings, class_="findings")]
    if answer.caveats:
        parts += [element("h3", "What a sceptic would object"), bullets(answer.caveats, class_="caveats")]
    if answer.charts:
        drawn = [chart(shown, name, drawings[answer.suite, shown.name]) for shown in answer.charts]
        parts += [element("h3", "Figures"), *drawn]
    if answer.tables:
        parts += [element("h3", "Tables"), *tables(answer.tables, name)]
    return element("section", *parts, id=name, class_="answer")


def chip(verdict: Verdict) -> Markup:
    """A verdict in a word, an icon and a colour."""
    icon = element("svg", element("path", d=_ICONS[verdict]), viewBox="0 0 16 16", aria_hidden="true")
    return element("span", icon, verdict, class_=f"verdict {_kind(verdict)}")


def _card(answer: Answer) -> Markup:
    question = element("a", element("span", answer.question, class_="question"), href=f"#{place(answer)}")
    stand_in = "stand-in" in answer.dataset
    return joined(
        element("h3", question, " ", QUESTIONS[answer.question]),
        element("p", chip(answer.verdict), class_="card-verdict"),
        element("div", effect(answer.effect, answer.verdict, _scale([answer.effect])), class_="card-effect"),
        element(
            "div",
            element("p", element("span", "Claim: ", class_="remark"), prose(answer.claim)),
            element("p", prose(answer.headline)),
            element("p", answer.dataset, class_="dataset warning" if stand_in else "dataset"),
            class_="card-text",
        ),
    )


def _finding(finding: Finding, scale: tuple[float, float]) -> Markup:
    """Verdict, bar and sentence, with the numbers that the sentence itself does not say."""
    more = []
    if finding.effect and ends(finding.effect) not in finding.statement:
        more.append(points(finding.effect))
    if finding.p_value is not None and p_value(finding.p_value) not in finding.statement:
        more.append(f"{p_value(finding.p_value)} (Holm)")
    remark = element("span", f" {'; '.join(more)}.", class_="remark") if more else ""
    bar = _bar(finding.effect, finding.verdict, scale) if finding.effect else element("span")
    return joined(chip(finding.verdict), bar, element("p", prose(finding.statement), remark))


def effect(interval: Interval | None, verdict: Verdict, scale: tuple[float, float]) -> Markup:
    """An effect with its interval: as a bar about zero, and in digits.

    Args:
        interval: The effect; None if it was not measured.
        verdict: What it says.
        scale: Lowest and highest value of the bar.
    """
    if interval is None:
        return element("p", "not measured", class_="effect remark")
    digits = element("strong", prose(points(interval)))
    return element("p", _bar(interval, verdict, scale), " ", digits, class_="effect")


def _bar(interval: Interval, verdict: Verdict, scale: tuple[float, float]) -> Markup:
    low, high = scale

    def x(value: float) -> str:
        inside = min(max(value, low), high)
        return f"{4 + (_WIDTH - 8) * (inside - low) / (high - low):.1f}"

    middle = f"{_HEIGHT / 2:g}"
    return element(
        "svg",
        element("line", x1=x(0), x2=x(0), y1="1", y2=str(_HEIGHT - 1), class_="zero"),
        element("line", x1=x(interval.low), x2=x(interval.high), y1=middle, y2=middle, class_="interval"),
        element("circle", cx=x(interval.estimate), cy=middle, r="4.5"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_=f"effect-bar {_kind(verdict)}",
        aria_hidden="true",
    )


def _scale(intervals: Sequence[Interval | None]) -> tuple[float, float]:
    """One scale for effects that are read together; zero is on it, an infinite end runs to its edge."""
    shown = [end for interval in intervals if interval for end in (interval.low, interval.high, interval.estimate)]
    finite = [0.0, *filter(math.isfinite, shown)]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (-1.0, 1.0)


def _term(name: str, text: str) -> tuple[Markup, Markup]:
    return element("dt", name), element("dd", prose(text))


def _kind(verdict: Verdict) -> str:
    return identifier(verdict)

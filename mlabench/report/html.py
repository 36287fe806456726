"""The report as one HTML file that needs no network: answers first, then what they rest on, then how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlabench.report import html_answers, html_tables
from mlabench.report.all_suites import AllSuites
from mlabench.report.answer import Chart
from mlabench.report.html_charts import chart
from mlabench.report.html_content import PageContent
from mlabench.report.html_document import commands, document
from mlabench.report.html_elements import Markup, bullets, element, identifier, prose
from mlabench.report.markdown import heading
from mlabench.report.suite_report import SuiteReport
from mlabench.words import counted

#: Name of the section about all suites together.
TOGETHER = "All suites together"


def render_page(report: PageContent) -> str:
    """The page; the same content gives the same text.

    Args:
        report: What it shows. A chart without a drawing raises a KeyError.
    """
    return document(report.title, report.version, _contents(report), _sections(report))


def _contents(report: PageContent) -> Iterator[tuple[str, str]]:
    yield "Summary", "summary"
    if report.together:
        yield TOGETHER, _place(TOGETHER)
    yield from ((f"{answer.question} ({answer.suite})", html_answers.place(answer)) for answer in report.answers)
    yield from ((suite.name, _place(suite.name)) for suite in report.suites)
    yield "How the numbers are made", "definitions"
    if report.commands:
        yield "How this page was made", "commands"


def _sections(report: PageContent) -> Iterator[Markup]:
    yield _summary(report)
    if report.together:
        yield _together(report.together, report)
    for answer in report.answers:
        yield html_answers.section(answer, report.drawings)
    for suite in report.suites:
        yield _suite(suite, report)
    yield element(
        "section",
        element("h2", "How the numbers are made"),
        bullets(list(report.definitions)),
        id="definitions",
    )
    if report.commands:
        yield commands(report.commands)


def _summary(report: PageContent) -> Markup:
    parts: list[str] = [element("h2", "Summary")]
    if lacking := [f"{suite.name}: {sentence}" for suite in report.suites for sentence in suite.shortfalls]:
        parts.append(element("div", element("p", element("strong", "Not complete.")), bullets(lacking), class_="alarm"))
    if report.answers:
        parts.append(html_answers.summary(report.answers))
        scale = "Bars and brackets: effect and its interval. Each bar has a scale of its own; the upright line is zero."
        parts.append(element("p", scale, class_="note"))
    else:
        parts.append(element("p", "None of Q1 to Q4 is answered here. What was measured stands below."))
    return element("section", *parts, id="summary")


def _together(together: AllSuites, report: PageContent) -> Markup:
    place = _place(TOGETHER)
    parts = [element("h2", TOGETHER), element("h3", "Tables"), *html_tables.tables(together.tables, place)]
    parts += [element("h3", "Figures"), *(_chart(shown, report, TOGETHER) for shown in together.charts)]
    parts += [element("h3", "What to keep in mind"), bullets(together.notes)]
    return element("section", *parts, id=place, class_="suite")


def _suite(suite: SuiteReport, report: PageContent) -> Markup:
    plan = suite.results.plan
    place = _place(plan.name)
    parts: list[str] = [element("h2", heading(plan))]
    if suite.shortfalls:
        parts.append(bullets(suite.shortfalls, class_="alarm"))
    if suite.tables:
        parts += [element("h3", "Tables"), *html_tables.tables(suite.tables, place)]
    if suite.charts:
        parts.append(element("h3", "Figures"))
        parts += (_chart(shown, report, plan.name) for shown in suite.charts)
    if suite.caveats:
        parts += [element("h3", "What to keep in mind"), bullets(suite.caveats)]
    parts += _trials(html_tables.trial_lines(suite.results, report.records), place)
    if suite.environment:
        parts += [element("h3", "Made with"), bullets(suite.environment, class_="environment")]
    if plan.source:
        yaml = element("pre", element("code", plan.source), tabindex="0")
        again = prose(f"Save this as `{plan.name}.yaml`, then `mlabench run {plan.name}.yaml` and `mlabench report`.")
        parts += [element("h3", "To run it again"), element("p", again)]
        parts.append(html_tables.folded(f"{plan.name}.yaml", counted(len(plan.source.splitlines()), "line"), yaml))
    return element("section", *parts, id=place, class_="suite")


def _chart(shown: Chart, report: PageContent, suite: str) -> Markup:
    return chart(shown, _place(suite), report.drawings[suite, shown.name])


def _trials(lines: Sequence[html_tables.TrialLine], place: str) -> Iterator[Markup]:
    if not lines:
        return
    lost = [line for line in lines if line.status != "ok"]
    yield element("h3", "Trials")
    if lost:
        title = "Failed and missing trials"
        shown = html_tables.trials(lost, title, f"{place}-lost", reasons=True)
        yield html_tables.folded(title, str(len(lost)), shown) if len(lost) > 24 else shown
    else:
        yield element("p", "None failed, none is missing.")
    every = html_tables.trials(lines, "All trials and their records", f"{place}-trials", reasons=False)
    yield html_tables.folded("All trials and their records", str(len(lines)), every)


def _place(suite: str) -> str:
    return identifier("suite", suite)

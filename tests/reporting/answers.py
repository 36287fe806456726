"""Synthetic answers with charts of every kind, and a page of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from mlabench.missing import Missing
from mlabench.reporting.charts import Chart
from mlabench.reporting.former import Answer, Finding, Verdict
from mlabench.reporting.page import PageContent
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Cell, Column, Row, Table
from mlabench.statistics.comparisons import Interval, Summary
from mlabench.suite.plan import Plan, Question
from tests.reporting.sample_charts import (
    METHODS,
    cloud_chart,
    differences,
    dot_chart,
    line_chart,
    reliability_chart,
    row_chart,
    scatter_chart,
    svg,
)
from tests.reporting.synthetic import MODALITIES, record, trial


def table(labels: tuple[str, ...] = METHODS, name: str = "main", groups: tuple[str, ...] = ("",)) -> Table:
    columns = (
        Column("audio"),
        Column("image"),
        Column("Multimodal"),
        Column("MLA − it", ranked=False),
        Column("n", ranked=False),
    )
    rows = tuple(
        Row(
            (label,) if groups == ("",) else (group, label),
            (
                Cell(Summary(40.0 + 7 * place % 11, 0.8, 5), planned=5),
                Cell(Summary(80.0 - place, 0.4, 4), planned=5, failed=1) if place == 1 else
                Cell(Summary(80.0 - place, 0.4, 5), planned=5),
                Cell(planned=5, missing=5) if place == 2 else Cell(Summary(78.0 + place, 0.5, 5), planned=5),
                Cell(interval=Interval(2.0 - place, 0.5 - place, 3.5 - place), form="+z.1f"),
                Cell(text="1,312"),
            ),
            group=group,
        )
        for group in groups
        for place, label in enumerate(labels)
    )  # fmt: skip
    return Table(
        name=name,
        title="Unimodal and multimodal accuracy, complete modalities",
        note="Accuracy in percent.",
        conditions="Dataset: stamps. n = 1,312 test samples; 5 seeds (0–4). Mean ± standard deviation over seeds.",
        heads=("Method",) if groups == ("",) else ("Missing", "Method"),
        columns=columns,
        rows=rows,
    ).with_best()


def answer(question: Question, verdict: Verdict, effect: Interval | None, *charts: Chart, text: str = "") -> Answer:
    findings = (
        Finding(f"MLA reaches 82.0 %, QMF 79.9 %, n = 1,312, 5 seeds. {text}", verdict, effect, 0.004),
        Finding("In audio it stays 0.7 points below it.", "contradicted", Interval(-0.7, -1.9, -0.1), 0.04),
        Finding("In text nothing was measured.", "not decided"),
    )  # fmt: skip
    return Answer(
        question=question,
        suite="synthetic",
        dataset=f"stamps, a stand-in (twin) for IEMOCAP: these are not numbers on IEMOCAP {text}".strip(),
        claim=f"Fused, MLA is more accurate than every baseline, and none of its modalities is lazy. {text}".strip(),
        verdict=verdict,
        rule="Supported if the difference to every baseline lies above zero after Holm's correction.",
        headline=f"MLA is 2.1 points better than the best baseline (QMF). {text}".strip(),
        effect=effect,
        findings=findings,
        tables=(table(),),
        charts=charts,
        caveats=("The epoch was selected on the validation split (best_val).", f"One stand-in dataset only. {text}"),
    )


def all_answers() -> list[Answer]:
    """One answer per question, with charts of every kind."""
    return [
        answer("Q1", "supported", Interval(2.1, 0.9, 3.4), dot_chart()),
        answer("Q2", "not decided", Interval(0.8, -0.6, 2.1), line_chart(), row_chart(), differences()),
        answer("Q3", "contradicted", Interval(-1.2, -2.2, -0.3), reliability_chart()),
        answer("Q4", "not decided", None, scatter_chart(), cloud_chart()),
    ]


def page(*, text: str = "") -> PageContent:
    """A page with everything that a page can show.

    Args:
        text: What to add to every text.
    """
    labels = (*METHODS[:-1], text, "MLA") if text else METHODS
    answers = all_answers() if not text else [answer("Q1", "supported", Interval(2.1, 0.9, 3.4), line_chart(labels),
                                                     dot_chart(labels), row_chart(labels), text=text)]  # fmt: skip
    charts = [chart for one in answers for chart in one.charts]
    own = replace(scatter_chart(labels), name="overview")
    trials = [
        (labels[0], "0 %", 0, "stamps-concat-0", "ok", ""),
        (labels[-2], "20 %", 1, f"stamps-1{text}", "failed", f"ValueError: loss is NaN {text}"),
        ("MLA", "20 %", 2, "stamps-2", "missing", "no record"),
    ]
    scores = pd.DataFrame(trials, columns=["label", "train_setting", "seed", "trial", "status", "reason"])
    plan = Plan(
        name="synthetic",
        title=f"A synthetic suite {text}",
        modalities=MODALITIES,
        cells=(),
        source=f"name: synthetic\nmethods: [concat, mla]\n# {text}\n",
    )
    plan = plan.model_copy(update={"name": f"synthetic{text}"})  # which no suite could be called
    read = record(trial("Concat", 0, 0.0), "Concat", (Missing(),))
    suite = SuiteReport(
        results=Results(plan, scores, pd.DataFrame(), {"stamps-concat-0": read}, (), ()),
        folder=Path("nowhere"),
        tables=(
            table(labels, "rates", groups=("0 %", "30 %", "60 %")),
            table(labels, "long", groups=tuple(f"{rate} %" for rate in range(7))),
        ),
        charts=(own,),
        answers=tuple(answers),
        shortfalls=("1 of 3 trials failed.", f"`--include-limited` shows them. {text}"),
        caveats=(f"Dataset: stamps. {text}",),
        environment=("mlabench: 0.1.0", f"platform: Linux {text}"),
    )
    drawings = {("synthetic", chart.name): svg(chart, chart.name) for chart in charts}
    return PageContent(
        title=f"mlabench: synthetic {text}".strip(),
        version="0.1.0",
        suites=(suite,),
        commands=(f"mlabench run suites/synthetic.yaml {text}", "mlabench report"),
        records="../trials",
        drawings={**drawings, (suite.name, own.name): svg(own, own.name)},
    )

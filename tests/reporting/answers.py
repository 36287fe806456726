"""Synthetic answers with charts of every kind, and a page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mlabench.missing import Missing
from mlabench.reporting.answer import RULES, Answer, Contrast, Family, Half
from mlabench.reporting.charts import Chart
from mlabench.reporting.over_datasets import SideBySide
from mlabench.reporting.page import BY_ENCODERS, PageContent
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Cell, Column, Row, Table
from mlabench.statistics import Interval, Summary, decide, difference_of_means
from mlabench.suite.plan import Plan
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


def family(differences: Mapping[str, tuple[float, float]], rule: Literal["all", "any"] = "all") -> Family:
    """MLA minus others: 25 differences each, evenly within 1.5 times a number about another."""
    steps = np.linspace(-1.5, 1.5, 25)
    compared = {
        other: difference_of_means(list(mean + spread * steps), [0.0] * 25)
        for other, (mean, spread) in differences.items()
    }
    decided = decide(compared, 2.0)
    return Family(
        tuple(Contrast("MLA", other, "Fused accuracy", "0 %", one) for other, one in decided.items()), 2.0, rule
    )


def answer(half: Half, decided: Family, *charts: Chart, dataset: str = "stamps", text: str = "") -> Answer:
    return Answer(
        half=half,
        dataset=dataset,
        about=f"{dataset}, a stand-in (twin) for IEMOCAP: these are not numbers on IEMOCAP {text}".strip(),
        suites=("synthetic",),
        method="MLA",
        claim=f"Fused, MLA is more accurate than every baseline. {text}".strip(),
        family=decided,
        sentence=f"MLA is {decided.tally()}. {text}".strip(),
        rule=f"{RULES[decided.rule]} Margin: 2.0 points. {text}".strip(),
        more=((f"Without text {text}".strip(), decided),),
        tables=(table(), table(name="brier")),
        charts=charts,
        caveats=("The epoch was selected on the validation split (best_val).", f"One stand-in dataset only. {text}"),
    )


def all_answers() -> list[Answer]:
    """One answer for each row of the grid but one, two of them on two datasets, with charts of every kind."""
    better, equal, worse = {"Concat": (2.1, 1.5)}, {"QMF": (0.3, 1.5)}, {"MMIN": (-3.2, 1.5)}
    undecided = {"Late fusion": (1.6, 5.0)}
    unmeasured = Family((Contrast("MLA", "Late fusion", "Gap", "0 %", None, unit=""),), 0.02)
    return [
        answer("laziness", family(better, "any"), dot_chart()),
        answer("laziness", family(better | worse), dataset="clipart"),
        answer("accuracy", family(better | equal), differences(), row_chart()),
        answer("missing", family(undecided | better), line_chart()),
        answer("missing", family(equal), dataset="clipart"),
        answer("HGM", family(worse), reliability_chart()),
        answer("DF", family(equal)),
        answer("gap", unmeasured, scatter_chart(), cloud_chart()),
    ]


def page(*, text: str = "") -> PageContent:
    """A page with everything that a page can show.

    Args:
        text: What to add to every text.
    """
    labels = (*METHODS[:-1], text, "MLA") if text else METHODS
    shown = all_answers()
    if text:
        shown = [
            answer(
                "accuracy",
                family({text: (2.1, 1.5)}),
                line_chart(labels),
                dot_chart(labels),
                row_chart(labels),
                text=text,
            )
        ]
    own = replace(scatter_chart(labels), name="overview")
    trials = [
        (labels[0], "0 %", 0, "", "stamps-concat-0", "ok", ""),
        (labels[-2], "20 %", 1, f"3{text}", f"stamps-1{text}", "failed", f"ValueError: loss is NaN {text}"),
        ("MLA", "20 %", 2, "", "stamps-2", "missing", "no record"),
    ]
    scores = pd.DataFrame(trials, columns=["label", "train_setting", "seed", "fold", "trial", "status", "reason"])
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
        results=Results(plan, scores, pd.DataFrame(), {f"stamps-1{text}": read}, (), ()),
        folder=Path("nowhere"),
        tables=(
            table(labels, "rates", groups=("0 %", "30 %", "60 %")),
            table(labels, "long", groups=tuple(f"{rate} %" for rate in range(7))),
        ),
        charts=(own,),
        shortfalls=("1 of 3 trials failed.", f"`--include-limited` shows them. {text}"),
        caveats=(f"Dataset: stamps. {text}",),
        environment=("mlabench: 0.1.0", f"platform: Linux {text}"),
    )
    beside = SideBySide((f"Frozen: Concat leaves 2 of 9 lazy. {text}",), table(labels, "lazy"), row_chart(labels))
    drawings = {(one.name, chart.name): svg(chart, chart.name) for one in shown for chart in one.charts}
    return PageContent(
        title=f"mlabench: synthetic {text}".strip(),
        version="0.1.0",
        answers=tuple(shown),
        suites=(suite,),
        means=(table(labels, "means_frozen"),),
        by_encoders=beside,
        commands=(f"mlabench run suites/synthetic.yaml {text}", "mlabench report"),
        records="../trials",
        drawings={
            **drawings,
            (suite.name, own.name): svg(own, own.name),
            (BY_ENCODERS, beside.chart.name): svg(beside.chart, "by_encoders"),
        },
    )

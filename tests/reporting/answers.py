"""Synthetic answers with charts of every kind, and a page of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from matplotlib.axis import Tick, XTick
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mlabench.missing import Missing
from mlabench.reporting.answer import Chart, Panel, Series
from mlabench.reporting.charts.figure import draw, save
from mlabench.reporting.charts.styles import styles
from mlabench.reporting.former import Answer, Finding, Verdict
from mlabench.reporting.page import PageContent
from mlabench.reporting.results import Results
from mlabench.reporting.suite_report import SuiteReport
from mlabench.reporting.table import Cell, Column, Row, Table
from mlabench.statistics.comparisons import Interval, Summary
from mlabench.suite.plan import Plan, Question
from tests.reporting.synthetic import MODALITIES, record, trial

METHODS = ("Concat", "Late fusion", "QMF", "MMIN", "MLA")
RATES = (0.0, 20.0, 40.0, 60.0, 80.0)

#: A name that means something to HTML, JavaScript, XML and Python's format language.
HOSTILE = (
    """</script><script>document.title="taken"</script><img src=x onerror=document.title="taken"> "'&amp;|%{y}$x$"""
)


def line_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    panels = []
    for shift, title in enumerate(("multimodal", "audio", "image", "text")):
        series = []
        for place, label in enumerate(labels):
            y = [70 + 3 * place - 8 * shift - (0.2 + 0.04 * place) * rate for rate in RATES]
            if place == 1:
                y[2] = math.nan
            low, high = [value - 2 for value in y], [value + 2 for value in y]
            series.append(Series(label, RATES, y, low, high, ["note"] * len(y) if place == 0 else ()))
        panels.append(Panel(title, tuple(series), reference=9.1 if shift == 0 else None))
    caption = "Lines: mean over 5 seeds; bands: 95 % intervals. Grey: chance."
    return Chart("rates", "Accuracy against the missing rate", caption, "line", "missing rate (%)",
                 "accuracy (%)", tuple(panels))  # fmt: skip


def bar_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    x = ("audio", "image", "text", "multimodal")
    series = tuple(
        Series(label, x, y := [30 + 4 * place, 70 + place, 45 + 3 * place, 78 + place], [v - 3 for v in y],
               [v + 2 for v in y])
        for place, label in enumerate(labels)
    )  # fmt: skip
    caption = "Bars: mean over 5 seeds; whiskers: 95 % intervals."
    return Chart("main", "Accuracy of each modality and of their fusion", caption, "bar", "", "accuracy (%)",
                 (Panel("", series),))  # fmt: skip


def dot_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    x = ("audio", "image", "text")
    series = tuple(
        Series(label, x, y := [place * 2 - 6.0, 1.0 - place, 0.5 * place], [v - 1.5 for v in y], [v + 1.5 for v in y])
        for place, label in enumerate(labels)
    )
    caption = "Below zero: less than the encoder reaches alone."
    panels = (Panel("own predictions", series, reference=0.0), Panel("linear probe", series, reference=0.0))
    return Chart(
        "laziness", "Gap to the same encoder trained alone", caption, "dot", "modality", "gap (points)", panels
    )


def scatter_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    series = tuple(
        Series(
            label,
            [0.4 + 0.05 * place],
            [78.0 + (place % 3) * 0.6],
            [77.0 + (place % 3) * 0.6],
            [79.5 + (place % 3) * 0.6],
        )
        for place, label in enumerate(labels)
    )
    return Chart("gap", "Modality gap and accuracy", "One point per method.", "scatter", "modality gap (audio, image)",
                 "accuracy (%)", (Panel("", series),))  # fmt: skip


def cloud_chart(points: int = 100) -> Chart:
    generator = np.random.default_rng(0)
    clouds = {
        (panel, name): generator.normal(place + panel, 0.5, (2, points)).round(3)
        for panel in range(3)
        for place, name in enumerate(("audio", "image", "text"))
    }
    panels = tuple(
        Panel(
            title,
            tuple(Series(name, clouds[panel, name][0].tolist(), clouds[panel, name][1].tolist())
                  for name in ("audio", "image", "text")),
        )
        for panel, title in enumerate(("Concat", "Late fusion", "MLA"))
    )  # fmt: skip
    return Chart("projection", "Embeddings of the test samples", "Two principal components.", "scatter", "first",
                 "second", panels)  # fmt: skip


def reliability_chart() -> Chart:
    x = [0.1, 0.3, 0.5, 0.7, 0.9]
    series = (Series("audio", x, [0.2, 0.25, 0.4, 0.5, 0.7]), Series("image", x, [0.1, 0.35, 0.55, 0.75, 0.88]))
    return Chart("reliability", "Is confidence a good guide?", "Dotted: perfectly calibrated.", "line", "confidence",
                 "accuracy", (Panel("", series, diagonal=True),))  # fmt: skip


def row_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    series = tuple(
        Series(label, ["mean"], [y], [y - 2], [y + 3])
        for label, y in zip(labels, range(60, 60 + 2 * len(labels), 2), strict=True)
    )
    return Chart("ranking", "Methods in order", "Whiskers: 95 % intervals.", "row", "accuracy (%)", "method",
                 (Panel("", series, reference=62.0),))  # fmt: skip


def grid_chart(labels: tuple[str, ...] = METHODS) -> Chart:
    series = tuple(
        Series(label, labels, [math.nan if label == other else 50.0 + 12 * (row - column) for column, other
                               in enumerate(labels)], text=[f"{row} against {column}" for column in range(len(labels))])
        for row, label in enumerate(labels)
    )  # fmt: skip
    return Chart("wins", "How often the row beats the column", "Percent of settings.", "grid", "loser", "winner",
                 (Panel("", series, reference=50.0),))  # fmt: skip


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
        answer("Q1", "supported", Interval(2.1, 0.9, 3.4), bar_chart(), dot_chart()),
        answer("Q2", "not decided", Interval(0.8, -0.6, 2.1), line_chart(), row_chart(), grid_chart()),
        answer("Q3", "contradicted", Interval(-1.2, -2.2, -0.3), reliability_chart()),
        answer("Q4", "not decided", None, scatter_chart(), cloud_chart()),
    ]


def svg(chart: Chart, name: str = "figure") -> str:
    """The chart as it stands in the page."""
    with TemporaryDirectory() as folder:
        (own := Path(folder) / "suite" / "figures").mkdir(parents=True)
        return save(draw(chart, styles([], [chart])), own / f"{name}.png", own / f"{name}.pdf")


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of which one lies on the other."""
    figure.draw_without_rendering()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    hidden = {tick.label1 for tick in ticks if not _in_view(tick)}
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in hidden]
    shared = [(one, other, Bbox.intersection(a, b)) for (one, a), (other, b) in combinations(boxes, 2)]
    return [(one, other) for one, other, box in shared if box is not None and box.width >= 1 and box.height >= 1.5]


def _in_view(tick: Tick) -> bool:
    """Others are there but not drawn."""
    ends = tick.axes.get_xlim() if isinstance(tick, XTick) else tick.axes.get_ylim()
    return bool(min(ends) <= tick.get_loc() <= max(ends))


def page(*, text: str = "") -> PageContent:
    """A page with everything that a page can show.

    Args:
        text: What to add to every text.
    """
    labels = (*METHODS[:-1], text, "MLA") if text else METHODS
    answers = all_answers() if not text else [answer("Q1", "supported", Interval(2.1, 0.9, 3.4), line_chart(labels),
                                                     bar_chart(labels), grid_chart(labels), text=text)]  # fmt: skip
    charts = [chart for one in answers for chart in one.charts]
    own = replace(dot_chart(labels), name="overview")
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

"""Several datasets on one page: whose encoders learn alike, means over them, and laziness side by side."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from mlabench.reporting import wording
from mlabench.reporting.answer import Answer
from mlabench.reporting.build import build_report
from mlabench.reporting.evidence import Archive
from mlabench.reporting.over_datasets import laziness_by_encoders, means
from mlabench.reporting.questions import answers
from mlabench.reporting.table import Table
from mlabench.reporting.verdicts import column_groups, datasets
from mlabench.store import Store
from mlabench.suite import Plan
from mlabench.trial import Component
from tests.reporting.answers import answer, family
from tests.reporting.predicted import sweep
from tests.reporting.synthetic import MODALITIES

CNN = {modality: Component(name="cnn") for modality in MODALITIES}

#: What a linear probe finds: alone each modality reaches 50 %, on top of frozen encoders joint training loses little.
FROZEN = {"MLA": -0.01, "Concat": -0.02, "Late fusion": 0.0}
SCRATCH = {"MLA": -0.05, "Concat": -0.30, "Late fusion": 0.0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def suite(store: Store, dataset: str, lost: dict[str, float], **options: object) -> Plan:
    """``lost``: by method, of what a modality reaches alone, with noise that the seed decides."""
    noise = {label: np.random.default_rng(place).normal(0, 0.002, 3) for place, label in enumerate(lost)}
    probes = {label: lambda _, seed, label=label: 0.5 + lost[label] + noise[label][seed] for label in lost}
    skills = {label: lambda *_, own=0.8 + gap: own for label, gap in lost.items()}
    return sweep(store, skills, dataset=dataset, probes=probes, **{"name": dataset, **options})  # type: ignore[arg-type]


def on(dataset: str, difference: float, encoders: str = "frozen", samples: str = "") -> Answer:
    """MLA minus QMF, with an interval of the same width on each dataset."""
    own = answer("accuracy", family({"QMF": (difference, 1.5)}), dataset=dataset)
    return replace(own, encoders=encoders, samples=samples or dataset)


def numbers(table: Table) -> list[dict[str, str]]:
    names = [column.name for column in table.columns]
    return [dict(zip(names, (cell.mean for cell in row.cells), strict=True)) for row in table.rows]


# -- how encoders learn ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "config", "expected"),
    [
        ("mlp", {}, "frozen"),  # it reads features
        ("cnn", {}, "from scratch"),
        ("timm", {"pretrained": False, "frozen": False}, "from scratch"),
        ("timm", {"pretrained": True, "frozen": False}, "fine-tuned"),
        ("m3ae", {"pretrained": "0123456789ab", "frozen": False}, "fine-tuned"),
        ("timm", {"pretrained": True, "frozen": True}, "frozen"),
        ("not_installed", {}, "from scratch"),
    ],
)
def test_how_encoders_learn(encoder: str, config: dict[str, object], expected: str, store: Store) -> None:
    plan = sweep(store, {"MLA": lambda *_: 0.8}, encoders={"audio": Component(name=encoder, config=config)})
    assert wording.encoders(plan) == expected


def test_encoders_that_learn_in_different_ways_are_all_named(store: Store) -> None:
    mixed = {"audio": CNN["audio"], "text": Component(name="hf", config={"pretrained": True})}
    assert wording.encoders(sweep(store, {"MLA": lambda *_: 0.8}, encoders=mixed)) == "fine-tuned and from scratch"


def test_answers_know_their_samples_and_a_dataset_in_two_ways_has_two_columns(store: Store) -> None:
    found = answers(
        [
            suite(store, "raw_stamps", SCRATCH, encoders=CNN),
            suite(store, "mvsa", FROZEN),
            suite(store, "mvsa", SCRATCH, encoders=CNN, name="fine"),
        ],
        Archive(store),
    )
    told = {(one.dataset, one.samples, one.encoders) for one in found}
    assert told == {
        ("raw_stamps", "stamps", "from scratch"),
        ("mvsa (frozen)", "mvsa", "frozen"),
        ("mvsa (from scratch)", "mvsa", "from scratch"),
    }
    assert datasets(found) == ["mvsa (frozen)", "raw_stamps", "mvsa (from scratch)"]
    assert column_groups(found) == [("Frozen encoders", 1), ("Encoders from scratch", 2)]
    assert column_groups([one for one in found if one.encoders == "frozen"]) == []


# -- means ------------------------------------------------------------------------------------------


def test_a_mean_is_over_datasets_with_their_intervals_beside_it() -> None:
    differences = {"stamps": 1.0, "clipart": 2.0, "openmoji": 4.0, "mvsa": 5.0}
    (table,) = means([on(name, difference) for name, difference in differences.items()])
    assert table.title == "Means over stamps, clipart, openmoji and mvsa (frozen encoders)"
    assert [row.heads for row in table.rows] == [("Q1 Accuracy", "Fused accuracy", "QMF")]
    (row,) = numbers(table)
    assert {name: float(row[name]) for name in differences} == differences
    # With errors of one size, the mean is the plain one, and the variance beyond these errors is that between datasets.
    steps = np.linspace(-1.5, 1.5, 25) * 1.5
    half = stats.t.ppf(0.975, 24) * steps.std(ddof=1) / 5
    values = np.array([*differences.values()])
    tau = np.sqrt(values.var(ddof=1) - (half / stats.norm.ppf(0.975)) ** 2)
    error = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
    mean, spread = table.rows[0].cells[-2:]
    assert mean.interval is not None
    assert [mean.interval.estimate, mean.interval.low, mean.interval.high] == pytest.approx([3, 3 - error, 3 + error])
    assert spread.text == f"{tau:.1f}"


def test_the_same_samples_count_once_and_ways_to_learn_are_kept_apart() -> None:
    found = means(
        [
            on("stamps", 1.0),
            on("raw_stamps", 9.0, samples="stamps"),  # through frozen encoders: no further evidence
            on("clipart", 2.0),
            on("raw_stamps (from scratch)", 6.0, "from scratch", samples="stamps"),
            on("grid", 8.0, "from scratch"),
        ]
    )
    assert [(table.name, [row["Mean"] for row in numbers(table)]) for table in found] == [
        ("means_frozen", ["+1.5"]),
        ("means_from_scratch", ["+7.0"]),
    ]
    assert [column.name for column in found[0].columns] == ["stamps", "clipart", "Mean", "Spread"]


@pytest.mark.parametrize(
    "asked",
    [
        [on("stamps", 1.0)],
        [on("stamps", 1.0), on("raw_stamps", 2.0, samples="stamps")],
        [on("stamps", 1.0), on("grid", 2.0, "from scratch")],
    ],
)
def test_there_is_no_mean_over_one_dataset(asked: Sequence[Answer]) -> None:
    assert means(asked) == []


# -- laziness side by side ----------------------------------------------------------------------------


def test_laziness_from_scratch_stands_beside_frozen(store: Store) -> None:
    found = answers(
        [suite(store, "stamps", FROZEN), suite(store, "grid", SCRATCH, encoders=CNN)],
        Archive(store),
    )
    beside = laziness_by_encoders(found)
    assert beside is not None
    assert [row.heads for row in beside.table.rows] == [
        *(("Frozen encoders", "stamps", modality) for modality in MODALITIES),
        *(("Encoders from scratch", "grid", modality) for modality in MODALITIES),
    ]
    for row, lost in zip(numbers(beside.table), [FROZEN] * 3 + [SCRATCH] * 3, strict=True):
        assert float(row["Concat minus alone"]) == pytest.approx(100 * lost["Concat"], abs=0.4)
        assert float(row["MLA minus alone"]) == pytest.approx(100 * lost["MLA"], abs=0.4)
        assert float(row["MLA minus Concat"]) == pytest.approx(100 * (lost["MLA"] - lost["Concat"]), abs=0.4)
    assert beside.sentences[1] == (
        "Encoders from scratch: Concat leaves 3 of 3 modalities lazy, MLA leaves 3 of 3 modalities lazy."
    )
    drawn = {panel.title: {one.label: list(one.y) for one in panel.series} for panel in beside.chart.panels}
    assert drawn == {
        name: {f"{dataset}, {modality}": pytest.approx([100 * lost["Concat"], 100 * lost["MLA"]], abs=0.4)
               for modality in MODALITIES}
        for name, dataset, lost in (("Frozen encoders", "stamps", FROZEN), ("Encoders from scratch", "grid", SCRATCH))
    }  # fmt: skip


def test_one_way_to_learn_has_nothing_beside_it(store: Store) -> None:
    found = answers([suite(store, "stamps", FROZEN), suite(store, "clipart", FROZEN)], Archive(store))
    assert laziness_by_encoders(found) is None
    # Nor has one where no suite trains a modality alone.
    scratch = {"MLA": -0.1, "Concat": -0.3}
    joined = answers([suite(store, "stamps", FROZEN), suite(store, "grid", scratch, encoders=CNN)], Archive(store))
    assert laziness_by_encoders(joined) is None


# -- the page -----------------------------------------------------------------------------------------


def test_datasets_stand_side_by_side_on_the_page(store: Store) -> None:
    frozen = ("stamps", "clipart", "openmoji", "mvsa")
    plans = [
        suite(store, "raw_stamps", SCRATCH, encoders=CNN),
        *(suite(store, name, FROZEN) for name in frozen),
        suite(store, "grid", SCRATCH, encoders=CNN),
    ]
    built = build_report(store, plans, store.root.parent / "report", console=Console(file=io.StringIO()))
    assert built.page is not None
    page = built.page.read_text(encoding="utf-8")
    grid = page[page.index('<table class="verdicts many">') :]
    head = grid[: grid.index("</thead>")]
    assert re.findall(r'colspan="(\d)">([^<]+)<', head) == [("4", "Frozen encoders"), ("2", "Encoders from scratch")]
    assert re.findall(r'scope="col">([^<]+)<', head) == ["Question", *frozen, "raw_stamps", "grid"]
    assert head.count("<col>") == 7
    assert "Laziness from scratch and frozen" in page
    assert "Means over stamps, clipart, openmoji and mvsa (frozen encoders)" in page
    folder = built.out / "all_suites"
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == {
        "means_frozen",
        "means_from_scratch",
        "laziness",
        "standings_frozen",
        "standings_from_scratch",
    }
    assert (folder / "figures" / "laziness.pdf").is_file()
    assert (
        (folder / "tables" / "standings_frozen.csv")
        .read_text(encoding="utf-8")
        .startswith("Method,Mean place,stamps,clipart,openmoji,mvsa,")
    )

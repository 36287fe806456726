from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from mlabench import registry
from mlabench.errors import UserError
from mlabench.reporting.published import Number, load_published, published_table
from mlabench.reporting.published.numbers import CONFIDENCES, DATASETS, METHODS, ORIGINS
from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.reporting.tables import formats
from mlabench.store.records import Store
from mlabench.suite.plan import Plan
from mlabench.suite.plan import PlannedTrial as PlanCell
from mlabench.trial import SGD, Component, DatasetComponent, Step, Training, Trial
from tests.reporting.synthetic import failed, record, sweep

RESNET = {"model": "resnet18", "pretrained": False}
PAPER = Training(
    epochs=100, optimizer=SGD(momentum=0.9, weight_decay=1e-4), schedule=Step(epochs=70), selection="best_test"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def find(numbers: Sequence[Number], table: str, dataset: str, method: str, target: str, rate: float = 0.0) -> Number:
    (found,) = (number for number in numbers if number.key == (table.casefold(), dataset, method, target, rate))
    return found


def suite(
    store: Store,
    *,
    methods: Sequence[tuple[str, Component]] = (("MLA", Component(name="mla")),),
    split: str = "mla",
    training: Training = PAPER,
    encoder: dict[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
) -> Plan:
    """Trials on CREMA-D whose fused accuracy is 0.80 in the first seed and 0.01 more in each further one."""
    cells = []
    for label, method in methods:
        for seed in seeds:
            own = Trial(
                dataset=DatasetComponent(name="crema_d", fingerprint="abc", config={"split": split}),
                encoders={name: Component(name="timm", config=encoder or RESNET) for name in ("audio", "video")},
                seed=seed,
                method=method,
                training=training,
            )
            cells.append(PlanCell(label=label, trial=own, tests=(own.missing,)))
    for cell in cells:
        made = record(
            cell.trial,
            cell.label,
            cell.tests,
            lambda _label, _target, seed, _rate: 0.8 + 0.01 * seed,
            ("audio", "video"),
        )
        store.write(made)
    return Plan(name="cremad", modalities=("audio", "video"), cells=tuple(cells))


def table_of(plan: Plan, store: Store, extra: Path | None = None) -> Table:
    table = published_table(load(plan, store), load_published(extra))
    assert table is not None
    return table


def cells_of(table: Table, *heads: str) -> dict[str, str]:
    (row,) = (row for row in table.rows if row.heads[: len(heads)] == heads)
    return {column.name: cell.mean for column, cell in zip(table.columns, row.cells, strict=True)}


# -- the numbers ---------------------------------------------------------------------------------


def test_every_number_has_a_source_and_nothing_unsourced_has_a_number() -> None:
    numbers = load_published()
    assert len(numbers) == 776
    for number in numbers:
        assert number.origin in ORIGINS
        assert number.confidence in CONFIDENCES[:-1]
        assert number.source
        assert (number.accuracy is None) == (number.confidence == "none") == ("not sourced" in number.source)
        assert number.accuracy is None or float(number.shown) == number.accuracy
        assert number.venue


def test_what_users_report_stands_beside_the_released_code(store: Store) -> None:
    methods = (("As released", Component(name="mla_released")), ("MLA", Component(name="mla")))
    table = table_of(suite(store, methods=methods), store)
    assert cells_of(table, "As released", "multimodal")["Re-runs by others"] == "68.8 to 80.0 (3 re-runs)"
    assert "issue 3" in table.note
    assert "80.0" not in cells_of(table, "MLA", "multimodal")["Re-runs by others"]


@pytest.mark.parametrize(
    ("config", "known"),
    [({}, True), ({"rank_weight": 0.1}, True), ({"fused_loss": False}, True), ({"rank_weight": 0.5}, False)],
)
def test_qmf_as_mlas_code_runs_it_is_the_published_qmf(config: dict[str, Any], known: bool, store: Store) -> None:
    plan = suite(store, methods=(("QMF", Component(name="qmf", config=config)),))
    assert (published_table(load(plan, store), load_published()) is not None) is known


def test_the_papers_own_cells_are_the_five_that_were_found() -> None:
    known = {
        (number.dataset, number.method, number.target): (number.shown, number.confidence)
        for number in load_published()
        if number.origin == "paper" and number.accuracy is not None
    }
    assert known == {
        ("crema_d", "mla", "multimodal"): ("79.70", "medium"),
        ("crema_d", "ogm_ge", "multimodal"): ("68.14", "medium-low"),
        ("crema_d", "ogm_ge", "audio"): ("53.76", "medium-low"),
        ("crema_d", "ogm_ge", "video"): ("28.09", "medium-low"),
        ("kinetics_sounds", "mla", "multimodal"): ("71.35", "medium"),
    }


def test_names_are_those_of_the_package() -> None:
    assert set(DATASETS.values()) <= set(registry.entries("datasets"))
    assert {method.partition(" ")[0] for method in METHODS.values()} <= set(registry.entries("methods"))
    datasets = {number.dataset for number in load_published()}
    assert set(DATASETS.values()) <= datasets
    assert "UCF-101" in datasets


def test_re_runs_that_the_facts_name() -> None:
    numbers = load_published()
    assert find(numbers, "BalanceBenchmark", "crema_d", "mla", "multimodal").shown == "72.30"
    half = find(numbers, "AUG-missing-test", "crema_d", "mla", "multimodal", 50.0)
    assert (half.shown, half.origin, half.confidence) == ("57.53", "re-run", "medium-high")
    assert find(numbers, "G2D-main", "crema_d", "mla", "multimodal").origin == "quoted"
    assert find(numbers, "CPSC-main", "crema_d", "CPSC", "multimodal").origin == "proposed"


# -- a user's file -------------------------------------------------------------------------------

HEADER = "table,dataset,method,metric,missing_rate,accuracy"


def extra(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_users_file_fills_and_overrides(tmp_path: Path) -> None:
    path = extra(
        tmp_path,
        "MLA-Table1,CREMA-D,Concat,multi,0,61.5",  # fills; made up, as are all numbers here
        "mla-table1,crema_d,MLA,multimodal,0,79.9",  # overrides, whatever the spelling
        "MLA-Table1,CREMA-D,QMF,multi,0,",  # says nothing
        "Mine,IEMOCAP,MLA,text,20,60",  # adds
    )
    before, numbers = load_published(), load_published(path)
    assert len(numbers) == len(before) + 1
    filled = find(numbers, "MLA-Table1", "crema_d", "concat", "multimodal")
    assert (filled.accuracy, filled.confidence, filled.source) == (61.5, "user", str(path))
    assert find(numbers, "MLA-Table1", "crema_d", "mla", "multimodal").shown == "79.9"
    assert find(numbers, "MLA-Table1", "crema_d", "qmf", "multimodal").accuracy is None
    assert find(numbers, "Mine", "iemocap", "mla", "text", 20.0).accuracy == 60.0


def test_the_packages_own_file_is_a_users_file(tmp_path: Path) -> None:
    path = tmp_path / "copy.csv"
    path.write_bytes(resources.files("mlabench.reporting.published").joinpath("numbers.csv").read_bytes())
    assert load_published(path) == load_published()


def test_a_byte_order_mark_and_quotes_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_text(f'\ufeff{HEADER},source\r\n"MLA-Table1","CREMA-D","Sum","multi",0,60.1,"p. 7, left"\r\n')
    assert find(load_published(path), "MLA-Table1", "crema_d", "sum", "multimodal").source == "p. 7, left"


@pytest.mark.parametrize(
    ("line", "place", "problem"),
    [
        ("MLA-Table1,CREMAD,MLA,multi,0,80", "3: dataset", "'CREMAD' is unknown. Did you mean 'CREMA-D'?"),
        ("MLA-Table1,CREMA-D,MLA,mutli,0,80", "3: metric", "'mutli' is unknown."),
        ("MLA-Table1,CREMA-D,MLA,multi,0,0.8.1", "3: accuracy", "'0.8.1' is not a percentage."),
        ("MLA-Table1,CREMA-D,MLA,multi,0,101", "3: accuracy", "'101' is not a percentage."),
        ("MLA-Table1,CREMA-D,MLA,multi,0,nan", "3: accuracy", "'nan' is not a percentage."),
        ("MLA-Table1,CREMA-D,MLA,multi,-1,80", "3: missing_rate", "'-1' is not a percentage."),
        ("MLA-Table1,CREMA-D,MLA,multi,all rates,80", "3: missing_rate", "'all rates' has no accuracy."),
        ("MLA-Table1,CREMA-D,,multi,0,80", "3: method", "empty."),
        ("MLA-Table1,CREMA-D,MLA,multi,0,80,1", "3", "7 values under 6 columns."),
        ("MLA-Table1,CREMA-D,Sum,multi,0,81", "3", "the same cell as in line 2."),
        ('MLA-Table1,"CREMA-D,MLA,multi,0,81', "3", "this is not CSV"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, line: str, place: str, problem: str) -> None:
    path = extra(tmp_path, "MLA-Table1,CREMA-D,Sum,multi,0,80", line)
    with pytest.raises(UserError) as caught:
        load_published(path)
    assert str(caught.value).startswith(f"{path}:{place}: {problem}")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("table,dataset,methd,metric,accuracy", "the column 'methd' is unknown. Did you mean 'method'?"),
        ("table,dataset,method,metric", "no column accuracy."),
        ("table,table,method,metric", "the column 'table' is there twice."),
        ("", "no column table, dataset, method, metric, accuracy."),
    ],
)
def test_a_wrong_header(tmp_path: Path, header: str, problem: str) -> None:
    path = extra(tmp_path, header=header)
    with pytest.raises(UserError) as caught:
        load_published(path)
    assert str(caught.value).startswith(f"{path}:1: {problem}")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    header = f"{HEADER},year,origin,confidence"
    cell = "a,CREMA-D,MLA,multi"
    path = extra(
        tmp_path,
        f"{cell},0,x,2024,paper,high",
        f"{cell},10,1,24,paper,high",
        f"{cell},20,1,2024,guess,high",
        f"{cell},30,1,2024,paper,sure",
        header=header,
    )
    with pytest.raises(UserError) as caught:
        load_published(path)
    mistakes = [(error.line, error.field) for error in (caught.value, *caught.value.others)]
    assert mistakes == [(2, "accuracy"), (3, "year"), (4, "origin"), (5, "confidence")]


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_published(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is not UTF-8"):
        load_published(tmp_path / "binary.csv")


# -- the table -----------------------------------------------------------------------------------


def test_published_ours_and_difference(store: Store) -> None:
    table = table_of(suite(store), store)
    shown = cells_of(table, "MLA", "multimodal", "0 %")
    assert shown["MLA paper"] == "79.70 (medium)"
    assert shown["Re-runs by others"] == "72.30 to 79.43 (2 re-runs)"
    assert shown["Ours"] == "80.0 ± — (1 seed)"
    assert shown["Difference"] == "+0.3"
    assert "PROTOCOL" not in table.note
    # What the source of the low number says is told; it widens no range.
    assert "DGL, ICCV 2025 (a third-party note on DGL, ICCV 2025; rounded; confidence low; not in the range): 68.0" in (
        table.note
    )
    # 1.96 * sqrt(0.797 * 0.203 / 1312) = 2.18 points
    assert "On 1,312 test samples, as here, one run at 79.70 % has a 95 % interval of ±2.2 points" in table.note


def test_what_is_not_sourced_stays_so_until_it_is_filled(store: Store, tmp_path: Path) -> None:
    plan = suite(store, methods=[("Concat", Component(name="concat"))], seeds=(0, 1))
    assert cells_of(table_of(plan, store), "Concat", "multimodal")["MLA paper"] == "not sourced"
    assert cells_of(table_of(plan, store), "Concat", "multimodal")["Difference, other protocol"] == "—"
    filled = table_of(plan, store, extra(tmp_path, "MLA-Table1,CREMA-D,Concat,multi,0,83.25"))
    shown = cells_of(filled, "Concat", "multimodal")
    assert shown["MLA paper"] == "83.25 (user)"
    assert shown["Ours"] == "80.5 ± 0.7 (2 seeds)"
    assert shown["Difference, other protocol"] == "−2.8 ± 0.7"
    assert "2 seeds (released code: one run)" in filled.note


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "speaker"}, "split speaker (paper: its own list)"),
        ({"training": PAPER.model_copy(update={"selection": "best_val"})}, "epoch selected by best_val"),
        (
            {"training": PAPER.model_copy(update={"precision": "auto"})},
            "bfloat16 where the machine has it (released code: 32-bit arithmetic)",
        ),
        (
            {"training": PAPER.model_copy(update={"precision": "bf16-mixed"})},
            "bfloat16 (released code: 32-bit arithmetic)",
        ),
        ({"training": PAPER.model_copy(update={"epochs": 30})}, "30 epochs in batches of 64"),
        ({"training": PAPER.model_copy(update={"optimizer": SGD()})}, "sgd with a step schedule"),
        (
            {"encoder": {"model": "resnet50", "pretrained": True}},
            "audio encoder timm resnet50 pre-trained (released code: timm resnet18 from scratch)",
        ),
        ({"seeds": (0, 1, 2)}, "3 seeds (released code: one run)"),
    ],
)
def test_a_protocol_that_differs_is_said_loudly(store: Store, changes: dict[str, Any], sentence: str) -> None:
    table = table_of(suite(store, **changes), store)
    assert f"OUR PROTOCOL IS NOT THE PAPER'S: {sentence}" in table.note
    assert table.columns[-1].name == "Difference, other protocol"


def test_a_stand_in_has_no_difference(store: Store) -> None:
    table = table_of(sweep(store, ["MMIN", "MLA"], rates=(0.0, 0.3)), store)
    assert [column.name for column in table.columns] == ["MLA paper", "Re-runs by others", "Ours, on stamps"]
    assert "which is NOT IEMOCAP: no reproduction" in table.title
    assert "OURS ARE NUMBERS ON STAMPS, A STAND-IN, NOT ON IEMOCAP" in table.note
    assert cells_of(table, "MMIN", "multimodal", "30 %")["Re-runs by others"] == "66.3 (1 re-run)"
    # The rates of the paper's own table are not known: a row without a number at each of ours.
    assert cells_of(table, "MLA", "multimodal", "30 %")["MLA paper"] == "not sourced"
    assert not any(row.heads[1:] == ("text", "30 %") for row in table.rows)


def test_a_stand_in_for_two_datasets_names_both(store: Store) -> None:
    plan = sweep(store, ["MLA"], rates=(0.0,), write=False)
    cells = []
    for cell in plan.cells:
        dataset = DatasetComponent(name="clipart", fingerprint="x")
        own = cell.trial.model_copy(update={"dataset": dataset})
        own = Trial.model_validate(own.model_dump())
        cells.append(cell.model_copy(update={"trial": own}))
    plan = plan.model_copy(update={"cells": tuple(cells), "modalities": ("text", "image")})
    for cell in plan.cells:
        store.write(record(cell.trial, "MLA", cell.tests, modalities=("text", "image")))
    table = table_of(plan, store)
    assert [row.heads[0] for row in table.rows] == ["Food-101"] * 3 + ["MVSA"] * 3
    assert cells_of(table, "Food-101", "MLA", "multimodal")["Re-runs by others"] == "92.8 to 93.14 (2 re-runs)"
    assert len(table.columns) == 3


def test_variants_stand_beside_the_ablation_and_nothing_else(store: Store, tmp_path: Path) -> None:
    methods = [
        ("MLA", Component(name="mla", config={"gradient_modification": "owm", "dynamic_fusion": "sample"})),
        ("MLA w/o HGM", Component(name="mla", config={"gradient_modification": "none"})),
        ("MLA w/o DF", Component(name="mla", config={"dynamic_fusion": "average"})),
        ("neither", Component(name="mla", config={"gradient_modification": "none", "dynamic_fusion": "average"})),
        ("another alpha", Component(name="mla", config={"alpha": 1.0})),
    ]
    path = extra(
        tmp_path,
        *(f'MLA-ablation,CREMA-D,"HGM={hgm},DF={df}",multi,0,{70 + 2 * hgm + df}' for hgm in (0, 1) for df in (0, 1)),
    )
    table = table_of(suite(store, methods=methods), store, path)
    fused = {row.heads[0]: row.cells[0].mean for row in table.rows if row.heads[1] == "multimodal"}
    assert fused == {
        "MLA": "79.70 (medium)",
        "MLA w/o HGM": "71 (user)",
        "MLA w/o DF": "72 (user)",
        "neither": "70 (user)",
    }


def test_a_method_without_a_part_has_a_name_of_its_own(store: Store, tmp_path: Path) -> None:
    methods = [
        ("OGM-GE", Component(name="ogm_ge", config={"alpha": 0.3, "noise": True})),
        ("OGM", Component(name="ogm_ge", config={"alpha": 0.3, "noise": False})),
        ("stronger", Component(name="ogm_ge", config={"alpha": 0.8, "noise": False})),
    ]
    table = table_of(suite(store, methods=methods), store, extra(tmp_path, "MLA-Table1,CREMA-D,OGM,multi,0,62"))
    published = {(row.heads[0], row.heads[1]) for row in table.rows}
    assert {("OGM-GE", "multimodal"), ("OGM", "multimodal")} <= published
    assert not any(label == "stronger" for label, _ in published)
    assert cells_of(table, "OGM-GE", "multimodal")["MLA paper"] == "68.14 (medium-low)"
    assert cells_of(table, "OGM", "multimodal")["MLA paper"] == "62 (user)"


def test_failed_runs_are_shown_as_such(store: Store) -> None:
    plan = suite(store, seeds=(0, 1))
    store.write(failed(plan.cells[1].trial))
    assert cells_of(table_of(plan, store), "MLA", "multimodal")["Ours"] == "80.0 ± — (1 seed; failed 1/2)"
    store.write(failed(plan.cells[0].trial))
    shown = cells_of(table_of(plan, store), "MLA", "multimodal")
    assert shown["Ours"] == "failed 2/2"
    assert shown["Difference, other protocol"] == "—"


def test_no_table_where_nothing_was_published(store: Store) -> None:
    numbers = load_published()
    assert published_table(load(Plan(name="empty", modalities=(), cells=()), store), numbers) is None
    assert published_table(load(sweep(store, ["No such method"]), store), numbers) is None


def test_it_renders_in_every_format(store: Store) -> None:
    table = table_of(suite(store, seeds=(0, 1)), store)
    assert "| MLA | multimodal | 0 % | 79.70 (medium) |" in formats.markdown(table)
    rows = list(csv.DictReader(formats.csv(table).splitlines()))
    assert rows[-1]["MLA paper"] == "79.70 (medium)"
    assert "79.70 (medium)" in formats.latex(table, "x")

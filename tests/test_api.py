"""The Python API: the same runs, numbers and mistakes as the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import mlabench
from mlabench.store import Store
from tests.command_line import SMALL, lasting


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """The results folder of the small suite, run by the API, and what that returned."""
    folder = tmp_path_factory.mktemp("api")
    suite = folder / "small suite.yaml"
    suite.write_text(SMALL, encoding="utf-8")
    return folder, mlabench.run(suite, results=folder / "results", jobs=1, quiet=True)


def test_a_run_is_the_same_as_the_command_s(ran: tuple[Path, pd.DataFrame], small_results: Path) -> None:
    assert lasting(ran[0] / "results") == lasting(small_results)


def test_run_returns_every_number(ran: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = ran
    # 2 methods x 2 rates x 2 seeds, one evaluation each, of three modalities and of their fusion
    assert len(frame) == 2 * 2 * 2 * 4
    assert set(frame["status"]) == {"ok"}
    store = Store(folder / "results")
    for row in frame.itertuples():
        record = store.read(str(row.trial))
        assert record is not None
        evaluation = record.evaluations[str(row.test)]
        scores = evaluation.multimodal if row.target == "multimodal" else evaluation.unimodal[str(row.target)]
        assert scores is not None
        assert (row.accuracy, row.macro_f1, row.n) == (scores.accuracy, scores.macro_f1, scores.n)
        assert (row.dataset, row.seed, row.method) == ("stamps", record.trial.seed, record.trial.method.name)


def test_arguments_change_the_suite(tmp_path: Path) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text(SMALL, encoding="utf-8")
    planned = mlabench.plan(
        suite, results=tmp_path, methods=["mla", "qmf"], seeds=range(3), rates=[0.2], settings={"training.epochs": 7}
    )
    assert sorted(planned["label"].unique()) == ["MLA", "QMF"]
    assert sorted(planned["seed"]) == [0, 0, 1, 1, 2, 2]
    assert set(planned["train"]) == {"balanced-0.2"}
    assert set(planned["state"]) == {"missing"}
    again = mlabench.plan(suite, results=tmp_path, methods="mla", seeds=5, rates=[0.2])
    assert list(again["seed"]) == [5]
    assert set(again["trial"]).isdisjoint(planned["trial"])


def test_a_suite_is_a_file_a_name_or_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "tiny.yaml").write_text(SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    by_file = mlabench.plan(Path("suites/tiny.yaml"))
    by_name = mlabench.plan("tiny")
    by_content = mlabench.plan({**yaml.safe_load(SMALL), "name": "tiny"})
    pd.testing.assert_frame_equal(by_file, by_name)
    pd.testing.assert_frame_equal(by_file, by_content)
    assert mlabench.plan("stamps_missing")["label"].nunique() >= 5  # one that comes with mlabench


def test_plan_says_what_is_done(ran: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = ran
    planned = mlabench.plan(folder / "small suite.yaml", results=folder / "results")
    assert set(planned["state"]) == {"done"}
    assert set(planned["trial"]) == set(frame["trial"])


def test_seeds_are_added_until_the_intervals_are_narrow(ran: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """And all is as if so many had been asked for at once."""
    folder, at_once = ran
    suite = folder / "small suite.yaml"
    for _ in range(2):  # the second time all is there
        added = mlabench.run(suite, results=tmp_path, seeds=0, jobs=0, quiet=True, until_width=0.1, max_repeats=2)
        pd.testing.assert_frame_equal(added, at_once)
    assert lasting(tmp_path) == lasting(folder / "results")
    planned = mlabench.plan(suite, results=tmp_path, seeds=0, until_width=0.1, max_repeats=2)
    assert sorted(planned["seed"].unique()) == [0, 1]
    assert set(planned["state"]) == {"done"}
    enough = mlabench.run(suite, results=tmp_path, jobs=0, quiet=True, until_width=99)
    assert sorted(enough["seed"].unique()) == [0, 1]


def test_results_are_those_of_all_suites(ran: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = ran
    pd.testing.assert_frame_equal(mlabench.results(folder / "results"), frame)
    pd.testing.assert_frame_equal(mlabench.results(folder / "results", suite="small_suite.limit150"), frame)


def test_compare_pairs_seeds_and_samples(ran: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = ran
    compared = mlabench.compare(folder / "results", "MLA", "Concat")
    assert list(compared["missing"]) == ["0 %", "50 %"]
    fused = frame[frame["target"] == "multimodal"].pivot_table("accuracy", "label", "setting")
    np.testing.assert_allclose(compared["difference"], 100 * (fused.loc["MLA"] - fused.loc["Concat"]))
    assert ((compared["low"] <= compared["difference"]) & (compared["difference"] <= compared["high"])).all()
    assert (compared["p_holm"] >= compared["p"]).all()
    assert set(compared["seeds"]) == {2}
    turned = mlabench.compare(folder / "results", "Concat", "MLA")
    np.testing.assert_allclose(turned["difference"], -compared["difference"])


def test_one_seed_never_decides(ran: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    folder, _ = ran
    mlabench.run(folder / "small suite.yaml", results=tmp_path, seeds=0, rates=[0.5], jobs=1, quiet=True)
    compared = mlabench.compare(tmp_path, "MLA", "Concat")
    assert list(compared["verdict"]) == ["undecided"]
    assert list(compared["seeds"]) == [1]


def test_a_report_is_written(
    ran: tuple[Path, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = mlabench.report(ran[0] / "results", out=tmp_path / "report", include_limited=True, quiet=True)
    assert page == tmp_path / "report" / "report.html"
    assert "<html" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: mlabench.run(folder / "no.yaml"), "no such file"),
        (lambda folder: mlabench.plan(folder / "small suite.yaml", methods=["mls"]), "Did you mean 'mla'?"),
        (lambda folder: mlabench.plan(folder / "small suite.yaml", settings={"training.epoch": 1}), "training.epoch"),
        (lambda folder: mlabench.plan(folder / "small suite.yaml", rates=[1.0]), "must be below 1"),
        (lambda folder: mlabench.results(folder / "nothing"), "no results in"),
        (lambda folder: mlabench.results(folder / "results", suite="smal_suite"), "Did you mean 'small_suite."),
        (lambda folder: mlabench.compare(folder / "results", "MLA", "MLB"), "Labels: Concat, MLA."),
        (lambda folder: mlabench.compare(folder / "results", "MLA", "Concat", target="smell"), "Targets: audio, image"),
        (lambda folder: mlabench.report(folder / "nothing"), "no results in"),
    ],
)
def test_mistakes_are_user_errors(call: object, message: str, ran: tuple[Path, pd.DataFrame]) -> None:
    with pytest.raises(mlabench.UserError, match=None) as caught:
        call(ran[0])  # type: ignore[operator]
    assert message in str(caught.value)


def test_importing_it_imports_neither_torch_nor_pandas() -> None:
    code = "import sys, mlabench; sys.exit(bool({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

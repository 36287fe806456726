"""The command line: quick, free of torch where nothing is trained, clear about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlabench.registry import entries
from mlabench.store.records import RECORD, Store
from tests.command_line import ROOT, SMALL, invoke
from tests.records import make_record, make_trial

WITHOUT_TORCH = [
    ["--help"],
    ["run", "--help"],
    ["ls", "methods"],
    ["ls", "datasets"],
    ["ls", "encoders", "--json"],
    ["ls", "suites"],
    ["methods", "m*"],
    ["plan", "suites/stamps.yaml"],
    ["status", "suites/stamps.yaml"],
    ["show", "suites/stamps.yaml"],
    ["validate", "suites/stamps.yaml"],
    ["schema"],
    ["data", "list"],
    ["doctor"],
    ["report"],
]


@pytest.mark.parametrize("arguments", WITHOUT_TORCH, ids=" ".join)
def test_listings_and_reports_do_not_import_torch(arguments: list[str], tmp_path: Path, small_results: Path):
    if arguments[0] == "report":
        arguments = [*arguments, str(small_results), "--out", str(tmp_path)]
    code = (
        "import sys; from mlabench.cli.app import main\n"
        f"sys.argv = ['mlabench', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "if 'torch' in sys.modules: sys.exit(3)\n"
    )
    for _ in range(2):  # the first may have to import it, to fill the registry's cache
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr


def test_optimizers_that_undo_a_method_are_noted():
    said = invoke("validate", "suites/stamps_leaderboard.yaml").stdout
    assert "note: OGM-GE runs under adam: it divides a gradient by its running magnitude" in said
    assert "note: Concat" not in said
    row = json.loads(invoke("ls", "methods", "mmin", "--json").stdout)[0]
    assert row["limits"][-1].startswith("not under sgd: ")
    assert row["training_of_authors"]["optimizer"]["value"]["lr"] == 2e-4
    assert "CAP_mmin.sh at 69a45fe" in row["training_of_authors"]["optimizer"]["source"]


def test_ls_shows_every_method_with_its_options():
    rows = {row["name"]: row for row in json.loads(invoke("ls", "methods", "--json").stdout)}
    assert set(rows) == set(entries("methods"))
    for row in rows.values():
        assert row["summary"]
        assert row["paper"].startswith("https://")
        assert all(option["description"] for option in row["options"].values())
    assert rows["mla"]["options"]["alpha"]["default"] == 0.1


def test_suites_are_known_by_name(tmp_path: Path, small_results: Path):
    rows = {row["name"]: row for row in json.loads(invoke("ls", "suites", "verify*", "--json", cwd=tmp_path).stdout)}
    assert list(rows) == ["verify", "verify_balance", "verify_missing"]
    assert Path(rows["verify"]["file"]) == ROOT / "suites" / "verify.yaml"
    shown = invoke("show", "verify_missing", "--json", cwd=tmp_path)
    assert "verify_balance.yaml:" in shown.stdout, shown.stderr
    assert "verify_missing.yaml: valid, 80 trials\n" in invoke("validate", "verify_missing", cwd=tmp_path).stdout
    (tmp_path / "stamps").symlink_to(small_results)
    there = invoke("report", "stamps", "--out", tmp_path / "out", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert invoke("report", "verify_missing", cwd=tmp_path).returncode == 0, "of nothing yet"


def test_ls_takes_a_pattern():
    rows = json.loads(invoke("ls", "methods", "mm[ip]*", "--json").stdout)
    assert [row["name"] for row in rows] == ["mmin", "mmpareto"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["run", "suites/stamps.yaml", "--device", "gpu"], "--device"),
        (["run", "suites/stamps.yaml", "--device", "cuda"], "no device 'cuda'"),
        (["run", "suites/stamps.yaml", "--overwrite", "allways"], "Did you mean 'always'?"),
        (["run", "suites/stamps.yaml", "--method", "mlaa"], "mlaa"),
        (["run", "suites/stamps.yaml", "--set", "training.epoch=3"], "Did you mean 'epochs'?"),
        (["run", "suites/stamps.yaml", "--precision", "16"], "precision"),
        (["run", "suites/stamps.yaml", "--seeds", "a"], "--seeds"),
        (["run", "suites/stamps_missing.yaml", "--rates", "0,1.5"], "1.5"),
        (["ls", "method"], "Did you mean 'methods'?"),
        (["report", "nothing"], "Run a suite first"),
        (["run", "suites/stamps.yaml", "--limit", "0"], "limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_clear_message(arguments: list[str], message: str, tmp_path: Path):
    if arguments[0] == "run":
        arguments = [*arguments, "--results", str(tmp_path / "results")]
    done = invoke(*arguments, cwd=ROOT, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_file_in_place_of_the_results_folder(tmp_path: Path):
    suite, results = tmp_path / "s.yaml", tmp_path / "results"
    suite.write_text(SMALL)
    results.write_text("")
    done = invoke("run", suite, "--results", results)
    assert done.returncode == 2
    assert "cannot write results" in done.stderr


def test_two_suites_of_one_name_are_refused(tmp_path: Path):
    for folder, seed in (("one", 0), ("two", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.yaml").write_text(SMALL.replace("seeds: [0, 1]", f"seeds: {seed}"))
    suites = (tmp_path / "one" / "s.yaml", tmp_path / "two" / "s.yaml")
    done = invoke("run", *suites, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert "Give each suite its own name." in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_plan_tells_variants_of_a_method_apart(tmp_path: Path):
    rows = json.loads(invoke("plan", "suites/stamps.yaml", "--seeds", "0", "--json", cwd=ROOT).stdout)
    assert list(dict.fromkeys(row["method"] for row in rows))[1:3] == ["Late fusion", "Late fusion (as MLA reads out)"]


def test_a_plan_names_folds_and_repeats(tmp_path: Path):
    plan = ("plan", "suites/stamps.yaml", "--method", "mla", "--folds", "5", "--seeds", "0,3", "--results", tmp_path)
    rows = json.loads(invoke(*plan, "--json", cwd=ROOT).stdout)
    assert [(row["seed"], row["fold"]) for row in rows] == [(seed, fold) for seed in (0, 3) for fold in "12345"]
    printed = invoke(*plan, cwd=ROOT).stdout
    assert "Repeat" in printed
    assert "Seed" not in printed
    assert "5 folds x 2 repeats: 10 trials, 10 to run" in " ".join(printed.split())
    without = invoke(*plan[:4], "--folds", "none", "--seeds", "0,3", cwd=ROOT).stdout
    assert "Seed" in without
    assert "Fold" not in without
    refused = invoke(*plan[:4], "--folds", "session", cwd=ROOT)
    assert refused.returncode == 2
    assert "no division 'session'" in refused.stderr


def test_patterns_are_the_same_whatever_the_folds(tmp_path: Path):
    suite, masks = tmp_path / "s.yaml", tmp_path / "masks"
    suite.write_text(SMALL)
    assert invoke("masks", "export", suite, "--out", masks).returncode == 0
    suite.write_text(SMALL + "folds: 3\n")
    assert invoke("masks", "verify", suite, masks).returncode == 0


def test_a_plan_tells_what_epochs_are_selected_on(tmp_path: Path):
    suite, masks = tmp_path / "s.yaml", tmp_path / "masks"
    suite.write_text(SMALL.replace("{rates: [0, 0.5]}", "{rates: [0.2, 0.5], splits: test, select: test}"))
    assert "0.2, balanced-0.5" in json.loads(invoke("plan", suite, "--json").stdout)[0]["selected_on"]
    assert invoke("masks", "export", suite, "--out", masks).returncode == 0
    assert len(list(masks.iterdir())) == 2
    done = invoke("plan", suite, "--set", "missing.select=train", "--json")
    assert "selected_on" not in json.loads(done.stdout)[0]
    refused = invoke("plan", suite, "--set", "missing.select=best")
    assert refused.returncode == 2
    assert "missing.select" in refused.stderr


def test_an_ambiguous_trial_lists_the_candidates(tmp_path: Path):
    store = Store(tmp_path)
    for seed in (0, 1):
        store.write(make_record(make_trial(seed=seed)))
    done = invoke("show", "stamps-", "--results", tmp_path)
    assert done.returncode == 2
    assert all(trial_id in done.stderr for trial_id in store.ids())
    (tmp_path / "trials" / store.ids()[0] / RECORD).write_text("{")
    done = invoke("show", store.ids()[0], "--results", tmp_path)
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_exported_patterns_serve_as_a_suite(tmp_path: Path):
    suite, masks = tmp_path / "s.yaml", tmp_path / "masks"
    suite.write_text(SMALL)
    done = invoke("masks", "export", suite, "--out", masks)
    assert done.returncode == 0, done.stderr
    (path,) = masks.iterdir()
    assert invoke("masks", "verify", suite, masks).stdout == f"{path}: equal\n"
    suite.write_text(SMALL.replace("{rates: [0, 0.5]}", f"{{protocol: file, file: masks/{path.name}}}"))
    assert invoke("validate", suite).stdout.splitlines()[0] == f"{suite}: valid, 4 trials"
    path.write_text(path.read_text().replace(",1,", ",0,", 1))
    suite.write_text(SMALL)
    assert invoke("masks", "verify", suite, masks).returncode == 2


def test_patterns_of_all_suites_that_a_file_lists(tmp_path: Path):
    every, made = tmp_path / "all.yaml", SMALL.replace("dataset: stamps", "dataset: {name: synthetic, samples: SIZES}")

    def write(name: str, missing: str, sizes: str = "[80, 20, 20]") -> None:
        suite = made.replace("missing: {rates: [0, 0.5]}", missing).replace("SIZES", sizes)
        (tmp_path / f"{name}.yaml").write_text(suite)

    write("one", "missing: {rates: [0, 0.5]}")
    write("none", "")
    write("two", "missing: {rates: [0.2, 0.5]}")
    every.write_text("suites: [one.yaml, none.yaml, two.yaml]")
    done = invoke("masks", "export", every, "--out", tmp_path / "masks")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(list((tmp_path / "masks").iterdir())) == 2
    assert invoke("masks", "verify", every, tmp_path / "masks").stdout.count("equal") == 2
    write("two", "missing: {rates: [0.2, 0.5]}", "[90, 20, 20]")
    done = invoke("masks", "export", every, "--out", tmp_path / "others")
    assert done.returncode == 2
    assert f"error: {every}: its suites read 'synthetic' with different samples." in done.stderr


def test_patterns_need_something_missing_and_a_place(tmp_path: Path):
    suite = tmp_path / "s.yaml"
    suite.write_text(SMALL.replace("missing: {rates: [0, 0.5]}", ""))
    done = invoke("masks", "export", suite, "--out", tmp_path / "masks")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {suite}: nothing is missing in this suite. Give it 'missing: {{rates: [...]}}'.\n",
    )
    suite.write_text(SMALL)
    done = invoke("masks", "export", suite, "--out", suite)
    assert done.returncode == 2
    assert f"error: {suite}: cannot write patterns" in done.stderr

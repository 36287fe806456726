"""Expansions counted by hand, and ids that stay what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mlabench import registry
from mlabench.datasets import Data, Split, Task
from mlabench.datasets.embedded.stamps.raw_dataset import RawStamps
from mlabench.datasets.published.grid import WORDS
from mlabench.errors import UserError
from mlabench.suite import Overrides, Suite, load_suite, members
from mlabench.suite import expansion as planning
from mlabench.suite.expansion import expand
from mlabench.suite.plan import Plan
from mlabench.trial import Fold
from tests.datasets.embedded import stamps_tree
from tests.datasets.published import grid_tree, mvsa_tree
from tests.suite.fakes import MASK, Speech

SUITES = Path(__file__).parents[2] / "suites"

Keys = list[tuple[str, list[str]]]


@pytest.fixture
def plan(load: Callable[..., Suite]) -> Callable[..., Plan]:
    def plan(missing: str = "{}", seeds: str = "[0]", methods: str = "[plain]") -> Plan:
        return expand(load(f"dataset: speech\nmethods: {methods}\nseeds: {seeds}\nmissing: {missing}\n"))

    return plan


def keys(plan: Plan) -> Keys:
    """(training pattern, test patterns) of each cell."""
    return [(cell.trial.missing.key, [test.key for test in cell.tests]) for cell in plan.cells]


def test_complete(plan: Callable[..., Plan]) -> None:
    assert keys(plan()) == [("complete", ["complete"])]


def test_methods_times_rates_times_seeds(plan: Callable[..., Plan]) -> None:
    result = plan("{rates: [0, 0.2, 0.5]}", seeds="[0, 1]", methods="[plain, fancy]")
    assert len(result.cells) == 2 * 3 * 2
    assert len(list(result.trials())) == 12
    assert result.labels == ("plain", "Fancy!")
    assert result.modalities == ("audio", "image", "text")
    assert [(cell.label, cell.trial.missing.key, cell.trial.seed) for cell in result.cells[:4]] == [
        ("plain", "complete", 0),
        ("plain", "complete", 1),
        ("plain", "balanced-0.2", 0),
        ("plain", "balanced-0.2", 1),
    ]


def test_train_and_test(plan: Callable[..., Plan]) -> None:
    assert keys(plan("{rates: [0, 0.5]}")) == [("complete", ["complete"]), ("balanced-0.5", ["balanced-0.5"])]


def test_train_only(plan: Callable[..., Plan]) -> None:
    assert keys(plan("{rates: [0, 0.5], splits: train}")) == [
        ("complete", ["complete"]),
        ("balanced-0.5", ["complete"]),
    ]


def test_test_only_is_one_training(plan: Callable[..., Plan]) -> None:
    assert keys(plan("{rates: [0, 0.2, 0.5], splits: test}")) == [
        ("complete", ["complete", "balanced-0.2", "balanced-0.5"])
    ]


def test_matrix(plan: Callable[..., Plan]) -> None:
    assert keys(plan("{rates: [0, 0.2, 0.5], evaluate: matrix}")) == [
        ("complete", ["complete", "balanced-0.2", "balanced-0.5"]),
        ("balanced-0.2", ["balanced-0.2", "complete", "balanced-0.5"]),
        ("balanced-0.5", ["balanced-0.5", "complete", "balanced-0.2"]),
    ]


def test_subsets(plan: Callable[..., Plan]) -> None:
    subsets = [
        "complete",
        "subset-audio+image",
        "subset-audio+text",
        "subset-image+text",
        "subset-audio",
        "subset-image",
        "subset-text",
    ]
    assert keys(plan("{evaluate: subsets}")) == [("complete", subsets)]
    assert keys(plan("{rates: 0.5, evaluate: subsets}")) == [("balanced-0.5", ["balanced-0.5", *subsets])]
    assert len(plan("{rates: [0, 0.5], evaluate: [matrix, subsets]}").cells[0].tests) == 2 + 6


@pytest.mark.parametrize(
    ("missing", "validated"),
    [
        ("{rates: [0, 0.5]}", [[], []]),
        ("{rates: [0, 0.5], select: test}", [[], []]),  # each is tested as it is trained
        ("{rates: [0, 0.5], select: mixed}", [[], []]),
        ("{rates: [0, 0.5], select: test, evaluate: subsets}", [[], []]),
        ("{rates: [0.2, 0.5], splits: test}", [[]]),
        ("{rates: [0.2, 0.5], splits: test, select: test}", [["balanced-0.2", "balanced-0.5"]]),
        ("{rates: [0.2, 0.5], splits: test, select: mixed}", [["complete", "balanced-0.2", "balanced-0.5"]]),
        ("{rates: [0, 0.5], splits: test, select: mixed}", [["complete", "balanced-0.5"]]),
        ("{rates: [0, 0.5], splits: train, select: test}", [[], ["complete"]]),
        ("{rates: [0, 0.5], splits: train, select: mixed}", [[], ["balanced-0.5", "complete"]]),
        (
            "{rates: [0, 0.5], evaluate: [matrix, subsets], select: test}",
            [["complete", "balanced-0.5"], ["balanced-0.5", "complete"]],
        ),
    ],
)
def test_what_the_epoch_is_selected_under(missing: str, validated: list[list[str]], plan: Callable[..., Plan]) -> None:
    trials = [cell.trial for cell in plan(missing).cells]
    assert [[recipe.key for recipe in trial.validation] for trial in trials] == validated
    for trial in trials:
        assert trial.validated_under == (trial.validation or (trial.missing,))


def test_trials_that_select_under_the_training_pattern_are_what_they_were(plan: Callable[..., Plan]) -> None:
    default, tested = (plan(f"{{rates: 0.5, splits: test, select: {select}}}") for select in ("train", "test"))
    (before,), (other,) = ([cell.trial for cell in one.cells] for one in (default, tested))
    assert "validation" not in before.model_dump()
    assert "validation" not in before.identity()
    assert before.id != other.id
    assert before.configuration == other.configuration
    assert other.identity()["validation"] == [{"protocol": "balanced", "rate": 0.5}]
    assert type(other).model_validate_json(other.model_dump_json()).id == other.id


def test_a_pattern_file_is_checked_for_what_selects(plan: Callable[..., Plan], spoken: None, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("id,audio,image,text\nc,1,0,1\n")
    with pytest.raises(UserError, match="the first is 'b'"):
        plan("{protocol: file, file: test.csv, splits: test, select: test}")


def test_protocols(plan: Callable[..., Plan]) -> None:
    assert keys(plan("{protocol: independent, rates: 0.25, pattern_seed: 3}")) == [
        ("independent-0.25-seed3", ["independent-0.25-seed3"])
    ]
    rates = "[{audio: 0}, {audio: 0.5, text: 0}, {text: 0.2, audio: 0.1}]"
    assert keys(plan(f"{{protocol: per_modality, rates: {rates}}}")) == [
        ("complete", ["complete"]),
        ("per_modality-audio0.5", ["per_modality-audio0.5"]),
        ("per_modality-audio0.1+text0.2", ["per_modality-audio0.1+text0.2"]),
    ]


def test_a_pattern_file_is_checked_for_the_splits_it_masks(
    plan: Callable[..., Plan], spoken: None, tmp_path: Path
) -> None:
    (tmp_path / "all.csv").write_text(MASK)
    (tmp_path / "test.csv").write_text("id,audio,image,text\nc,1,0,1\n")
    (key,) = keys(plan("{protocol: file, file: all.csv}"))
    assert key[0].startswith("file-")
    assert key[1] == [key[0]]
    assert keys(plan("{protocol: file, file: test.csv, splits: test}"))[0][0] == "complete"
    with pytest.raises(UserError, match=r"test.csv: no row for 1 of 1 samples, the first is 'a'"):
        plan("{protocol: file, file: test.csv}")


def folded(monkeypatch: pytest.MonkeyPatch, groups: int = 12) -> None:
    """The dataset ``speech`` has groups of one sample, in two classes and three sessions."""
    names = tuple(f"{number:02}" for number in range(groups))

    def split(rows: range) -> Split:
        labels = np.array([row % 2 for row in rows], dtype=np.int64)
        own = tuple(names[row] for row in rows)
        return Split(own, labels, {}, own, {"session": tuple(f"session {row // 4}" for row in rows)})

    task = Task(("audio", "image", "text"), ("x", "y"), {})
    data = Data(task, *(split(range(at, groups, 3)) for at in range(3)))
    monkeypatch.setattr(Speech, "load", lambda self: data)
    planning.folds_of.cache_clear()


def test_folds_times_repeats(load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch)
    text = "dataset: speech\nmethods: [plain, fancy]\nseeds: [0, 1]\nmissing: {rates: [0, 0.5]}\n"
    result = expand(load(text + "folds: 5\n"))
    assert len(result.cells) == 2 * 2 * 2 * 5 == len({cell.trial.id for cell in result.cells})
    assert [(cell.trial.seed, cell.trial.fold) for cell in result.cells[:6]] == [
        *((0, Fold(count=5, name=name)) for name in "12345"),
        (1, Fold(count=5, name="1")),
    ]
    # A fold of a repeat is trained alike by all methods, and unlike the others.
    seeds = {(cell.trial.seed, cell.trial.fold, cell.trial.training_seed) for cell in result.cells}
    assert len(seeds) == len({seed for *_, seed in seeds}) == 10
    assert "-seed1-fold5-" in result.cells[9].trial.id
    without = {cell.trial.id for cell in expand(load(text)).cells}
    for off in ("none", "0", "null"):
        assert without == {cell.trial.id for cell in expand(load(text + "folds: 5\n", folds=off)).cells}
    assert without.isdisjoint(cell.trial.id for cell in result.cells)


@pytest.mark.parametrize(
    ("written", "flag"),
    [("{by: session}", "session"), ("session", "session"), ("{by: session, count: 2}", None), ("5", "5")],
)
def test_folds_are_written_in_the_suite_or_on_the_command_line(
    load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch, written: str, flag: str | None
) -> None:
    folded(monkeypatch)
    suite = load(f"dataset: speech\nmethods: plain\nfolds: {written}\n")
    found = [cell.trial.fold for cell in expand(suite).cells]
    sessions = [Fold(by="session", name=f"session {number}") for number in range(3)]
    expected = {
        "session": sessions,
        "{by: session}": sessions,
        "{by: session, count: 2}": [Fold(by="session", count=2, name=name) for name in "12"],
        "5": [Fold(count=5, name=name) for name in "12345"],
    }
    assert found == expected[written]
    if flag:
        moved = load("dataset: speech\nmethods: plain\nfolds: {by: speaker}\n", folds=flag)
        assert [cell.trial.fold for cell in expand(moved).cells] == found


@pytest.mark.parametrize("base", ["5", "{by: session, count: 2}", "speaker"])
def test_folds_replace_those_of_an_extended_suite(
    load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, base: str
) -> None:
    folded(monkeypatch)
    (tmp_path / "base.yaml").write_text(f"dataset: speech\nmethods: plain\nfolds: {base}\n")
    suite = load("extends: base.yaml\nfolds: {by: session}\n")
    assert [cell.trial.fold and cell.trial.fold.name for cell in expand(suite).cells] == [
        *(f"session {number}" for number in range(3))
    ]
    assert suite.origin("folds", "by") == f"{tmp_path / 'some.yaml'}:2"
    assert load("extends: base.yaml\n").origin("folds", "count") == f"{tmp_path / 'base.yaml'}:3"
    assert load("extends: base.yaml\n", folds="3").origin("folds", "count") == "--folds"


def test_folds_that_the_dataset_does_not_have(load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch)
    text = "dataset: speech\nmethods: plain\n"
    with pytest.raises(UserError, match=r"no division 'speaker'\. It has session\."):
        expand(load(text, folds="speaker"))
    with pytest.raises(UserError, match=r"'x' is in 6 groups only, fewer than the 7 folds\. Use 6 folds at most"):
        expand(load(text, folds="7"))


def test_a_pattern_file_covers_all_samples_where_there_are_folds(
    load: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folded(monkeypatch)
    (tmp_path / "test.csv").write_text("id,audio,image,text\n" + "".join(f"{row:02},1,0,1\n" for row in (2, 5, 8, 11)))
    text = "dataset: speech\nmethods: plain\nmissing: {protocol: file, file: test.csv, splits: test}\n"
    assert len(expand(load(text)).cells) == 1
    with pytest.raises(UserError, match=r"test\.csv: no row for 4 of 4 samples"):
        expand(load(text, folds="2"))


def test_a_limited_plan_does_not_replace_the_real_one(load: Callable[..., Suite]) -> None:
    text = "name: mine\ndataset: speech\nmethods: plain\n"
    assert expand(load(text)).name == "mine"
    assert expand(load(text, limit=60)).name == "mine.limit60"


def test_the_protocol_does_not_matter_at_rate_zero(plan: Callable[..., Plan]) -> None:
    ids = {plan(f"{{protocol: {name}, rates: 0}}").cells[0].trial.id for name in ("balanced", "independent")}
    assert ids == {plan().cells[0].trial.id}


def test_an_id_that_others_rely_on(plan: Callable[..., Plan]) -> None:
    """If this fails, every stored result becomes unreachable: change it on purpose only."""
    trial = plan("{rates: 0.3}", seeds="[2]", methods="[fancy]").cells[0].trial
    assert trial.id == "speech-fancy-balanced-0.3-seed2-9c617e6ee168"


def test_ids_depend_on_what_is_said_and_not_on_how(load: Callable[..., Suite]) -> None:
    one = load("dataset: {name: speech, noise: 1}\nencoders: mlp\nmethods: [{name: fancy, strength: 2}]\n")
    two = load(
        "title: Another\nmethods:\n- {label: Mine, strength: 2.0, fusion: average, name: fancy}\n"
        "training: {precision: '32', epochs: 30}\n"
        "encoders: {text: mlp, image: {width: 128, name: mlp}, audio: mlp}\n"
        "dataset: {modalities: [audio, image, text], noise: 1.0, name: speech}\n",
        name="other.yaml",
    )
    assert expand(one).cells[0].trial.id == expand(two).cells[0].trial.id


@pytest.mark.parametrize(
    "change",
    [
        "dataset.noise=1",
        "encoders.text={name: mlp, width: 5}",
        "methods.0.strength=1",
        "missing.rates=0.5",
        "seeds=[1]",
        "training.epochs=3",
        "limit=10",
    ],
)
def test_ids_depend_on_everything_that_decides_the_result(load: Callable[..., Suite], change: str) -> None:
    text = "dataset: speech\nencoders: {'*': mlp}\nmethods: fancy\n"
    assert expand(load(text)).cells[0].trial.id != expand(load(text, settings=(change,))).cells[0].trial.id


@pytest.fixture(scope="module")
def one_talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``grid_small`` divides into folds: the clips of a talker, by name only, and their alignments."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "s1").mkdir()
    for colour, letter, digit in product("bgrw", WORDS["letter"], "1234"):
        name = f"b{colour}a{letter}{digit}n"
        alignment = grid_tree.write_alignment(folder / f"alignments/s1/{name}.align", name)
        (folder / f"s1/{name}.mpg").write_bytes(alignment.read_bytes())
    return folder


@pytest.fixture(scope="module")
def some_stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``stamps_raw`` divides into folds."""
    folder = tmp_path_factory.mktemp("stamps")
    for (place, label), number in product(enumerate(RawStamps.classes), range(10)):
        colour = (place, number, 1, 255)
        stamps_tree.add_stamp(folder, f"{label}/{label}{number}", f"{label} {number}", {"fr": label}, colour=colour)
    return folder


@pytest.fixture(scope="module")
def tweets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``mvsa_frozen*`` divide into folds, with the lists whose tweets they are."""
    folder = mvsa_tree.make_tree(tmp_path_factory.mktemp("mvsa"))
    mvsa_tree.write_mla_lists(folder)
    return folder


@pytest.fixture
def everything_there(monkeypatch: pytest.MonkeyPatch, one_talker: Path, some_stamps: Path, tweets: Path) -> None:
    """As if all data and all weights lay where the suites look for them."""
    monkeypatch.setenv("GRID", str(one_talker))
    monkeypatch.setenv("TUXPAINT_STAMPS", str(some_stamps))
    monkeypatch.setenv("MVSA", str(tweets))
    for entry in registry.entries("datasets").values():
        monkeypatch.setattr(entry.load(), "fingerprint", lambda self: "f")
    monkeypatch.setattr(planning, "content_hash", lambda path: "0123456789ab")


#: Number of trials of each suite; on stamps, clipart, openmoji and MVSA's frozen features, two deals of five folds.
TRIALS = {
    "stamps": 6 * 10,
    "stamps_missing": 6 * 3 * 10,
    "stamps_ablation": 4 * 2 * 10,
    "stamps_audio_image": 6 * 10,
    "stamps_leaderboard": 36 * 2 * 10,
    "stamps_leaderboard_tuned": 36 * 2 * 10,
    "stamps_sensitivity": 6 * 5,
    "mla_fidelity": 24 * 2 * 10,
    "stamps_raw": 6 * 10,
    "stamps_modality_missing": 2 * 7 * 10,
    "stamps_gap": 4 * 10,
    "clipart": 6 * 10,
    "clipart_missing": 6 * 3 * 10,
    "clipart_ablation": 4 * 2 * 10,
    "clipart_modality_missing": 2 * 5 * 10,
    "clipart_gap": 4 * 10,
    "clipart_leaderboard": 35 * 2 * 10,
    "clipart_leaderboard_tuned": 35 * 2 * 10,
    "openmoji": 6 * 10,
    "openmoji_missing": 6 * 3 * 10,
    "openmoji_gap": 4 * 10,
    "cremad": 11 * 3,
    "cremad_issue3": 5 * 3,
    "kinetics_sounds": 11 * 3,
    "kinetics_sounds_missing": 2 * 9 * 3,
    "food101": 11 * 3,
    "food101_gap": 2 * 3,
    "mvsa": 11 * 3,
    "grid": 11 * 3,
    "grid_small": 6 * 5,
    "mvsa_frozen_complete": 6 * 10,
    "mvsa_frozen_missing": 6 * 3 * 10,
    "mvsa_frozen_ablation": 4 * 2 * 10,
    "mvsa_frozen_list": 6 * 3 * 5,
    "mvsa_frozen_list_ablation": 4 * 2 * 5,
    "mvsa_finetune": 2,
    "iemocap": 8 * 3,
    "iemocap_missing": 8 * 9 * 3,
    "ablation_cremad": 4 * 3,
    "ablation_kinetics_sounds": 4 * 3,
    "ablation_food101": 4 * 3,
    "ablation_mvsa": 4 * 3,
    "verify_balance": 16 * 10,
    "verify_missing": 8 * 10,
}

#: Suites about something else than the paper's questions.
UNASKED = {
    "mla_fidelity",
    "stamps_leaderboard",
    "stamps_leaderboard_tuned",
    "stamps_sensitivity",
    "clipart_leaderboard",
    "clipart_leaderboard_tuned",
    "mvsa_frozen_list",
    "mvsa_frozen_list_ablation",
    "mvsa_finetune",
    "verify_balance",
    "verify_missing",
}


@pytest.mark.parametrize(("name", "trials"), TRIALS.items())
def test_committed_suites(name: str, trials: int, everything_there: None) -> None:
    plan = expand(load_suite(SUITES / f"{name}.yaml"))
    assert plan.name == name
    assert bool(plan.questions) is (name not in UNASKED)
    assert len(plan.cells) == len(list(plan.trials())) == trials


def test_leaderboards_rank_the_same_methods() -> None:
    stamps, clipart = (load_suite(SUITES / f"{name}_leaderboard.yaml") for name in ("stamps", "clipart"))
    names = [[(entry.label, entry.method) for entry in suite.methods] for suite in (stamps, clipart)]
    assert [one for one in names[0] if one[0] != "Only audio"] == names[1]


def test_every_committed_suite_has_its_count_here() -> None:
    listed = {member for path in SUITES.glob("*.yaml") for member in members(path)}
    assert {path.stem for path in listed} == set(TRIALS)


def test_the_paper_is_every_suite_on_its_data_once() -> None:
    paper = members(SUITES / "paper.yaml")
    assert len(paper) == len(set(paper))
    assert {path.stem for path in paper} == {
        name
        for name in TRIALS.keys() - UNASKED
        if not name.startswith(("stamps", "clipart", "openmoji", "grid", "mvsa_f"))
    }


#: One optimiser was chosen for all methods.
UNDER_ADAM = ("stamps", "clipart", "openmoji", "grid_small", "mvsa_f", "reference", "verify")


@pytest.mark.parametrize("name", [name for name in TRIALS if "ablation" in name or not name.startswith(UNDER_ADAM)])
def test_no_method_of_the_papers_suites_runs_under_an_optimizer_that_undoes_it(
    name: str, everything_there: None
) -> None:
    assert not expand(load_suite(SUITES / f"{name}.yaml")).objections()


def test_such_an_optimizer_is_noticed(everything_there: None) -> None:
    plan = expand(load_suite(SUITES / "iemocap.yaml", Overrides(settings=("methods.5.training=suite",))))
    assert list(plan.objections()) == ["MMIN"]
    assert "hardly learns" in plan.objections()["MMIN"]
    leaderboard = expand(load_suite(SUITES / "stamps_leaderboard.yaml")).objections()
    assert {"OGM-GE", "AGM", "MMPareto", "MLA"} <= leaderboard.keys()
    assert "Concat" not in leaderboard


def test_committed_suites_share_their_trials(everything_there: None) -> None:
    ids = {name: {cell.trial.id for cell in expand(load_suite(SUITES / f"{name}.yaml")).cells} for name in TRIALS}
    for name in ("stamps", "clipart"):
        # All six methods, of which the gap has four and the modalities' absence two.
        assert ids[name] < ids[f"{name}_missing"]
        assert ids[f"{name}_gap"] < ids[name]
        assert len(ids[name] & ids[f"{name}_modality_missing"]) == 2 * 10
        # Under another optimiser MLA is another training.
        assert not ids[f"{name}_ablation"] & ids[f"{name}_missing"]
    assert ids["openmoji"] < ids["openmoji_missing"]
    assert ids["openmoji_gap"] < ids["openmoji"]
    assert ids["mvsa_frozen_complete"] < ids["mvsa_frozen_missing"]
    assert not ids["mvsa_frozen_ablation"] & ids["mvsa_frozen_missing"]
    assert ids["stamps_missing"] & ids["stamps_leaderboard"]
    # MLA itself is the first row of the ablation, and the missing suites hold the complete ones.
    for name in ("cremad", "kinetics_sounds", "food101", "mvsa"):
        assert len(ids[name] & ids[f"ablation_{name}"]) == 3
    assert ids["food101_gap"] < ids["food101"]
    assert ids["iemocap"] < ids["iemocap_missing"]
    assert len(ids["kinetics_sounds"] & ids["kinetics_sounds_missing"]) == 2 * 3


@pytest.mark.parametrize("name", ["iemocap_missing", "stamps_missing"])
def test_a_suite_moved_to_its_stand_in_has_the_trials_of_the_stand_ins_own(name: str) -> None:
    moved = expand(
        load_suite(SUITES / f"{name}.yaml", Overrides(dataset="stamps", rates="0,0.5", folds="5", seeds="0,1"))
    )
    own = expand(load_suite(SUITES / "stamps_missing.yaml"))
    # The paper's has more, such as both forms of QMF, and MMIN's own batches are part of the suites on stamps.
    kept = [cell for cell in moved.cells if name == "stamps_missing" or cell.label in ("Concat", "Late fusion", "MLA")]
    assert len({cell.label for cell in kept}) >= 3
    assert {*moved.settings.values()} == {"suite"} or name == "stamps_missing"
    assert {cell.trial.id for cell in kept} < {cell.trial.id for cell in own.cells}
    assert moved.name == ("stamps_missing" if name == "stamps_missing" else "iemocap_missing.stamps")


def test_planning_does_not_import_torch(one_talker: Path, some_stamps: Path, tweets: Path) -> None:
    program = """
import sys
from pathlib import Path
from mlabench import registry
from mlabench.suite import expansion as planning
from mlabench.suite import describe, json_schema, load_suite, members
for entry in registry.entries("datasets").values():
    entry.load().fingerprint = lambda self: "f"
planning.content_hash = lambda path: "0123456789ab"
for path in Path(sys.argv[1]).glob("*.yaml"):
    for member in members(path):
        suite = load_suite(member)
        assert planning.expand(suite).cells and describe(suite)
json_schema()
"""
    check = 'assert not {"torch", "PIL", "av", "soundfile", "cv2", "transformers"} & set(sys.modules)'
    places = {"GRID": one_talker, "TUXPAINT_STAMPS": some_stamps, "MVSA": tweets}
    environment = os.environ | {name: str(place) for name, place in places.items()}
    for code in (program, program + check):  # the first fills the registry's cache
        subprocess.run([sys.executable, "-c", code, str(SUITES)], check=True, timeout=60, env=environment)

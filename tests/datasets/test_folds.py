"""Folds: what is tested, what is never seen before, and what does not matter."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlabench.datasets import Data, Dataset, Split, StoredRows, Task, fold_names, with_fold
from mlabench.datasets.folds import deal
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
from mlabench.media import Text
from mlabench.trial import Fold

#: A sample: its group, its class, and the session it was recorded in.
Sample = tuple[str, int, str]
PARTS = ("train", "validation", "test")

#: Three to nine groups of each of three classes, of one to four samples each.
tables = st.lists(st.lists(st.integers(1, 4), min_size=3, max_size=9), min_size=3, max_size=3).map(
    lambda classes: [
        (f"group {label}.{number}", label, f"session {number % 3}")
        for label, sizes in enumerate(classes)
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Given(Dataset):
    """The data that it is given."""

    def __init__(self, data: Data) -> None:
        super().__init__(Hyperparameters())
        self.data = data

    def fingerprint(self) -> str:
        """One for all."""
        return "0"

    def load(self) -> Data:
        """What was given."""
        return self.data


def make_data(samples: list[Sample], order: list[int] | None = None) -> Data:
    """The samples in turn for training, validation and test; ids and features tell their place in the list."""
    order = list(range(len(samples))) if order is None else order

    def split(rows: list[int]) -> Split:
        return Split(
            ids=tuple(f"{row:04}" for row in rows),
            labels=np.array([samples[row][1] for row in rows], dtype=np.int64),
            inputs={"x": np.array([[row] for row in rows], dtype=np.float32)},
            groups=tuple(samples[row][0] for row in rows),
            units={"session": tuple(samples[row][2] for row in rows)},
        )

    task = Task(("x",), tuple(f"class {label}" for label in range(3)), {"x": (1,)})
    own = ("The dataset's own split leaks.",)
    return Data(task, split(order[::3]), split(order[1::3]), split(order[2::3]), ("Labels are noisy.",), own)


def folds(data: Data, by: str, count: int | None, seed: int) -> list[Data]:
    """The data divided, once per fold."""
    return [with_fold(data, Fold(by=by, count=count, name=name), seed) for name in fold_names(Given(data), by, count)]


def members(data: Data, part: str) -> set[str]:
    return set(getattr(data, part).ids)


# -- what holds for every dataset --------------------------------------------------------------------


@quick
@given(tables, st.integers(0, 2**32 - 1))
def test_every_group_is_tested_once_per_repeat_and_in_no_two_parts(samples: list[Sample], seed: int) -> None:
    data = make_data(samples)
    divided = folds(data, "", 3, seed)
    tested = [group for one in divided for group in set(one.test.groups)]
    assert sorted(tested) == sorted({name for name, *_ in samples})
    for one in divided:
        groups = [set(getattr(one, part).groups) for part in PARTS]
        assert sum(map(len, groups)) == len(set.union(*groups))
        assert sorted(sample for part in PARTS for sample in members(one, part)) == sorted(
            f"{row:04}" for row in range(len(samples))
        )
        for part in PARTS:  # a sample keeps what belongs to it
            split = getattr(one, part)
            rows = [int(name) for name in split.ids]
            assert split.inputs["x"][:, 0].tolist() == rows
            assert list(zip(split.groups, split.labels, split.units["session"], strict=True)) == [
                samples[row] for row in rows
            ]


@quick
@given(tables, st.integers(0, 2**32 - 1), st.integers(2, 3))
def test_classes_have_their_share_of_each_fold_and_of_validation(samples: list[Sample], seed: int, count: int) -> None:
    total = {label: len({name for name, own, _ in samples if own == label}) for label in range(3)}
    for one in folds(make_data(samples), "", count, seed):
        tested = Counter(int(name.split()[1][0]) for name in set(one.test.groups))
        validated = Counter(int(name.split()[1][0]) for name in set(one.validation.groups))
        for label, groups in total.items():
            assert abs(tested[label] - groups / count) < 1
            rest = groups - tested[label]
            # With more than one left, one validates; of those here never more than one in eight plus rounding.
            assert validated[label] == (0 if rest == 1 else 1)


def test_an_eighth_of_the_rest_is_for_validation() -> None:
    samples = [(f"group {label}.{number}", label, "") for label in range(3) for number in range((160, 80, 40)[label])]
    for one in folds(make_data(samples), "", 5, seed=3):
        for part, share in (("test", 1 / 5), ("validation", 1 / 10), ("train", 7 / 10)):
            counts = np.bincount(getattr(one, part).labels)
            assert counts.tolist() == [round(share * groups) for groups in (160, 80, 40)]


@quick
@given(tables, st.integers(0, 2**32 - 1), st.data())
def test_the_order_of_samples_and_the_own_split_do_not_matter(
    samples: list[Sample], seed: int, draw: st.DataObject
) -> None:
    shuffled = make_data(samples, draw.draw(st.permutations(range(len(samples)))))
    for by, count in (("", 3), ("session", None)):
        for one, other in zip(
            folds(make_data(samples), by, count, seed), folds(shuffled, by, count, seed), strict=True
        ):
            for part in PARTS:
                assert getattr(one, part).ids == getattr(other, part).ids
                assert (getattr(one, part).inputs["x"] == getattr(other, part).inputs["x"]).all()


@quick
@given(tables, st.integers(0, 2**32 - 1), st.data())
def test_more_samples_of_known_groups_move_nobody(samples: list[Sample], seed: int, draw: st.DataObject) -> None:
    more = samples + draw.draw(st.lists(st.sampled_from(samples), max_size=20))
    for one, other in zip(folds(make_data(samples), "", 3, seed), folds(make_data(more), "", 3, seed), strict=True):
        for part in PARTS:
            assert members(one, part) <= members(other, part)
            assert set(getattr(one, part).groups) == set(getattr(other, part).groups)


@quick
@given(tables, st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(0, 2))
def test_a_new_group_moves_few_of_its_class_and_none_of_others(
    samples: list[Sample], seed: int, count: int, label: int
) -> None:
    def dealt(own: list[Sample]) -> dict[str, int]:
        return deal([name for name, *_ in own], [label for _, label, _ in own], count, str(seed))

    before, after = dealt(samples), dealt([*samples, ("new", label, "")])
    moved = [name for name in before if before[name] != after[name]]
    assert len(moved) < count
    assert all(name.startswith(f"group {label}.") for name in moved)


def test_each_repeat_has_a_deal_of_its_own() -> None:
    samples = [(f"group {number}", number % 3, "") for number in range(60)]
    tested = {frozenset(members(folds(make_data(samples), "", 5, seed)[0], "test")) for seed in range(9)}
    assert len(tested) == 9
    # Two groups are in one fold as often as by chance: 3 others of a class's 19 others, over 300 deals.
    groups, labels = [name for name, *_ in samples], [label for _, label, _ in samples]
    dealt = [deal(groups, labels, 5, str(seed)) for seed in range(300)]
    together = np.mean([one["group 0"] == one["group 3"] for one in dealt])
    assert abs(together - 3 / 19) < 4 * np.sqrt(3 / 19 * 16 / 19 / 300)


# -- divisions of the dataset ------------------------------------------------------------------------


@quick
@given(tables, st.integers(0, 2**32 - 1))
def test_each_value_of_a_division_is_a_fold(samples: list[Sample], seed: int) -> None:
    data = make_data(samples)
    divided = folds(data, "session", None, seed)
    assert fold_names(Given(data), "session", None) == ("session 0", "session 1", "session 2")
    for name, one in zip(("session 0", "session 1", "session 2"), divided, strict=True):
        assert set(one.test.units["session"]) == {name}
        assert members(one, "test") == {f"{row:04}" for row, sample in enumerate(samples) if sample[2] == name}


def test_folds_that_are_numbers_are_in_their_order() -> None:
    samples = [(f"group {number}", number % 3, f"{number % 11}") for number in range(66)]
    assert fold_names(Given(make_data(samples)), "session", None) == tuple(map(str, range(11)))


def test_the_values_of_a_division_can_be_dealt() -> None:
    samples = [(f"group {number}", number % 3, f"session {number // 6}") for number in range(60)]
    data = make_data(samples)
    assert fold_names(Given(data), "session", 4) == ("1", "2", "3", "4")
    tested = [set(one.test.units["session"]) for one in folds(data, "session", 4, seed=0)]
    assert sorted(map(len, tested)) == [2, 2, 3, 3]
    assert len(set.union(*tested)) == 10


def test_what_shares_a_group_with_the_test_part_is_never_for_training() -> None:
    # As in IEMOCAP: each dialogue is a group of two speakers.
    samples = [
        (f"dialogue {number}", label, f"speaker {2 * (number % 5) + partner}")
        for number, label, partner in product(range(40), range(3), range(2))
    ]
    data = make_data(samples)
    for one in folds(data, "session", None, seed=1):
        (speaker,) = set(one.test.units["session"])
        assert not set(one.train.groups) & set(one.test.groups)
        partner = {row for row, sample in enumerate(samples) if sample[0] in one.test.groups and sample[2] != speaker}
        assert {f"{row:04}" for row in partner} <= members(one, "validation")
        # An eighth of the 32 other dialogues, each with 6 samples, as well.
        assert len(one.validation) == len(partner) + 4 * 6
        assert one.notes[:2] == (
            "Labels are noisy.",
            "Folds by 'session' cut through groups (dialogues, texts or the like): samples that share one with the "
            "test part are for validation, never for training.",
        )


def test_caveats_are_those_of_the_folds() -> None:
    samples = [(f"group {number}", number % 3, f"session {number // 20}") for number in range(60)]
    assert folds(make_data(samples), "session", None, 0)[0].notes == ("Labels are noisy.",)
    data = make_data(samples)
    for one in folds(data, "", 5, 0):
        assert (one.notes, one.split_notes) == (("Labels are noisy.",), ())
    said = {
        part: replace(getattr(data, part), units={"speaker": getattr(data, part).units["session"]}) for part in PARTS
    }
    for one in folds(replace(data, **said), "", 5, 0):
        assert one.notes[1:] == (
            "Speakers of the test part are in the training part, too: not comparable with results for unseen speakers.",
        )


# -- inputs that are not in memory -------------------------------------------------------------------


def test_raw_and_stored_inputs_follow_their_samples() -> None:
    samples = [(f"group {number}", number % 3, "") for number in range(30)]
    values = np.arange(100, dtype=np.float32)[:, None]

    def changed(split: Split) -> Split:
        rows = np.array([int(name) for name in split.ids])
        raw = tuple(Text(f"text {row}") for row in rows)
        return replace(split, inputs={"x": raw, "y": StoredRows(values, 2 * rows)})

    data = make_data(samples)
    data = replace(
        data,
        task=replace(data.task, modalities=("x", "y")),
        **{part: changed(getattr(data, part)) for part in PARTS},
    )
    for one in folds(data, "", 3, 0):
        for part in PARTS:
            split = getattr(one, part)
            assert split.inputs["x"] == tuple(Text(f"text {int(name)}") for name in split.ids)
            assert isinstance(split.inputs["y"], StoredRows)
            assert split.inputs["y"].array is values
            assert split.inputs["y"].rows.tolist() == [2 * int(name) for name in split.ids]


def test_inputs_of_several_files_follow_their_samples() -> None:
    data = make_data([(f"group {number}", number % 3, "") for number in range(30)])

    def stored(split: Split) -> Split:
        return replace(split, inputs={"x": StoredRows(split.inputs["x"][::-1], np.arange(len(split))[::-1])})

    data = replace(data, **{part: stored(getattr(data, part)) for part in PARTS})
    for part in PARTS:
        split = getattr(folds(data, "", 3, 0)[1], part)
        assert split.inputs["x"][:, 0].tolist() == [int(name) for name in split.ids]


# -- what is refused ---------------------------------------------------------------------------------


def test_an_unknown_division_names_those_that_there_are() -> None:
    data = make_data([(f"group {number}", number % 3, f"session {number % 2}") for number in range(30)])
    with pytest.raises(UserError, match=r"folds\.by: the dataset has no division 'speaker'\. It has session\."):
        fold_names(Given(data), "speaker", None)
    without = replace(data, **{part: replace(getattr(data, part), units={}) for part in PARTS})
    with pytest.raises(UserError, match=r"no division 'speaker'\. It has none: give a number of folds\."):
        fold_names(Given(without), "speaker", 5)


def test_a_class_of_fewer_groups_than_folds_is_refused() -> None:
    samples = [(f"group {number}", number % 2, "") for number in range(30)]
    samples += [(f"rare {number // 5}", 2, "") for number in range(20)]
    data = make_data(samples)
    assert len(folds(data, "", 4, 0)) == 4
    with pytest.raises(
        UserError, match=r"folds: the class 'class 2' is in 4 groups only, fewer than the 5 folds\. Use 4"
    ):
        fold_names(Given(data), "", 5)


def test_a_class_of_one_value_of_a_division_is_refused() -> None:
    samples = [(f"group {number}", number % 3, f"session {number % 3}") for number in range(30)]
    with pytest.raises(UserError, match=r"'class 0' is in 1 session only, and cannot be learned where that is tested"):
        fold_names(Given(make_data(samples)), "session", None)


def test_a_training_part_without_a_class_is_refused() -> None:
    # The only other sample of the class shares its group with the test part.
    samples = [(f"group {number}", number % 2, f"session {number % 4}") for number in range(40)]
    samples += [("both", 2, "session 0"), ("both", 2, "session 1")]
    with pytest.raises(UserError, match=r"the fold 'session 0' has no sample of the class 'class 2'"):
        fold_names(Given(make_data(samples)), "session", None)


def test_folds_that_leave_nothing_to_train_on_are_refused() -> None:
    # As in stamps: every picture is described in every language.
    samples = [(f"picture {number}", number % 3, f"in {language}") for number in range(30) for language in ("fr", "ru")]
    with pytest.raises(UserError, match=r"folds by 'session' cut through all groups, so that nothing is left to train"):
        fold_names(Given(make_data(samples)), "session", None)

"""Splits by group."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mlabench.datasets.splits import join_groups, split_groups

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def singles(number: int) -> tuple[list[str], list[str]]:
    return [f"group {index}" for index in range(number)], ["a"] * number


def test_shares_hold_within_every_class() -> None:
    groups = [f"group {index // 3}" for index in range(900)]
    labels = ["rare" if index < 90 else "common" for index in range(900)]
    split = split_groups(groups, labels, SHARES)
    for label, total in (("rare", 90), ("common", 810)):
        sizes = Counter(split[group] for group, own in zip(groups, labels, strict=True) if own == label)
        assert all(abs(sizes[name] - share * total) <= 3 for name, share in SHARES.items())


def test_a_group_larger_than_the_smallest_split_goes_to_the_first() -> None:
    groups, labels = singles(80)
    split = split_groups([*groups, *["large"] * 20], [*labels, *["a"] * 20], SHARES)
    assert split["large"] == "train"


@given(st.permutations(range(60)))
def test_the_order_of_samples_does_not_matter(order: list[int]) -> None:
    groups = [f"group {index % 20}" for index in range(60)]
    labels = [str(index % 2) for index in range(60)]
    shuffled = split_groups([groups[i] for i in order], [labels[i] for i in order], SHARES)
    assert shuffled == split_groups(groups, labels, SHARES)


def test_new_groups_move_few_others() -> None:
    before = split_groups(*singles(500), SHARES)
    after = split_groups(*singles(520), SHARES)
    assert sum(after[group] != split for group, split in before.items()) <= 15


def test_a_group_belongs_to_its_most_frequent_class() -> None:
    groups, labels = singles(10)
    split = split_groups([*groups, "mixed", "mixed", "mixed"], [*labels, "b", "a", "b"], SHARES)
    assert split["mixed"] == "train"  # alone in class b, and larger than a tenth of it


def test_items_that_share_a_key_are_joined_also_through_others() -> None:
    keys = {"1": ["pear", "green"], "2": ["apple", "red"], "3": ["plum", "red", "green"], "4": ["melon", "round"]}
    assert join_groups(keys) == {"1": "apple", "2": "apple", "3": "apple", "4": "melon"}


def test_equal_first_keys_are_one_group() -> None:
    assert join_groups({"1": ["pear"], "2": ["pear"], "3": ["pears"]}) == {"1": "pear", "2": "pear", "3": "pears"}

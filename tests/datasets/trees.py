"""A small tree of every raw dataset, in the layout of the real one; and what fake trees are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.datasets import manifest_tree
from tests.datasets.embedded import stamps_tree
from tests.datasets.published import (
    crema_d_tree,
    food101_tree,
    grid_tree,
    iemocap_tree,
    kinetics_sounds_tree,
    mvsa_tree,
)

TREES: dict[str, Callable[[Path], Path]] = {
    "crema_d": crema_d_tree.make_tree,
    "food101": food101_tree.make_tree,
    "grid": grid_tree.make_tree,
    "iemocap": iemocap_tree.make_tree,
    "kinetics_sounds": kinetics_sounds_tree.make_tree,
    "manifest": manifest_tree.make_tree,
    "mvsa": mvsa_tree.make_tree,
    "raw_stamps": stamps_tree.make_splittable_tree,
}


def _iemocap_lists(folder: Path) -> None:
    names = sorted(name for dialogue in iemocap_tree.DIALOGUES for name, *_ in iemocap_tree.utterances(dialogue))
    iemocap_tree.write_lists(folder, names[::2], names[1::4])


#: What writes the published lists of a dataset, and their names by split.
LISTS: dict[tuple[str, str], tuple[Callable[[Path], object], tuple[str, ...]]] = {
    ("crema_d", "mla"): (crema_d_tree.write_lists, ("my_train_cre.txt", "my_test_cre.txt")),
    ("crema_d", "ogm"): (crema_d_tree.write_lists, ("train.csv", "test.csv")),
    ("kinetics_sounds", "ogm"): (kinetics_sounds_tree.write_lists, ("my_train.txt", "my_test.txt")),
    ("food101", "qmf"): (food101_tree.write_qmf_lists, ("train.jsonl", "dev.jsonl", "test.jsonl")),
    ("food101", "mla"): (food101_tree.write_mla_lists, ("my_train_food.txt", "my_test_food.txt")),
    ("mvsa", "qmf"): (mvsa_tree.write_qmf_lists, ("train.jsonl", "dev.jsonl", "test.jsonl")),
    ("mvsa", "mla"): (mvsa_tree.write_mla_lists, ("my_train_mvsa.txt", "my_test_mvsa.txt")),
    ("iemocap", "mla"): (_iemocap_lists, ("my_train_iemo.txt", "my_test_iemo.txt")),
}

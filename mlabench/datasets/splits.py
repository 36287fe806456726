"""Splits that keep groups of dependent samples together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

_Name = TypeVar("_Name", bound=str)


def split_groups(groups: Sequence[str], labels: Sequence[str], shares: Mapping[_Name, float]) -> dict[str, _Name]:
    """Assigns each group to a split, stratified by class.

    Within a class, groups stand in the order of a hash of their name and fill the splits one after
    the other, a group going where its middle sample falls; groups larger than the smallest split come
    first. There is no seed to choose, and new groups only move the few that stand at a border.
    ``groups`` and ``labels`` are those of each sample; a group belongs to its most frequent class.
    """
    sizes = Counter(groups)
    counts: dict[str, Counter[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        counts.setdefault(group, Counter())[label] += 1
    classes: dict[str, list[str]] = {}
    for group, labelled in counts.items():
        label = min(labelled, key=lambda name: (-labelled[name], name))
        classes.setdefault(label, []).append(group)
    result = {}
    for members in classes.values():
        total = sum(sizes[group] for group in members)
        smallest = min(shares.values()) * total
        hashes = {group: hashlib.sha256(group.encode()).digest() for group in members}
        before = 0
        for group in sorted(members, key=lambda name: (sizes[name] <= smallest, hashes[name])):
            middle = (before + sizes[group] / 2) / total
            before += sizes[group]
            result[group] = _split_at(middle, shares)
    return result


def _split_at(position: float, shares: Mapping[_Name, float]) -> _Name:
    *_, last = shares
    ends = zip(shares, accumulate(shares.values()), strict=True)
    return next((split for split, end in ends if position < end), last)


def join_groups(keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Groups items that share a key, directly or through others; each has one at least.

    A group is called after the alphabetically first of its members' first keys.
    """
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            key = parent[key]
        return key

    for first, *others in keys.values():
        for other in others:
            parent[find(other)] = find(first)
    members: dict[str, list[str]] = {}
    for first, *_ in keys.values():
        members.setdefault(find(first), []).append(first)
    return {item: min(members[find(own[0])]) for item, own in keys.items()}

"""Missing patterns: the properties that the protocol promises, and its rates against the definition."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlabench.errors import UserError
from mlabench.missing import Missing, missing_rate, pattern_hash, read_pattern, write_pattern

MODALITIES = ("audio", "image", "text", "depth")
PROTOCOLS = ("balanced", "independent")

some_ids = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40, unique=True)
some_modalities = st.integers(1, 4).map(lambda count: MODALITIES[:count])
some_rate = st.floats(0.01, 0.99)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(ids=some_ids, modalities=some_modalities, rate=some_rate, seed=st.integers(0, 5))
def test_every_sample_keeps_a_modality(protocol, ids, modalities, rate, seed):
    assert Missing.at(protocol, rate, seed).pattern("d", ids, modalities).any(axis=1).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(ids=some_ids, modalities=some_modalities, rates=st.tuples(some_rate, some_rate))
def test_patterns_are_nested(protocol, ids, modalities, rates):
    less, more = (Missing.at(protocol, rate).pattern("d", ids, modalities) for rate in sorted(rates))
    assert (more <= less).all(), "what is missing at the lower rate came back at the higher one"


@given(ids=some_ids, base=st.tuples(some_rate, some_rate, some_rate), factor=st.floats(0.1, 1.0))
def test_per_modality_patterns_are_nested_in_proportion(ids, base, factor):
    rates = dict(zip(MODALITIES, base, strict=False))
    more = Missing(protocol="per_modality", rates=rates).pattern("d", ids, MODALITIES[:3])
    smaller = {modality: rate * factor for modality, rate in rates.items()}
    less = Missing(protocol="per_modality", rates=smaller).pattern("d", ids, MODALITIES[:3])
    assert (more <= less).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(ids=some_ids, rate=some_rate, data=st.data())
def test_rows_do_not_depend_on_order_or_company(protocol, ids, rate, data):
    whole = dict(zip(ids, Missing.at(protocol, rate).pattern("d", ids, MODALITIES), strict=True))
    some = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    for sample, row in zip(some, Missing.at(protocol, rate).pattern("d", some, MODALITIES), strict=True):
        assert (row == whole[sample]).all()


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 0.9])
def test_balanced_rate_is_the_published_one(count, rate):
    ids = [str(number) for number in range(20_000)]
    present = Missing.at("balanced", rate).pattern("d", ids, MODALITIES[:count])
    expected = min(rate, 1 - 1 / count)
    # Cells of a row are dependent; a row's mean varies by at most 1/4, so 5 standard errors are 5 * 0.5 / sqrt(N).
    assert missing_rate(present) == pytest.approx(expected, abs=2.5 / np.sqrt(len(ids)))
    if rate >= 1 - 1 / count:
        assert (present.sum(axis=1) == 1).all()


def test_balanced_keeps_each_modality_equally_often():
    ids = [str(number) for number in range(20_000)]
    present = Missing.at("balanced", 0.7).pattern("d", ids, MODALITIES[:3])
    assert present.mean(axis=0) == pytest.approx(1 / 3, abs=5 * np.sqrt(2 / 9 / len(ids)))


def test_independent_rate_lacks_what_the_guard_gives_back():
    ids, rate, count = [str(number) for number in range(20_000)], 0.6, 3
    present = Missing.at("independent", rate).pattern("d", ids, MODALITIES[:count])
    expected = rate - rate**count / count  # a sample that would lose all keeps one of the three
    assert missing_rate(present) == pytest.approx(expected, abs=2.5 / np.sqrt(len(ids)))


def test_per_modality_touches_only_what_it_names():
    ids = [str(number) for number in range(10_000)]
    present = Missing(protocol="per_modality", rates={"image": 0.5}).pattern("d", ids, MODALITIES)
    assert present[:, [0, 2, 3]].all()
    assert present[:, 1].mean() == pytest.approx(0.5, abs=5 * 0.5 / 100)


def test_seed_and_dataset_change_the_pattern():
    ids = [str(number) for number in range(100)]
    first = Missing.at("balanced", 0.5).pattern("d", ids, MODALITIES)
    assert (first != Missing.at("balanced", 0.5, seed=1).pattern("d", ids, MODALITIES)).any()
    assert (first != Missing.at("balanced", 0.5).pattern("e", ids, MODALITIES)).any()


def test_pattern_is_the_same_everywhere():
    """A change here changes every published pattern; it must be deliberate."""

    def uniform(sample: str, what: str) -> float:
        digest = hashlib.blake2b(f"stamps\0{7}\0{what}\0{sample}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    ids, modalities = ["a", "b", "c", "d", "e"], ("audio", "image", "text")
    by_hand = []
    for sample in ids:
        row = [uniform(sample, f"modality {modality}") < (3 * 0.6 - 1) / 2 for modality in modalities]
        row[int(uniform(sample, "kept") * 3)] = True
        by_hand.append(row)
    assert Missing.at("balanced", 0.4, seed=7).pattern("stamps", ids, modalities).tolist() == by_hand


def test_rate_zero_is_complete_whatever_the_protocol():
    assert Missing.at("balanced", 0.0) == Missing.at("independent", 0.0) == Missing()


def test_subset_keeps_exactly_its_modalities():
    present = Missing(protocol="subset", keep=("image", "depth")).pattern("d", ["a", "b"], MODALITIES)
    assert present.tolist() == [[False, True, False, True]] * 2


@pytest.mark.parametrize(
    "fields",
    [
        {"protocol": "balanced", "rate": 1.0},
        {"protocol": "balanced", "rate": -0.1},
        {"protocol": "balanced"},
        {"protocol": "complete", "rate": 0.1},
        {"protocol": "per_modality", "rates": {"audio": 1.0}},
        {"protocol": "subset"},
        {"protocol": "nested", "rate": 0.1},
    ],
)
def test_nonsense_is_refused(fields):
    with pytest.raises(ValidationError):
        Missing(**fields)


def test_unknown_modality_is_named():
    with pytest.raises(UserError, match=r"'audoi'.*audio, image"):
        Missing(protocol="per_modality", rates={"audoi": 0.5}).pattern("d", ["a"], ("audio", "image"))


def test_keys_are_unique_and_readable():
    recipes = [
        Missing(),
        Missing.at("balanced", 0.3),
        Missing.at("balanced", 0.3, seed=1),
        Missing.at("independent", 0.3),
        Missing(protocol="per_modality", rates={"audio": 0.3}),
        Missing(protocol="per_modality", rates={"text": 0.3}),
        Missing(protocol="subset", keep=("audio", "text")),
    ]
    keys = [recipe.key for recipe in recipes]
    assert len(set(keys)) == len(keys)
    assert keys[1] == "balanced-0.3"
    assert keys[-1] == "subset-audio+text"


@given(
    ids=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), min_size=1, unique=True)
)
def test_pattern_survives_export_and_import(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("patterns") / "pattern.csv"
    present = Missing.at("balanced", 0.5).pattern("d", ids, MODALITIES)
    digest = write_pattern(path, ids, MODALITIES, present, {"dataset": "d"})
    assert pattern_hash(path) == digest
    recipe = Missing(protocol="file", file=str(path), sha256=digest)
    backwards = list(reversed(ids))
    assert (recipe.pattern("d", backwards, MODALITIES) == present[::-1]).all()


def test_a_changed_or_incomplete_file_is_refused(tmp_path: Path):
    path = tmp_path / "pattern.csv"
    present = Missing.at("balanced", 0.5).pattern("d", ["a", "b"], MODALITIES)
    digest = write_pattern(path, ["a", "b"], MODALITIES, present, {})
    with pytest.raises(UserError, match=r"no row for 1 of 2 samples.*'c'"):
        read_pattern(path, ["a", "c"], MODALITIES)
    with pytest.raises(UserError, match="no column 'smell'"):
        read_pattern(path, ["a"], ("smell",))
    path.write_text(path.read_text().replace("a,", "z,"))
    with pytest.raises(UserError, match="changed"):
        read_pattern(path, ["b"], MODALITIES, digest)
    path.write_text("id,audio\na,2\n")
    with pytest.raises(UserError, match="row 2"):
        read_pattern(path, ["a"], ("audio",))
    with pytest.raises(UserError, match="cannot read"):
        read_pattern(tmp_path / "absent.csv", ["a"], ("audio",))

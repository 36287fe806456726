"""MVSA-Single, from its archive's layout to listed samples."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlabench.datasets import fold_names, with_fold
from mlabench.datasets.listing import LeftOutError, Listing, RawSample
from mlabench.datasets.published.mvsa import MVSA, pair_label, read_labels, read_tweet
from mlabench.datasets.published.text_image import plain_text
from mlabench.errors import UserError
from mlabench.media import Image, Text
from mlabench.trial import Fold
from tests.datasets.published import mvsa_tree as fake

NAME = "mvsa"


def dataset(root: Path | None, **options: Any) -> MVSA:
    return MVSA(MVSA.Config(root=root, **options))


def listing(root: Path, **options: Any) -> Listing[RawSample]:
    return dataset(root, **options).listing()


def splits(found: Listing[RawSample]) -> dict[str, set[str]]:
    return {
        split: {sample.id for sample in found.samples if sample.split == split}
        for split in ("train", "validation", "test")
    }


def listed(split: str) -> set[str]:
    return {row[0] for number, row in enumerate(fake.agreeing()) if fake.split_of(number) == split}


def outcome(text: str, image: str, rule: Literal["agreeing", "polar"]) -> str:
    """The label of a pair, or in brackets why it is dropped."""
    try:
        return pair_label(text, image, rule)
    except LeftOutError as reason:
        return f"({reason})"


# Labels. The right columns were filled in by hand.
@pytest.mark.parametrize(
    ("text", "image", "agreeing", "polar"),
    [
        ("negative", "negative", "negative", "negative"),
        ("negative", "neutral", "(labels differ)", "negative"),
        ("negative", "positive", "(contradictory labels)", "(contradictory labels)"),
        ("neutral", "negative", "(labels differ)", "negative"),
        ("neutral", "neutral", "neutral", "neutral"),
        ("neutral", "positive", "(labels differ)", "positive"),
        ("positive", "negative", "(contradictory labels)", "(contradictory labels)"),
        ("positive", "neutral", "(labels differ)", "positive"),
        ("positive", "positive", "positive", "positive"),
        ("joyful", "positive", "(unknown label)", "(unknown label)"),
        ("joyful", "joyful", "(unknown label)", "(unknown label)"),
    ],
)
def test_both_label_rules(text: str, image: str, agreeing: str, polar: str) -> None:
    for rule, expected in (("agreeing", agreeing), ("polar", polar)):
        assert outcome(text, image, rule) == expected


def test_agreeing_pairs_are_samples(official: Path) -> None:
    found = listing(official)
    assert found.skipped == {"labels differ": 4, "contradictory labels": 2}
    assert [(sample.id, sample.label) for sample in found.samples] == [row[:2] for row in fake.agreeing()]
    for sample, row in zip(found.samples, fake.agreeing(), strict=True):
        text = Text(fake.tweet(*row))
        assert sample.items == {"text": text, "image": Image(official / "data" / f"{sample.id}.jpg")}


def test_a_neutral_label_yields_to_a_polar_one(official: Path) -> None:
    found = listing(official, labels="polar")
    assert found.skipped == {"contradictory labels": 2}
    assert Counter(sample.label for sample in found.samples) == {"negative": 22, "neutral": 20, "positive": 22}


def test_our_own_split_is_stratified_and_fixed(official: Path) -> None:
    found = listing(official)
    for split, size in (("train", 12), ("validation", 4), ("test", 4)):
        labels = Counter(sample.label for sample in found.samples if sample.split == split)
        assert labels == dict.fromkeys(fake.LABELS, size)
    assert listing(official).samples == found.samples


def test_tweets_of_the_same_text_are_in_one_split(tree: Path) -> None:
    for number in range(1, 31):
        (tree / "data" / f"{number}.txt").write_text(
            f"Take the QUIZ   {number % 3}" if number % 2 else f"take the quiz {number % 3}"
        )
    data = dataset(tree).load()
    groups = {split: set(getattr(data, split).groups) for split in ("train", "validation", "test")}
    assert len(groups["train"] | groups["validation"] | groups["test"]) == 33
    assert not groups["train"] & groups["validation"] | groups["test"] & (groups["train"] | groups["validation"])


def test_the_names_of_groups_show_no_text(official: Path) -> None:
    """Records name them, and tweets must not be passed on."""
    for sample in listing(official).samples:
        assert re.fullmatch("[0-9a-f]{16}", sample.group)


def test_load_gives_the_modalities_in_the_papers_order(official: Path) -> None:
    data = dataset(official).load()
    assert data.task.modalities == ("text", "image")
    assert data.task.classes == ("negative", "neutral", "positive")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [36, 12, 12]
    alone = dataset(official, modalities=["text"])
    assert dict(alone.media) == {"text": "text"}
    assert alone.load().test.ids == data.test.ids


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["same label", "mlabench's own"]),
        ({"labels": "polar"}, ["neutral label yields", "mlabench's own"]),
        ({"split": "mla", "lists": "lists"}, ["same label", "32 of its 519"]),
        ({"split": "qmf", "lists": "lists"}, ["same label"]),
    ],
)
def test_notes_say_what_the_numbers_are(official: Path, options: dict[str, str], said: list[str]) -> None:
    lists = {"lists": official.parent / options["lists"]} if "lists" in options else {}
    data = dataset(official, **options | lists).load()
    notes = data.notes + data.split_notes
    assert len(notes) == len(said)
    for note, words in zip(notes, said, strict=True):
        assert words in note


# Published lists.


def test_qmf_lists_decide_the_splits(official: Path) -> None:
    for rule in ("agreeing", "polar"):
        found = listing(official, split="qmf", lists=official.parent / "lists", labels=rule)
        assert splits(found) == {"train": listed("train"), "validation": listed("dev"), "test": listed("test")}
        assert not found.skipped


def test_mla_lists_decide_the_splits(official: Path) -> None:
    found = listing(official, split="mla", lists=official.parent / "lists")
    parts = splits(found)
    assert parts["train"] | parts["validation"] == listed("train")
    # 12 of each class: the middle of sample 0 lies at 4 %, that of sample 1 at 12.5 %.
    validation = [sample.label for sample in found.samples if sample.split == "validation"]
    assert sorted(validation) == list(fake.LABELS)
    assert parts["test"] == listed("test")


def test_listed_tweets_that_cannot_be_used_are_counted(tree: Path) -> None:
    fake.write_mla_lists(tree)
    with (tree / "my_test_mvsa.txt").open("a") as file:
        # One that has no label, one whose labels differ, and one of the training list.
        file.write(f"999.jpg positive\n{len(fake.agreeing()) + 1}.jpg positive\n1.jpg negative\n")
    found = listing(tree, split="mla")
    assert found.skipped == {"no label": 1, "labels differ": 1, "listed twice": 1}
    assert "1" not in splits(found)["test"]


@pytest.mark.parametrize("labels", ["agreeing", "polar"])
def test_the_ten_published_folds_are_a_division(official: Path, tmp_path: Path, labels: str) -> None:
    expected = fake.write_fair_folds(tmp_path / "fair")
    data = dataset(official, labels=labels, fair10=tmp_path / "fair").load()
    found = {
        name: fold
        for split in (data.train, data.validation, data.test)
        for name, fold in zip(split.ids, split.units["fair10"], strict=True)
    }
    assert len(found) == {"agreeing": 60, "polar": 64}[labels]
    assert found.items() <= expected.items()
    assert set(found.values()) == {str(fold) for fold in range(1, 11)}
    assert not dataset(official).load().test.units


def test_folds_test_on_the_published_lists(official: Path, tmp_path: Path) -> None:
    expected = fake.write_fair_folds(tmp_path / "fair")
    folded = dataset(official, labels="polar", fair10=tmp_path / "fair")
    assert fold_names(folded, "fair10", None) == tuple(map(str, range(1, 11)))
    for name in ("1", "10"):
        data = with_fold(folded.load(), Fold(by="fair10", name=name), seed=0)
        assert set(data.test.ids) == {tweet for tweet, fold in expected.items() if fold == name}
        assert not set(data.test.groups) & set(data.train.groups)
        assert data.notes == (
            "A neutral label yields to the other one of its pair (as for Xu and Mao, not as for MLA).",
        )


def test_the_fingerprint_follows_the_published_folds(official: Path, tmp_path: Path) -> None:
    fake.write_fair_folds(tmp_path / "fair")
    before = dataset(official, fair10=tmp_path / "fair").fingerprint()
    first, second = (tmp_path / "fair/splits" / f"test_{fold}.txt" for fold in (1, 2))
    lines = first.read_text(), second.read_text()
    first.write_text(lines[1])
    second.write_text(lines[0])
    assert dataset(official, fair10=tmp_path / "fair").fingerprint() != before


def test_a_tweet_that_no_published_fold_has_is_left_out(official: Path, tmp_path: Path) -> None:
    folds = fake.write_fair_folds(tmp_path / "fair")
    path = tmp_path / "fair/splits/test_1.txt"
    path.write_text(path.read_text().partition("\n")[2])
    found = listing(official, fair10=tmp_path / "fair")
    assert found.skipped["not in the published folds"] == 1
    assert next(iter(folds)) not in {sample.id for sample in found.samples}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("valid_pairlist.txt", None, r"valid_pairlist\.txt.*is not there.*fair_multimodal_sentiment.*dataset\.fair10"),
        ("splits/test_10.txt", None, r"test_10\.txt.*is not there"),
        ("valid_pairlist.txt", "1\n", r"valid_pairlist\.txt:1.*'1' is not the id of a tweet"),
        ("splits/test_3.txt", "2\n64\n", r"test_3\.txt:2.*'64' is not a number of a line.*0 to 63"),
        ("splits/test_3.txt", "2\n-1\n", r"test_3\.txt:2.*'-1' is not a number of a line"),
        ("splits/test_3.txt", "2\n0\n", r"test_3\.txt:2.*the tweet 1 is tested twice"),
    ],
)
def test_published_folds_that_cannot_be_used_are_refused(
    official: Path, tmp_path: Path, file: str, text: str | None, said: str
) -> None:
    fake.write_fair_folds(tmp_path / "fair")
    path = tmp_path / "fair" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=said):
        listing(official, fair10=tmp_path / "fair")


# Skips and folders.


def test_every_skip_is_counted_by_reason(tree: Path) -> None:
    data = tree / "data"
    (data / "1.jpg").unlink()
    (data / "2.jpg").write_bytes(b"")
    (data / "3.txt").unlink()
    (data / "4.txt").write_bytes(b" \r\n\x00")
    (data / "5.jpg").unlink()
    (data / "5.jpg").symlink_to(data / "nowhere.jpg")
    (data / "6.txt").unlink()
    (data / "6.txt").symlink_to("6.txt")
    (data / "7.txt").write_bytes(b"")
    (data / "._8.jpg").write_bytes(b"Mac OS X")
    lines = fake.rows()
    fake.write_labels(tree, [*lines, lines[8], ("5000", "joyful", "joyful"), ("5001", "neutral", "neutral")])
    found = listing(tree)
    assert found.skipped == {
        "no picture": 3,
        "empty picture file": 1,
        "no text file": 2,
        "empty text": 2,
        "listed twice": 1,
        "unknown label": 1,
        "labels differ": 4,
        "contradictory labels": 2,
    }
    assert len(found.samples) == 60 - 7


@pytest.mark.parametrize("gone", ["data", "labelResultAll.txt"])
def test_missing_parts_come_with_a_remedy(tree: Path, gone: str) -> None:
    path = tree / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        UserError, match=r"dataset\.root: .*labelResultAll\.txt not found in .*mcrlab.*--dataset clipart"
    ):
        listing(tree)


def test_a_tree_without_a_usable_tweet_says_why(tree: Path) -> None:
    for path in tree.glob("data/*.txt"):
        path.unlink()
    with pytest.raises(UserError, match=r"no sample is left for train, validation, test \(.*no text file: 60"):
        dataset(tree).load()


def test_the_fingerprint_follows_the_texts(tree: Path) -> None:
    before = dataset(tree).fingerprint()
    (tree / "data/9.txt").write_text("another text")
    assert dataset(tree).fingerprint() != before


# Files.


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain\r\n", "plain"),
        ("\u4f60\u597d caf\u00e9 \U0001f600".encode(), "\u4f60\u597d caf\u00e9 \U0001f600"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        # These stand in QMF's lists, their bytes shown as Latin-1.
        (b"#bol\xa8\xaagrafo #creative \xa1\xad", "#bol\u00edgrafo #creative \u2026"),
        (b"HILLARY STRONG \xa8C Real Aren\xa1\xaft", "HILLARY STRONG \u2013 Real Aren\u2019t"),
        ("caf\u00e9".encode("latin-1"), "caf\u00e9"),
        (b"it\x92", "it\u2019"),
        ("wide \u4f60".encode("utf-16"), "wide \u4f60"),
        (b"a &amp; b <b>c</b>", "a & b c"),
        (b"RT @me: <3 http://t.co/x \xff\x00", "RT @me: <3 http://t.co/x \u00ff"),
    ],
)
def test_tweets_of_any_encoding_are_read(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "1.txt").write_bytes(data)
    assert plain_text(read_tweet(tmp_path / "1.txt")) == expected


def test_the_label_file_may_have_a_mark_other_line_ends_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "labelResultAll.txt"
    path.write_bytes(
        b"\xef\xbb\xbfID\ttext,image\r\n1\tpositive,neutral\r\n\r\n 2\tNegative , negative \r\n2\tneutral,neutral"
    )
    skipped: Counter[str] = Counter()
    assert read_labels(path, skipped) == {"1": ("positive", "neutral"), "2": ("negative", "negative")}
    assert skipped == {"listed twice": 1}


@pytest.mark.parametrize("line", ["3", "3\tpositive", "3\tpositive,", "positive,negative", "3\tpositive negative"])
def test_a_damaged_line_is_located(tree: Path, line: str) -> None:
    (tree / "labelResultAll.txt").write_text(f"ID\ttext,image\n1\tneutral,neutral\n{line}\n")
    with pytest.raises(UserError, match=r"labelResultAll\.txt:3: this line does not read .*Unpack MVSA-Single again"):
        listing(tree)


def test_mvsa_multiple_is_recognised(tree: Path) -> None:
    pairs = "\tpositive,neutral" * 3
    (tree / "labelResultAll.txt").write_text(f"ID\ttext,image\ttext,image\ttext,image\n1{pairs}\n")
    with pytest.raises(UserError, match=r"labelResultAll\.txt:1: .*MVSA-Multiple\. Give the folder of MVSA-Single"):
        listing(tree)


@given(data=st.binary(max_size=60))
def test_no_text_file_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "tweet.txt"
    path.write_bytes(data)
    text = plain_text(read_tweet(path))
    text.encode()
    assert text == " ".join(text.split())

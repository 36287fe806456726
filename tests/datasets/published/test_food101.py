"""UPMC Food-101, from its archive's layout to listed samples."""

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mlabench.datasets.listing import Listing, RawSample
from mlabench.datasets.published.food101 import Food101, clean_title, read_titles
from mlabench.errors import UserError
from mlabench.media import Image, Text
from tests.datasets.published import food101_tree as fake

NAME = "food101"


def dataset(root: Path | None, **options: Any) -> Food101:
    return Food101(Food101.Config(root=root, **options))


def listing(root: Path, **options: Any) -> Listing[RawSample]:
    return dataset(root, **options).listing()


def splits(found: Listing[RawSample]) -> dict[str, set[str]]:
    return {
        split: {sample.id for sample in found.samples if sample.split == split}
        for split in ("train", "validation", "test")
    }


def names(rows: list[fake.Row]) -> set[str]:
    return {name.removesuffix(".jpg") for name, _, _ in rows}


def test_every_titled_picture_is_a_sample(official: Path) -> None:
    found = listing(official)
    assert not found.skipped
    expected = {
        name.removesuffix(".jpg"): (title, label) for part in fake.SIZES for name, title, label in fake.rows(part)
    }
    assert {sample.id for sample in found.samples} == set(expected)
    for sample in found.samples:
        title, label = expected[sample.id]
        text, image = sample.items["text"], sample.items["image"]
        assert isinstance(text, Text)
        assert isinstance(image, Image)
        assert (sample.label, text.value) == (label, fake.readable(title))
        part = "test" if sample.split == "test" else "train"
        assert image.path == official / "images" / part / label / f"{sample.id}.jpg"


def test_the_validation_split_is_a_stratified_part_of_the_training_folder(official: Path) -> None:
    found = listing(official)
    parts = splits(found)
    assert parts["test"] == names(fake.rows("test"))
    assert parts["train"] | parts["validation"] == names(fake.rows("train"))
    # 21 x 5,000 / 67,971 = 1.54 of each class, and the middles of samples 0 and 1 lie below that.
    labels = Counter(sample.label for sample in found.samples if sample.split == "validation")
    assert labels == dict.fromkeys(fake.CLASSES, 2)
    assert listing(official).samples == found.samples


def test_load_gives_the_modalities_in_the_papers_order(official: Path) -> None:
    data = dataset(official).load()
    assert data.task.modalities == ("text", "image")
    assert data.task.classes == fake.CLASSES
    assert [len(split) for split in (data.train, data.validation, data.test)] == [57, 6, 9]
    assert [data.task.classes[label] for label in data.test.labels] == [row[2] for row in fake.rows("test")]
    alone = dataset(official, modalities=["image"])
    assert dict(alone.media) == {"image": "image"}
    assert alone.load().train.ids == data.train.ids
    assert set(alone.load().train.inputs) == {"image"}


def test_notes_say_what_numbers_cannot_show(official: Path) -> None:
    # Two of three titles name the class: 72 samples, numbered 0 to 23 in each of three classes.
    notes = dataset(official).load().notes
    assert "The title names the class in 67% of the samples." in notes
    assert any("3 class folders; the published dataset has 101" in note for note in notes)
    assert any("MMBT" in note for note in notes)
    assert not dataset(official).load().split_notes


def test_samples_of_one_title_form_a_group(tree: Path) -> None:
    titles = tree / "texts" / "test_titles.csv"
    lines = fake.rows("test")
    lines[0] = (lines[0][0], "RECIPE 1 | Apple  Pie", lines[0][2])
    fake.write_titles(titles, lines)
    found = {sample.id: sample for sample in listing(tree).samples}
    assert found["apple_pie_1"].group == found["apple_pie_21"].group
    assert any("1 of the 9 groups" in note for note in dataset(tree).load().split_notes)


# Published lists.


def test_qmf_lists_decide_the_splits(official: Path) -> None:
    found = listing(official, split="qmf", lists=official.parent / "lists")
    train = fake.rows("train")
    parts = splits(found)
    assert parts["validation"] == names(train[:: fake.DEV_EVERY])
    assert parts["train"] == names(train) - parts["validation"]
    assert parts["test"] == names(fake.rows("test"))
    assert not found.skipped
    assert found.samples[0].items["text"] == Text(fake.readable(train[1][1]))


def test_mla_lists_decide_the_splits(official: Path) -> None:
    found = listing(official, split="mla", lists=official.parent / "lists")
    parts = splits(found)
    assert parts["train"] | parts["validation"] == names(fake.rows("train")) - names(
        fake.rows("train")[:: fake.DEV_EVERY]
    )
    # 18 of each class: the middle of sample 0 lies below 18 x 5,000 / 67,971 = 1.32, that of sample 1 above.
    assert len(parts["validation"]) == 3
    assert parts["test"] == names(fake.rows("test")[:-1])
    assert any("no validation split" in note for note in found.split_notes)


def test_texts_can_be_those_of_qmf_in_any_split(official: Path) -> None:
    for split in ("official", "qmf", "mla"):
        found = listing(official, split=split, text="qmf", lists=official.parent / "lists")
        assert not found.skipped
        texts = {sample.id: sample.items["text"] for sample in found.samples}
        assert texts["sushi_3"] == Text("sushi no 3 the best 8211 grandma 39 s")


def test_qmf_texts_need_no_csv_files(tree: Path) -> None:
    fake.write_qmf_lists(tree)
    expected = listing(tree, split="qmf", text="qmf").samples
    shutil.rmtree(tree / "texts")
    assert listing(tree, split="qmf", text="qmf").samples == expected


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "7", '{"img": 3, "label": "sushi", "text": ""}', '{"img": "a.jpg", "label": "sushi"}', "[" * 100_000],
)
def test_a_damaged_line_of_qmf_is_located(official: Path, tmp_path: Path, line: str) -> None:
    fake.write_qmf_lists(tmp_path)
    with (tmp_path / "dev.jsonl").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(UserError, match=r"dev\.jsonl:11: this line is not one of a published list"):
        listing(official, split="qmf", lists=tmp_path)


def test_a_damaged_line_of_mla_is_located(official: Path, tmp_path: Path) -> None:
    fake.write_mla_lists(tmp_path)
    (tmp_path / "my_test_food.txt").write_text("sushi_21.jpg sushi\nversion https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"my_test_food\.txt:2: "):
        listing(official, split="mla", lists=tmp_path)


# Skips.


def test_every_skip_is_counted_by_reason(tree: Path) -> None:
    pies = tree / "images" / "train" / "apple_pie"
    (pies / "apple_pie_0.jpg").unlink()
    (pies / "apple_pie_1.jpg").write_bytes(b"")
    (pies / "apple_pie_2.jpg").unlink()
    (pies / "apple_pie_2.jpg").symlink_to(pies / "nowhere.jpg")
    (pies / "apple_pie_6.jpg").unlink()
    (pies / "apple_pie_6.jpg").symlink_to("apple_pie_6.jpg")
    (pies / "apple_pie_99.jpg").write_bytes(b"no title")
    (pies / "._apple_pie_3.jpg").write_bytes(b"Mac OS X")
    (pies / "Thumbs.db").write_bytes(b"Windows")
    lines = fake.rows("train")
    lines[3] = (lines[3][0], "&nbsp; <br> \x07", lines[3][2])
    lines[4] = (lines[4][0], lines[4][1], "apple_crumble")
    lines += [lines[5], ("not a picture", "", "")]
    fake.write_titles(tree / "texts" / "train_titles.csv", lines)
    found = listing(tree)
    assert found.skipped == {
        "no picture": 3,
        "empty picture file": 1,
        "empty text": 1,
        "label without a class folder": 1,
        "listed twice": 1,
        "unreadable line of titles": 1,
        "picture without a title": 1,
    }
    assert len(found.samples) == 72 - 6


def test_a_listed_picture_without_a_title_is_skipped(tree: Path) -> None:
    fake.write_titles(tree / "texts" / "train_titles.csv", fake.rows("train")[1:])
    fake.write_mla_lists(tree)
    fake.write_qmf_lists(tree)
    assert listing(tree, split="qmf").skipped == {"no title": 1}
    assert not listing(tree, split="mla").skipped


def test_a_sample_in_both_parts_stays_in_training(tree: Path) -> None:
    pictures = tree / "images"
    shutil.copy(pictures / "train/sushi/sushi_3.jpg", pictures / "test/sushi/sushi_3.jpg")
    fake.write_titles(tree / "texts" / "test_titles.csv", [*fake.rows("test"), ("sushi_3.jpg", "Sushi", "sushi")])
    found = listing(tree)
    assert found.skipped == {"listed twice": 1}
    kept = next(sample for sample in found.samples if sample.id == "sushi_3")
    assert kept.split != "test"
    assert kept.items["text"] == Text(fake.readable(fake.rows("train")[2 * 21 + 3][1]))


# Folders.


@pytest.mark.parametrize("gone", ["images", "images/test", "texts", "texts/test_titles.csv"])
def test_missing_parts_come_with_a_remedy(tree: Path, gone: str) -> None:
    path = tree / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    looked_for = r"images/\{train,test\}/<class>/\*\.jpg" if "images" in gone else r"texts/\w+_titles\.csv"
    with pytest.raises(
        UserError, match=rf"dataset\.root: .*{looked_for} not found in .*kaggle\.com.*--dataset clipart"
    ):
        listing(tree)


def test_ten_thousand_pictures_are_listed_in_a_moment(tmp_path: Path) -> None:
    labels = [f"dish_{number:02}" for number in range(20)]
    for part, first, count in (("train", 0, 400), ("test", 400, 100)):
        lines = []
        for label in labels:
            tree = tmp_path / "images" / part / label
            tree.mkdir(parents=True)
            for number in range(first, first + count):
                (tree / f"{label}_{number}.jpg").write_bytes(b".")
                lines.append((f"{label}_{number}.jpg", f"Page {number} &amp; more of {label}", label))
        (tmp_path / "texts").mkdir(exist_ok=True)
        fake.write_titles(tmp_path / "texts" / f"{part}_titles.csv", lines)
    start = time.process_time()
    assert len(listing(tmp_path).samples) == 10_000
    assert time.process_time() - start < 3


# Titles.


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("My Apple Pie Recipe", "My Apple Pie Recipe"),
        ("Cookin&#8217; Canuck &#8211; Pie", "Cookin\u2019 Canuck \u2013 Pie"),
        ("po&#x27;boy &amp; co &raquo; x", "po'boy & co \u00bb x"),
        ("Waffles&nbsp;|&nbsp;Home", "Waffles | Home"),
        ("<b>Pie</b><!-- c --> now<br/>", "Pie now"),
        ("&lt;em&gt;Pie&lt;/em&gt;", "Pie"),
        ("I <3 pie, 2 < 3 > 1", "I <3 pie, 2 < 3 > 1"),
        (r"marini\xc3\xa8res \xe2\x80\x94 chef\'s\n\t\"pot\"", 'marini\u00e8res \u2014 chef\'s "pot"'),
        (r"jalape\xf1o", "jalape\u00f1o"),
        ("  two\n lines\r\n\tand a tab ", "two lines and a tab"),
        ("be\x00ll\x07 zero\u200bwidth soft\u00adhyphen", "bell zerowidth softhyphen"),
        ("\ud800 &#xD800; lone", "\ufffd lone"),
        ("\u5bff\u53f8 \U0001f363", "\u5bff\u53f8 \U0001f363"),
        (" &nbsp; <p> ", ""),
    ],
)
def test_titles_are_cleaned(title: str, expected: str) -> None:
    assert clean_title(title) == expected
    assert clean_title(expected) == expected


def test_titles_may_have_a_header_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "train_titles.csv"
    path.write_bytes(
        b"\xef\xbb\xbfImage_path,text,label\r\n"
        b'a_1.jpg,"Pie, with ""cream""",a\r\n'
        b"\r\n"
        b'a_2.jpg,"two\r\nlines",a\r\n'
        b"a_3.jpg,not quoted, but with commas,a\r\n"
        b"a_4.txt,mis-named,a\r\n"
        b"images/train/a/a_5.JPG,in a folder , a \r\n"
        b"a_6.jpg,caf\xe9 in Latin-1,a\r\n"
        b"a_7.jpg,caf\xc3\xa9 in UTF-8,a\r\n"
        b"a_8.jpg,a\r\n"
        b"a_9.jpg,,a"
    )
    skipped: Counter[str] = Counter()
    found = [(row.id, row.text, row.label) for row in read_titles(path, "train", skipped)]
    assert found == [
        ("a_1", 'Pie, with "cream"', "a"),
        ("a_2", "two\nlines", "a"),
        ("a_3", "not quoted, but with commas", "a"),
        ("a_4", "mis-named", "a"),
        ("a_5", "in a folder ", "a"),
        ("a_6", "caf\u00e9 in Latin-1", "a"),
        ("a_7", "caf\u00e9 in UTF-8", "a"),
        ("a_9", "", "a"),
    ]
    assert skipped == {"unreadable line of titles": 1}


def test_a_header_or_line_ends_make_no_difference(tree: Path) -> None:
    expected = listing(tree)
    for part in fake.SIZES:
        path = tree / "texts" / f"{part}_titles.csv"
        fake.write_titles(path, fake.rows(part), header=("filename", "text", "class_name"))
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert listing(tree) == expected


def test_a_title_that_swallows_the_rest_is_located(tree: Path) -> None:
    path = tree / "texts" / "train_titles.csv"
    path.write_text('sushi_0.jpg,"never closed\n' + "sushi_1.jpg,Sushi,sushi\n" * 10_000)
    with pytest.raises(UserError, match=r"train_titles\.csv:\d+: this is not CSV \(field larger than field limit"):
        listing(tree)


def test_all_three_lists_of_qmf_are_read(official: Path) -> None:
    found = dataset(official, lists=official.parent / "lists").qmf
    assert Counter(row.split for row in found) == {"train": 54, "validation": 9, "test": 9}

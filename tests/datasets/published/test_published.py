"""What holds for every dataset that is read from its published files, on small trees in their layouts."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlabench import registry
from mlabench.datasets import LeftOutError
from mlabench.datasets.published import crema_d, iemocap_files, kinetics_sounds, text_image
from mlabench.datasets.published.base import RawDataset
from mlabench.datasets.published.food101 import clean_title, read_titles
from mlabench.datasets.published.mvsa import LABELS, pair_label, read_labels
from mlabench.errors import UserError
from tests.datasets.trees import LISTS, TREES

RULES: tuple[Literal["agreeing", "polar"], ...] = ("agreeing", "polar")
MLA, QMF, OGM = "github.com/Cecile-hi", "github.com/QingyangZhang/QMF", "github.com/GeWu-Lab"


def make(name: str, root: Path | None, **options: Any) -> RawDataset:
    kind: type[RawDataset] = registry.get("datasets", name).load()
    return kind(kind.Config(root=root, **options))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Not to be changed."""
    return {name: TREES[name](tmp_path_factory.mktemp(name)) for name, _ in LISTS}


# -- where there is nothing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "looked_for", "obtain", "stand_in"),
    [
        ("crema_d", "AudioWAV/*.wav and VideoFlash/*.flv", "Clone https://github.com/Cheyney", "--dataset stamps"),
        ("kinetics_sounds", "<start>_<end>.mp4", "Run k400_downloader.sh", "--dataset stamps"),
        ("food101", "images/{train,test}/<class>/*.jpg", "kaggle.com/datasets/gianmarco96/upmc", "--dataset clipart"),
        ("grid", "s1/*.mpg", "zenodo.org/records/3625687", "--dataset stamps"),
        ("mvsa", "data/*.txt and labelResultAll.txt", "mcrlab.net", "--dataset clipart"),
        ("iemocap", "Session1/dialog/EmoEvaluation/*.txt", "https://sail.usc.edu", "--dataset stamps"),
        ("raw_stamps", "usr/share/tuxpaint", "apt-get download tuxpaint-stamps-default", "--dataset stamps"),
    ],
)
def test_without_the_data_it_says_how_to_get_them(
    name: str, looked_for: str, obtain: str, stand_in: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    places = {} if name == "raw_stamps" else {None: "no folder was given"}
    for root in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        places[root] = f"{re.escape(looked_for)}.* not found in "
    for root, place in places.items():
        message = rf"dataset\.root: the data of '{name}' are not there: .*{place}.*{re.escape(obtain)}"
        with pytest.raises(UserError, match=rf"(?s){message}.*dataset\.root=DIR.*{stand_in}"):
            make(name, root).load()


@pytest.mark.parametrize(
    ("name", "split", "missing", "source"),
    [
        ("crema_d", "mla", "my_test_cre.txt", MLA),
        ("crema_d", "ogm", "train.csv", OGM),
        ("kinetics_sounds", "ogm", "my_train.txt", OGM),
        ("kinetics_sounds", "ogm", "my_test.txt", OGM),
        ("food101", "qmf", "dev.jsonl", QMF),
        ("food101", "mla", "my_train_food.txt", MLA),
        ("mvsa", "qmf", "train.jsonl", QMF),
        ("mvsa", "mla", "my_test_mvsa.txt", MLA),
        ("iemocap", "mla", "my_test_iemo.txt", MLA),
    ],
)
def test_a_missing_list_comes_with_where_to_get_it(
    name: str, split: str, missing: str, source: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    write, names = LISTS[name, split]
    with pytest.raises(UserError, match=rf"dataset\.lists: .*{names[0]} is not in .*{source}.*dataset\.lists=DIR"):
        make(name, trees[name], split=split).load()
    write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=rf"dataset\.lists: .*{missing} is not in .*{source}.*dataset\.lists=DIR"):
        make(name, trees[name], split=split, lists=tmp_path).load()


@pytest.mark.parametrize(("name", "renamed"), [("food101", "food101"), ("mvsa", "MVSA_Single"), ("iemocap", "IEMOCAP")])
def test_the_folder_is_found_however_it_is_given(
    name: str, renamed: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / renamed).symlink_to(trees[name])
    expected = make(name, trees[name]).fingerprint()
    for root in (trees[name].parent, tmp_path, tmp_path / renamed):
        assert make(name, root).fingerprint() == expected


# -- published lists ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "split"), LISTS)
def test_lists_may_lie_beside_the_data_and_decide_the_split(
    name: str, split: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(trees[name], tmp_path / "copy"))
    LISTS[name, split][0](root)
    LISTS[name, split][0](tmp_path / "lists")
    apart = make(name, trees[name], split=split, lists=tmp_path / "lists").fingerprint()
    assert make(name, root, split=split).fingerprint() == apart != make(name, root).fingerprint()


@pytest.mark.parametrize(("name", "split"), LISTS)
def test_line_ends_blanks_and_byte_order_marks_do_not_matter(
    name: str, split: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    write, names = LISTS[name, split]
    write(tmp_path)
    before = make(name, trees[name], split=split, lists=tmp_path).fingerprint()
    for file in names:
        lines = (tmp_path / file).read_text().splitlines()
        (tmp_path / file).write_bytes(b"\xef\xbb\xbf" + "  \r\n\r\n".join([*lines, ""]).encode())
    assert make(name, trees[name], split=split, lists=tmp_path).fingerprint() == before


def _clips_of_kinetics(clips: list[kinetics_sounds.Clip]) -> None:
    assert {(clip.id, clip.label) for clip in clips} <= {("--4-0ihtnBU_000058_000068", "tickling")}


def _clips_of_crema_d(labels: dict[str, str]) -> None:
    assert labels.items() <= {"1001_DFA_ANG_XX": "Anger", "1002_DFA_SAD_XX": "Sad"}.items()


def _titles(found: list[text_image.ListLine]) -> None:
    for row in found:
        assert row.id
        text = clean_title(row.text)
        text.encode()
        assert text == " ".join(text.split())


def _in_training(found: list[text_image.ListLine]) -> None:
    assert all(row.split == "train" for row in found)


def _utterances(ids: set[str]) -> None:
    assert all(name.startswith("Ses0") for name in ids)


def _pairs(labels: dict[str, tuple[str, str]]) -> None:
    for text, image in labels.values():
        assert (text, image) == (text.lower(), image.lower())
        for rule in RULES:
            try:
                assert pair_label(text, image, rule) in LABELS
            except LeftOutError as reason:
                assert str(reason) in ("unknown label", "contradictory labels", "labels differ")


#: What reads a file, and what holds of all that it can return.
READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Any], None]]] = {
    "crema_d-mla.txt": (lambda path: crema_d.read_list(path, crema_d.PUBLISHED["mla"]), _clips_of_crema_d),
    "crema_d-ogm.txt": (lambda path: crema_d.read_list(path, crema_d.PUBLISHED["ogm"]), _clips_of_crema_d),
    "kinetics.csv": (kinetics_sounds.read_annotations, _clips_of_kinetics),
    "kinetics.txt": (kinetics_sounds.read_list, _clips_of_kinetics),
    "titles.csv": (lambda path: read_titles(path, "test", Counter()), _titles),
    "list.jsonl": (lambda path: text_image.read_list(path, "train", "the web"), _in_training),
    "list.txt": (lambda path: text_image.read_list(path, "train", "the web"), _in_training),
    "labels.txt": (lambda path: read_labels(path, Counter()), _pairs),
    "iemocap.txt": (lambda path: iemocap_files.read_list(path, "the web"), _utterances),
}
#: Lines that are right, or nearly so.
LINES = [
    *("1001_DFA_ANG_XX.flv Anger", "1002_DFA_SAD_XX,SAD", "1002_DFA_SAD_XX,ANG", "", "\r", "\ufeff"),
    *("label,youtube_id,time_start,time_end,split,is_cc", "tickling,--4-0ihtnBU,58,68,train,0", 'tickling,٣,٣,٣,"'),
    *("--4-0ihtnBU_58,10,30", 'a_1.jpg,"', "a_1.jpg,&<>x;\\,x", "sushi_7.jpg sushi", "[]", "{", '"'),
    *('{"img": "a.jpg", "label": "sushi", "text": ""}', '{"img": 3, "label": {"img": []}}', "ID\ttext,image"),
    *("1\tpositive,neutral", "2\t, ", "Ses01F_impro01_F000.mp4 [split|sign] x", "[split|sign]", "Ses01F_F0"),
]
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda lines, encoding: "\n".join(lines).encode(encoding, errors="replace"),
        st.lists(st.text(max_size=40) | st.sampled_from(LINES), max_size=5),
        st.sampled_from(["utf-8", "utf-16"]),
    ),
    st.text('a_1.jpg,"\n\r\t\\&;<>x', max_size=200).map(str.encode),
    st.text("12\t, \nIDpositve", max_size=60).map(str.encode),
    # JSON of any shape, or nearly so, with the keys of a list.
    st.recursive(
        st.none() | st.text(max_size=5),
        lambda values: st.dictionaries(st.sampled_from(["img", "label", "text", "id"]), values),
        max_leaves=6,
    ).map(lambda value: repr(value).replace("'", '"').encode(errors="surrogatepass")),
)


@pytest.mark.parametrize("name", READERS)
@given(data=CONTENTS)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    read, check = READERS[name]
    try:
        found = read(path)
    except UserError as error:
        assert error.line is not None
    else:
        check(found)


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["food101", "mvsa", "iemocap", "raw_stamps"])
def test_modalities_can_be_named_once_only(name: str) -> None:
    with pytest.raises(ValidationError, match="each modality can be named once only, got text, text"):
        make(name, None, modalities=("text", "text"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("food101", [{"modalities": ["text"]}]),
        ("mvsa", [{"labels": "polar"}, {"modalities": ["text"]}]),
        ("iemocap", [{"split": "session"}, {"merge_excited": False}, {"face": False}, {"marker_side": "right"}]),
    ],
)
def test_the_fingerprint_follows_the_options(name: str, options: list[dict[str, Any]], trees: dict[str, Path]) -> None:
    prints = {make(name, trees[name], **chosen).fingerprint() for chosen in ({}, *options)}
    assert len(prints) == 1 + len(options)

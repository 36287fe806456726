"""IEMOCAP: what is listed of a small release in the official layout, and how it is split."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlabench.datasets import fold_names, with_fold
from mlabench.datasets.listing import Listing, RawSample
from mlabench.datasets.published.iemocap import Iemocap
from mlabench.datasets.published.iemocap_files import (
    Utterance,
    is_release,
    parse_evaluations,
    parse_transcripts,
    read_list,
    session_of,
    speaker_of,
)
from mlabench.errors import UserError
from mlabench.media import Audio, Text, UnreadableError, Video
from mlabench.media.preprocessing.pictures import Picture
from mlabench.trial import Fold
from tests.datasets.published.iemocap_tree import (
    DIALOGUES,
    HEADER,
    LENGTH,
    add_dialogue,
    avi_path,
    evaluation_file,
    evaluation_path,
    make_tree,
    session_folder,
    transcription_path,
    utterances,
    video_colours,
    wav_path,
    words,
    write_lists,
    write_text,
)

LABELS = {"neu": "Neutral", "ang": "Angry", "exc": "Happy", "hap": "Happy", "sad": "Sad"}
ALL = {utterance: emotion for dialogue in DIALOGUES for utterance, emotion, _ in utterances(dialogue)}
#: The utterances in the four classes, by id.
EXPECTED = {utterance: LABELS[emotion] for utterance, emotion in ALL.items() if emotion in LABELS}
FIRST = "Ses01F_impro01_F000"


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to; see `copy`."""
    return make_tree(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture
def copy(release: Path, tmp_path: Path) -> Path:
    shutil.copytree(release, tmp_path / release.name)
    return tmp_path / release.name


def dataset(root: Path | None, **options: Any) -> Iemocap:
    return Iemocap(Iemocap.Config(root=root, **options))


def listing(root: Path | None, **options: Any) -> Listing[RawSample]:
    return dataset(root, **options).listing()


def samples(root: Path, **options: Any) -> dict[str, RawSample]:
    return {sample.id: sample for sample in listing(root, **options).samples}


def by_split(found: dict[str, RawSample], key: Callable[[str], Any] = str) -> dict[str, set[Any]]:
    result: dict[str, set[Any]] = {"train": set(), "validation": set(), "test": set()}
    for sample in found.values():
        result[sample.split].add(key(sample.id))
    return result


# What is listed


def test_utterances_of_the_four_classes_are_listed(release: Path) -> None:
    found = listing(release)
    assert [sample.id for sample in found.samples] == sorted(EXPECTED)
    assert {sample.id: sample.label for sample in found.samples} == EXPECTED
    assert found.skipped == {"label outside the classes": 10}


def test_items_lead_to_the_files(release: Path) -> None:
    sample = samples(release)["Ses02M_script01_1b_F001"]
    assert sample.group == "Ses02M_script01_1b"
    assert list(sample.items) == ["audio", "image", "text"]
    session = release / "Session2"
    assert sample.items["audio"] == Audio(session / "sentences/wav/Ses02M_script01_1b/Ses02M_script01_1b_F001.wav")
    video = session / "dialog/avi/DivX/Ses02M_script01_1b.avi"
    # The third utterance; the actor who wears the markers is M, so F is on the right.
    assert sample.items["image"] == Video(video, 1.2, 1.7, half="right", face=True)
    assert sample.items["text"] == Text("This is Ses02M_script01_1b_F001. [LAUGHTER]")


@pytest.mark.parametrize(
    ("marker_side", "utterance", "half"),
    [
        ("left", "Ses03F_impro01_F000", "left"),
        ("left", "Ses03F_impro01_M000", "right"),
        ("left", "Ses03M_script01_1b_M000", "left"),
        ("left", "Ses03M_script01_1b_F000", "right"),
        ("right", "Ses03F_impro01_F000", "right"),
        ("right", "Ses03M_script01_1b_F000", "left"),
    ],
)
def test_the_speakers_half_follows_who_wears_the_markers(
    release: Path, marker_side: str, utterance: str, half: str
) -> None:
    item = samples(release, marker_side=marker_side, face=False)[utterance].items["image"]
    assert isinstance(item, Video)
    assert (item.half, item.face) == (half, False)


def test_the_picture_of_an_utterance_is_the_speakers_in_the_middle_of_it(release: Path) -> None:
    start = {name: begin for dialogue in DIALOGUES for name, _, begin in utterances(dialogue)}
    picture = Picture(size=32)
    for name, sample in list(samples(release, face=False).items())[::9]:
        left = name[5] == name[-4]  # the one who wears the markers speaks
        colour = np.array(video_colours(sample.group)[int(start[name] + LENGTH / 2)]) // (1 if left else 2)
        values = picture(sample.items["image"])
        assert np.abs(values[:, 4:-4, 4:-4].mean(axis=(1, 2)) - colour).max() < 16


def test_a_flat_picture_has_no_face(release: Path) -> None:
    with pytest.raises(UnreadableError, match="no face"):
        Picture(size=32)(samples(release)[FIRST].items["image"])


def test_excited_utterances_can_be_left_out(release: Path) -> None:
    found = listing(release, merge_excited=False)
    assert {sample.id for sample in found.samples} == {name for name in EXPECTED if ALL[name] != "exc"}
    assert found.skipped == {"label outside the classes": 20}
    assert "Happy 10 of 595" in found.notes[0]
    assert "Happy 20 of 1,636" in listing(release).notes[0]


def test_modalities_keep_their_order_and_need_their_files_only(copy: Path) -> None:
    shutil.rmtree(copy / "Session1/dialog/avi")
    assert len(samples(copy)) == len(EXPECTED) * 4 // 5
    reordered = dataset(copy, modalities=("text", "audio"))
    assert reordered.media == {"text": "text", "audio": "audio"}
    assert len(reordered.listing().samples) == len(EXPECTED)
    assert list(samples(copy, modalities=("text",))[FIRST].items) == ["text"]


def test_load_gives_labels_groups_and_items(release: Path) -> None:
    data = dataset(release).load()
    assert data.task.modalities == ("audio", "image", "text")
    assert data.task.classes == ("Angry", "Happy", "Neutral", "Sad")
    assert data.skipped == {"label outside the classes": 10}
    for split in (data.train, data.validation, data.test):
        assert [data.task.classes[label] for label in split.labels] == [EXPECTED[name] for name in split.ids]
        assert [name.rpartition("_")[0] for name in split.ids] == list(split.groups)
        items = split.inputs["text"]
        assert list(items) == [Text(" ".join(words(name).split())) for name in split.ids]


# What is skipped


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:44])


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("file", "damage", "skipped"),
    [
        (lambda root: wav_path(root, FIRST), remove, {"no recording": 1}),
        (lambda root: wav_path(root, FIRST), dangle, {"no recording": 1}),
        (lambda root: wav_path(root, FIRST), empty, {"empty recording": 1}),
        (lambda root: wav_path(root, FIRST), header_only, {"empty recording": 1}),
        (lambda root: avi_path(root, "Ses01F_impro01"), remove, {"no video": 7}),
        (lambda root: avi_path(root, "Ses01F_impro01"), empty, {"empty video": 7}),
        (lambda root: transcription_path(root, "Ses01F_impro01"), remove, {"no transcript": 7}),
        (lambda root: transcription_path(root, "Ses01F_impro01"), empty, {"no transcript": 7}),
        (lambda root: evaluation_path(root, "Ses01F_impro01"), remove, {"utterance without evaluation": 8}),
    ],
)
def test_what_is_damaged_is_skipped_and_counted(
    copy: Path, file: Callable[[Path], Path], damage: Callable[[Path], None], skipped: dict[str, int]
) -> None:
    damage(file(copy))
    found = listing(copy)
    # The evaluations of a dialogue hold one utterance outside the classes.
    outside = 9 if "utterance without evaluation" in skipped else 10
    assert found.skipped == {"label outside the classes": outside, **skipped}
    lost = sum(skipped.values()) - (10 - outside)
    assert len(found.samples) == len(EXPECTED) - lost
    assert any("Not the samples of the full release" in note for note in found.notes)


def test_an_empty_transcript_is_skipped(copy: Path) -> None:
    path = transcription_path(copy, "Ses01F_impro01")
    text = path.read_text()
    write_text(path, text.replace(words(FIRST), "  \t"))
    assert listing(copy).skipped["empty transcript"] == 1


def test_an_utterance_without_duration_has_no_picture(copy: Path) -> None:
    path = evaluation_path(copy, "Ses01F_impro01")
    write_text(path, path.read_text().replace("[0.0000 - 0.5000]", "[0.5000 - 0.5000]"))
    assert listing(copy).skipped["utterance without duration"] == 1
    assert FIRST in samples(copy, modalities=("audio", "text"))


def test_of_two_evaluations_the_first_counts(copy: Path) -> None:
    lines = [(FIRST, "sad", 0.0)]
    write_text(evaluation_path(copy, "Ses01F_impro99"), evaluation_file(lines))
    found = listing(copy)
    assert found.skipped == {"label outside the classes": 10, "evaluated twice": 1}
    assert {sample.id: sample.label for sample in found.samples} == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_of_text_files(copy: Path, encoding: str, line_end: str) -> None:
    for path in (evaluation_path(copy, "Ses01F_impro01"), transcription_path(copy, "Ses01F_impro01")):
        text = path.read_text().replace(words(FIRST), "It’s a café").replace("\n", line_end)
        write_text(path, text, encoding)
    found = samples(copy)
    assert found.keys() == EXPECTED.keys()
    assert found[FIRST].items["text"] == Text("It’s a café")


# Splits


def test_the_random_split_is_stratified_and_fixed(release: Path) -> None:
    test = by_split(samples(release))["test"]
    for label, total in Counter(EXPECTED.values()).items():
        # Within a class, the last fifth in the order of the hashes: it must never change.
        names = [name for name in EXPECTED if EXPECTED[name] == label]
        names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
        assert test & set(names) == set(names[-total // 5 :])


def test_the_random_split_does_with_some_sessions(copy: Path) -> None:
    for number in (2, 4, 5):
        shutil.rmtree(copy / f"Session{number}")
    found = samples(copy)
    assert {session_of(name) for name in found} == {1, 3}
    assert all(by_split(found).values())


def test_folds_can_follow_sessions_and_speakers(release: Path) -> None:
    for name, sample in samples(release).items():
        assert sample.units["session"] == f"Ses{session_of(name):02}"
        # Ses01F_impro01_M003: session 1, and the man speaks.
        assert sample.units["speaker"] == name[:5] + name.split("_")[-1][0]


def test_a_speakers_partner_is_never_for_training(release: Path) -> None:
    data = dataset(release).load()
    assert fold_names(dataset(release), "session", None) == ("Ses01", "Ses02", "Ses03", "Ses04", "Ses05")
    woman = with_fold(data, Fold(by="speaker", name="Ses03F"), seed=0)
    assert {speaker_of(name) for name in woman.test.ids} == {"Ses03F"}
    assert not any(session_of(name) == 3 for name in woman.train.ids)
    partner = {name for name in samples(release) if speaker_of(name) == "Ses03M"}
    assert partner <= set(woman.validation.ids)


@pytest.mark.parametrize("fold", range(1, 6))
def test_leaving_out_a_session(release: Path, fold: int) -> None:
    found = samples(release, split="session", fold=fold)
    assert found.keys() == EXPECTED.keys()
    sessions = by_split(found, session_of)
    following = {1: 2, 2: 3, 3: 4, 4: 5, 5: 1}[fold]
    assert sessions == {"test": {fold}, "validation": {following}, "train": {1, 2, 3, 4, 5} - {fold, following}}
    speakers = by_split(found, speaker_of)
    assert not speakers["test"] & (speakers["train"] | speakers["validation"])
    assert all("speaker" not in note for note in dataset(release, split="session", fold=fold).load().split_notes)


@pytest.mark.parametrize(
    ("fold", "tested", "partner"),
    [(1, "Ses01F", "Ses01M"), (2, "Ses01M", "Ses01F"), (3, "Ses02F", "Ses02M"), (10, "Ses05M", "Ses05F")],
)
def test_leaving_out_a_speaker(release: Path, fold: int, tested: str, partner: str) -> None:
    found = samples(release, split="speaker", fold=fold)
    assert found.keys() == EXPECTED.keys()
    everybody = {f"Ses{number:02}{letter}" for number in range(1, 6) for letter in "FM"}
    assert by_split(found, speaker_of) == {
        "test": {tested},
        "validation": {partner},
        "train": everybody - {tested, partner},
    }


def test_every_speaker_is_tested_once(release: Path) -> None:
    tested = [
        speaker
        for fold in range(1, 11)
        for speaker in by_split(samples(release, split="speaker", fold=fold), speaker_of)["test"]
    ]
    assert sorted(tested) == sorted({speaker_of(name) for name in EXPECTED})


@pytest.mark.parametrize("split", ["session", "speaker"])
def test_folds_need_all_sessions(copy: Path, split: str) -> None:
    shutil.rmtree(copy / "Session3")
    with pytest.raises(UserError, match=rf"split '{split}' needs all five sessions.*in Session3\..*random"):
        listing(copy, split=split, fold=1)


@pytest.mark.parametrize(
    ("split", "fold"), [("session", 6), ("speaker", 11), ("random", 2), ("mla", 2), ("session", 0)]
)
def test_a_fold_that_does_not_exist_is_refused(split: str, fold: int) -> None:
    with pytest.raises(ValidationError, match="fold"):
        Iemocap.Config(split=split, fold=fold)


def test_dependence_between_splits_is_noted(release: Path) -> None:
    speakers = by_split(samples(release), speaker_of)
    tested, known = speakers["test"], speakers["train"] | speakers["validation"]
    notes = dataset(release).load().split_notes
    assert any(f"{len(tested & known)} of the {len(tested)} speakers of the test split" in note for note in notes)
    assert any("groups (speakers, dialogues, texts or the like) of the test split" in note for note in notes)


# MLA's lists


def test_the_lists_of_mla_decide_the_split(release: Path, tmp_path: Path) -> None:
    names = sorted(EXPECTED)
    test, train = names[::5], names[1::5] + names[2::5] + names[3::5]
    folder = write_lists(tmp_path, train, test)
    found = samples(release, split="mla", lists=folder)
    assert by_split(found) == {"train": set(train), "test": set(test), "validation": set(names[4::5])}


def test_what_only_the_lists_have_is_counted(release: Path, tmp_path: Path) -> None:
    names = sorted(EXPECTED)
    folder = write_lists(tmp_path, [*names[:40], "Ses01F_impro77_F000"], names[40:50])
    found = listing(release, split="mla", lists=folder)
    assert found.skipped == {"label outside the classes": 10, "in MLA's lists only": 1}


def test_lists_that_overlap_are_refused(release: Path, tmp_path: Path) -> None:
    folder = write_lists(tmp_path, [FIRST], [FIRST])
    with pytest.raises(UserError, match=f"1 utterances are in both lists, e.g. {FIRST}"):
        listing(release, split="mla", lists=folder)


def test_a_damaged_list_names_the_line(release: Path, tmp_path: Path) -> None:
    folder = write_lists(tmp_path, [FIRST, FIRST], [FIRST])
    path = folder / "my_train_iemo.txt"
    write_text(path, path.read_text() + "\nSes01F_impro01_F001.mp4 Yes. Neutral")
    with pytest.raises(UserError, match=r"my_train_iemo\.txt:3: not a line of the form"):
        listing(release, split="mla", lists=folder)


# No data


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a{300}/Session1/dialog/EmoEvaluation: cannot be read \(File name too long"):
        listing(tmp_path / ("a" * 300))


def test_a_release_without_a_single_complete_utterance_is_explained(copy: Path) -> None:
    for session in copy.iterdir():
        shutil.rmtree(session / "sentences")
    with pytest.raises(UserError, match=r"no sample is left for train, validation, test \(.*no recording: 70"):
        dataset(copy).load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_text_file_is_named(copy: Path) -> None:
    path = evaluation_path(copy, "Ses01F_impro01")
    path.chmod(0)
    with pytest.raises(UserError, match=r"Ses01F_impro01\.txt: cannot be read \(Permission denied"):
        listing(copy)


# Parsers


def test_an_evaluation_file_as_in_the_release() -> None:
    text = (
        f"{HEADER}[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
        "[10.0100 - 11.3925]\tSes05M_script01_1b_MXX1\txxx\t[2.5000, 3.0000, 3.0000]\n"
    )
    assert parse_evaluations(text) == [
        Utterance("Ses01F_impro01_F000", "Ses01F_impro01", "F", "F", 6.2901, 8.2357, "neu"),
        Utterance("Ses05M_script01_1b_MXX1", "Ses05M_script01_1b", "M", "M", 10.01, 11.3925, "xxx"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "[6.2901 - 8.2357]\tSes01F_impro01\tneu\t[2.5, 2.5, 2.5]",  # a dialogue
        "[6.2901 - 8.2357]\tSes07F_impro01_F000\tneu\t[2.5, 2.5, 2.5]",  # no such session
        "[6.2901 - 8.2357]\tSes01F_impro01_X000\tneu\t[2.5, 2.5, 2.5]",  # no such actor
        "[nan - inf]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]",
        "[6.2901]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]",
        "[6.2901 - 8.2357]\tSes01F_impro01_F000",
        "Ses01F_impro01_F000\tneu",
    ],
)
def test_lines_that_are_no_evaluations_are_passed_over(line: str) -> None:
    assert parse_evaluations(line) == []


def test_a_transcription_file_as_in_the_release() -> None:
    text = (
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
        "M: Yeah.\n"
        "Ses01F_impro01_M001 [014.8872-018.0175]: Is there  a problem?  [LAUGHTER] [a: b]\n"
        "Ses01F_impro01_M002: no times\n"
        "Ses01F_impro01_F000 [006.2901-008.2357]: Again.\n"
        "Ses01F_impro01_F004 [020.0000-021.0000]:\n"
        "[LAUGHTER]\n"
    )
    assert parse_transcripts(text) == {
        "Ses01F_impro01_F000": "Excuse me.",
        "Ses01F_impro01_M001": "Is there a problem? [LAUGHTER] [a: b]",
        "Ses01F_impro01_F004": "",
    }


def test_sessions_and_speakers_are_read_off_the_ids() -> None:
    assert (session_of("Ses05F_script01_1b_M012"), speaker_of("Ses05F_script01_1b_M012")) == (5, "Ses05M")


#: Random text, and what is nearly right.
_BRACKETS = ["[", "]", "[split|sign]", "-", ":", ".", "%", " ", "\t", "\n", "\r", "\0", "\u2028"]
_WORDS = ["6.29", "9" * 30, "٣", "neu", "Ses01F", "_F0", "Ses01F_impro01_F000", ".mp4"]
_PIECES = st.sampled_from(_BRACKETS + _WORDS)
_TEXTS = st.one_of(st.text(max_size=80), st.lists(_PIECES, max_size=12).map("".join))


@given(_TEXTS)
def test_no_text_breaks_the_parsers(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    for utterance in parse_evaluations(text):
        assert 0 <= utterance.start < 1e6
        assert utterance.id.startswith(f"{utterance.dialogue}_{utterance.speaker}")
    for utterance, said in parse_transcripts(text).items():
        assert utterance.startswith("Ses0")
        assert said == said.strip()
    try:
        path = tmp_path_factory.getbasetemp() / "list.txt"
        path.write_text(text, encoding="utf-8", errors="replace")
        ids = read_list(path, "the web")
    except UserError as error:
        assert error.line is not None
    else:
        assert all(name.startswith("Ses0") for name in ids)


_ROWS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from("FM"),
        st.sampled_from(["impro01", "script03_2", "impro08b"]),
        st.sampled_from("FM"),
        st.integers(0, 999),
        st.sampled_from(["neu", "hap", "xxx"]),
        st.integers(0, 5000),
    ),
    max_size=8,
)


@given(_ROWS)
def test_what_is_written_in_the_official_form_is_read_back(
    rows: list[tuple[int, str, str, str, int, str, int]],
) -> None:
    lines = [
        (f"Ses{session:02}{marked}_{part}_{speaker}{number:03}", emotion, tenths / 10)
        for session, marked, part, speaker, number, emotion, tenths in rows
    ]
    found = parse_evaluations(evaluation_file(lines))
    assert [(one.id, one.emotion, one.start) for one in found] == lines
    assert [(one.marked, one.speaker) for one in found] == [(row[1], row[3]) for row in rows]
    assert [one.end - one.start for one in found] == pytest.approx([LENGTH] * len(rows))


def test_a_very_long_line_is_read_quickly() -> None:
    text = "[1.0 - 2.0]\tSes01F" + "_F0" * 100_000
    assert parse_evaluations(text) == []
    assert parse_transcripts(text + " [") == {}


def test_a_dialogue_that_the_release_does_not_have_is_no_trouble(copy: Path) -> None:
    add_dialogue(copy, "Ses03M_impro08b", sound=False)
    assert session_folder(copy, "Ses03M_impro08b").name == "Session3"
    assert len(samples(copy)) == len(EXPECTED) + 7


def test_a_folder_without_evaluations_is_not_a_release(tmp_path: Path) -> None:
    (tmp_path / "Session1/dialog/EmoEvaluation").mkdir(parents=True)
    assert not is_release(tmp_path)

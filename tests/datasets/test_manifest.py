"""Your own data: what a table says is what is loaded, and each of its mistakes is named."""

import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import save_file

from mlabench.datasets import Data, Inventory
from mlabench.datasets.manifest.dataset import Manifest
from mlabench.datasets.manifest.table import read_table
from mlabench.errors import UserError
from mlabench.media import Audio, Image, Text, Video
from mlabench.registry import Entry
from tests.datasets.manifest_tree import MODALITIES, SHAPE, Rows, gaze, make_rows, make_tree, write_csv, write_parquet

TEXT = {"caption": "text"}
COLUMNS = ("id", "label", "split", "group", *MODALITIES)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("root"))


def manifest(file: Path, modalities: dict[str, str], **options: Any) -> Manifest:
    return Manifest(Manifest.Config(file=file, modalities=modalities, **options))


def load(rows: Rows, path: Path, modalities: dict[str, str] | None = None, **options: Any) -> Data:
    return manifest(write_csv(path / "table.csv", rows), modalities or TEXT, **options).load()


def ids(data: Data) -> dict[str, tuple[str, ...]]:
    return {name: getattr(data, name).ids for name in ("train", "validation", "test")}


def test_everything_that_the_table_says_is_loaded(tree: Path) -> None:
    data = manifest(tree / "table.csv", MODALITIES).load()
    assert data.task.modalities == ("caption", "clip", "gaze", "photo", "speech")
    assert data.task.classes == ("bad", "good")
    assert data.task.shapes == {"gaze": SHAPE}
    assert ids(data)["validation"] == tuple(f"{number:03}" for number in range(6, 12))
    split = data.test
    assert split.groups == tuple(f"speaker {number // 2}" for number in range(12, 18))
    assert split.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert split.inputs["photo"][0] == Image(tree / "photos/012 a.jpg")
    assert split.inputs["clip"][1] == Video(tree / "clips/013.mp4")
    assert split.inputs["speech"][5] == Audio(tree / "speech/017.wav")
    assert split.inputs["caption"][2] == Text('Sample 14, "quoted"; naïve\nand long')
    features = split.inputs["gaze"]
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, np.stack([gaze(number) for number in range(12, 18)]))
    assert (data.notes, data.skipped) == ((), {})


def test_media_are_known_without_any_file() -> None:
    media = manifest(Path("nowhere.csv"), MODALITIES).media
    assert media == MODALITIES
    assert list(media) == sorted(MODALITIES)


def test_a_listing_reads_no_media(tree: Path, tmp_path: Path) -> None:
    rows = make_rows()
    for row in rows:
        for column in ("photo", "speech"):
            (tmp_path / row[column]).parent.mkdir(exist_ok=True)
            (tmp_path / row[column]).write_bytes(b"not a picture, nor a sound")
    data = load(rows, tmp_path, {"photo": "image", "speech": "audio"})
    assert len(data.train) == 6


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_the_same_in_every_dialect(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    rows = make_rows()
    table = read_table(write_csv(tmp_path / "a.csv", rows, delimiter, encoding, end), COLUMNS)
    assert table.columns == tuple(rows[0])
    assert table.rows == rows
    assert list(table.lines[:3]) == [2, 4, 6]  # a caption has two lines


def test_blanks_around_cells_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\nid , label\n\n a , 1 \n\n\n b,2\n")
    table = read_table(path, ("id", "label"))
    assert table.rows == [{"id": "a", "label": "1"}, {"id": "b", "label": "2"}]
    assert list(table.lines) == [4, 7]


def test_ids_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [row | {"id": f"00{number}"} for number, row in enumerate(make_rows())]
    assert load(rows, tmp_path).train.ids[:2] == ("000", "001")


def test_numbers_in_parquet_become_text_and_nothing_becomes_empty(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "label": 1.5, "caption": None, "note": b"raw"},
        {"id": 8, "label": float("nan"), "caption": " a "},
    ]
    table = read_table(write_parquet(tmp_path / "a.parquet", rows), ("id", "label", "caption"))
    assert table.rows == [{"id": "7", "label": "1.5", "caption": ""}, {"id": "8", "label": "", "caption": "a"}]


#: Without what decoding normalises: line ends, NUL, and blanks at both ends.
cells = st.text(st.characters(exclude_characters="\r\0", exclude_categories=("Cs",)), max_size=12).map(str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tables_of_any_text_are_the_same_as_csv_and_as_parquet(
    tmp_path: Path, content: list[tuple[str, str, str]], delimiter: str, end: str
) -> None:
    rows = [{"id": str(number), "x": x, "y": y, "z": z} for number, (x, y, z) in enumerate(content)]
    as_text = read_table(write_csv(tmp_path / "a.csv", rows, delimiter, end=end), rows[0])
    as_parquet = read_table(write_parquet(tmp_path / "a.parquet", rows), rows[0])
    assert as_text.rows == as_parquet.rows == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([b"", b"id,label,caption\n", b"\xff\xfe", b"PAR1", b'a;b\n"']))
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_random_bytes_are_a_table_or_a_clear_mistake(tmp_path: Path, suffix: str, data: bytes, start: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(start + data)
    try:
        table = read_table(path, ("id", "label", "caption"))
    except UserError as error:
        assert error.file == str(path)
        assert error.problem
    else:
        assert table.rows
        assert len(table.rows) == len(table.lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_parquet_file_is_a_clear_mistake_or_reads(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(write_parquet(tmp_path / "whole.parquet", make_rows()).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "a.parquet").write_bytes(content)
    try:
        table = read_table(tmp_path / "a.parquet", COLUMNS)
    except UserError as error:
        assert error.file
    else:
        assert table.rows


# --- mistakes in the table


def changed(number: int, **cells: str) -> Callable[[Rows], Rows]:
    return lambda rows: [row | cells if at == number else row for at, row in enumerate(rows)]


def without(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{name: cell for name, cell in row.items() if name != column} for row in rows]


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (without("id"), None, r"has no column 'id' \(it has label, split, .*Add it: every sample needs its id"),
        (without("label"), None, r"has no column 'label'.*every sample needs its label"),
        (without("caption"), None, r"dataset.modalities.caption: has no column 'caption'.*Add it\."),
        (
            changed(2, split="trian"),
            6,
            r"split: unknown split 'trian'. Known: train, validation \(or val, dev\) and test",
        ),
        (changed(2, split=""), 6, "split: unknown split ''"),
        (changed(3, id="001"), 8, "id: the id '001' is that of line 4 already. Give each sample its own"),
        (changed(3, id=" "), 8, "id: the cell is empty. Fill it in, or remove the row"),
        (changed(17, label=""), 36, "label: the cell is empty"),
        (
            lambda rows: [row | {"label": "good"} for row in rows],
            2,
            "label: all rows have the same label. There must be",
        ),
        (lambda rows: rows[:12], None, "split: no sample for test among 6 groups. Add a column 'split'"),
        (lambda rows: rows[6:], None, "split: no sample for train"),
    ],
)
def test_a_mistake_in_the_table_is_shown_with_its_place(
    tmp_path: Path, change: Callable[[Rows], Rows], line: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(change(make_rows()), tmp_path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "table.csv"), line)
    assert caught.value.remedy


def test_parquet_has_rows_instead_of_lines(tmp_path: Path) -> None:
    rows = changed(3, id="001")(make_rows())
    with pytest.raises(UserError, match=r"id: row 4: the id '001' is that of row 2 already"):
        manifest(write_parquet(tmp_path / "a.parquet", rows), TEXT).load()
    images = [{"id": "1", "label": "a", "caption": {"bytes": b""}}]
    with pytest.raises(UserError, match=r"caption: row 1: holds dict, not text or a number"):
        manifest(write_parquet(tmp_path / "a.parquet", images), TEXT).load()


def test_a_column_that_is_nearly_there_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'caption'"):
        load(make_rows(), tmp_path, {"captions": "text"})


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "holds no row below"),
        (b"id,label\n", None, "holds no row below"),
        (b"id,label\na,1\nb\n", 3, "has 1 cells, where the first line names 2 columns. Put cells"),
        (b"id,label\na,b,c\n", 2, "has 3 cells, where the first line names 2"),
        (b'id,label\na,1\nb,"2\nc,3\n', 3, "is not well-formed CSV .* Double the quotes"),
        (b'id,label\na,"b"c\n', 2, "is not well-formed CSV"),
        (b"id,label,id\na,1,b\n", 1, "has more than one column 'id'"),
        (b"PK\x03\x04\x00\x00", None, "is not a text table. Export it as CSV in UTF-8, or as Parquet"),
        ("id,label\na,1\n".encode("utf-16-le"), None, "is not a text table"),
        (b"PAR1 and no more", None, "is not readable as Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, line: int | None, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_table(path, ("id", "label"))
    assert (caught.value.file, caught.value.line) == (str(path), line)


@pytest.mark.parametrize("name", ["missing.csv", ".", "a\0b", "x" * 5000])
def test_a_table_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(.*\)\. Name a CSV, TSV or Parquet file"):
        read_table(tmp_path / name, ())


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", make_rows())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs the package 'pyarrow'.*pip install"):
        read_table(path, ())


# --- splits


@pytest.mark.parametrize("name", ["val", "dev", "Validation", "VAL"])
def test_the_validation_split_has_other_names(tmp_path: Path, name: str) -> None:
    rows = [row | {"split": name if row["split"] == "validation" else row["split"]} for row in make_rows()]
    assert len(load(rows, tmp_path).validation) == 6


def test_without_splits_groups_are_split_by_class(tmp_path: Path) -> None:
    rows = without("split")([row | {"group": f"{number // 4}"} for number, row in enumerate(make_rows(200))])
    data = load(rows, tmp_path)
    sizes = {name: len(own) for name, own in ids(data).items()}
    for name, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
        assert abs(sizes[name] - share * 600) <= 8
        assert abs(getattr(data, name).labels.mean() - 0.5) < 0.01
    groups = [set(getattr(data, name).groups) for name in sizes]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 150
    note = "The table names no splits: 70 % of the samples are for training, 10 % for validation."
    assert data.split_notes == (note,)
    again = load(rows[::-1], tmp_path / "again")
    assert {name: set(own) for name, own in ids(data).items()} == {name: set(own) for name, own in ids(again).items()}


def test_without_validation_rows_a_tenth_of_training_serves(tmp_path: Path) -> None:
    rows = [row for row in make_rows(200) if row["split"] != "validation"]
    data = load(rows, tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 200)
    assert not set(data.train.groups) & set(data.validation.groups)
    assert data.test.ids == tuple(row["id"] for row in rows if row["split"] == "test")
    assert data.split_notes == ("The table names no validation split: a tenth of its training samples serves.",)


def test_too_few_groups_cannot_be_split(tmp_path: Path) -> None:
    rows = without("split")([row | {"group": row["label"]} for row in make_rows()])
    with pytest.raises(UserError, match=r"no sample for validation among 2 groups. Add a column 'split'"):
        load(rows, tmp_path)


def test_without_groups_each_sample_is_its_own(tmp_path: Path) -> None:
    data = load(without("group")(make_rows()), tmp_path)
    assert data.train.groups == data.train.ids
    assert load(changed(1, group="")(make_rows()), tmp_path).train.groups[:3] == ("speaker 0", "001", "speaker 1")


def test_groups_in_training_and_test_are_noted(tmp_path: Path) -> None:
    (note,) = load(changed(17, group="speaker 0")(make_rows()), tmp_path).split_notes
    assert note.startswith("1 of the 4 groups")


# --- units of folds


def test_a_column_fold_and_chosen_columns_are_units(tmp_path: Path) -> None:
    rows = [row | {"fold": f"{number % 3}", "place": f"room {number % 2}"} for number, row in enumerate(make_rows())]
    assert load(rows, tmp_path).test.units == {"fold": ("0", "1", "2", "0", "1", "2")}
    rooms = ("room 0", "room 1") * 3
    chosen = load(rows, tmp_path, units=["place", "group"]).test
    assert chosen.units == {"fold": ("0", "1", "2") * 2, "place": rooms, "group": chosen.groups}
    assert not load(make_rows(), tmp_path).test.units


def test_the_fingerprint_follows_the_units_that_are_used(tmp_path: Path) -> None:
    def fingerprint(fold: str, place: str, **options: Any) -> str:
        rows = [row | {"fold": fold, "place": place} for row in make_rows()]
        return manifest(write_csv(tmp_path / "table.csv", rows), TEXT, **options).fingerprint()

    assert fingerprint("1", "here") == fingerprint("1", "there")
    assert fingerprint("1", "here") != fingerprint("2", "here")
    assert fingerprint("1", "here", units=["place"]) != fingerprint("1", "there", units=["place"])


def test_units_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.units: has no column 'studio'.*leave it out"):
        load(make_rows(), tmp_path, units=["studio"])
    with pytest.raises(UserError, match=r"table\.csv:.*fold: the cell is empty"):
        load([row | {"fold": ""} for row in make_rows()], tmp_path)
    with pytest.raises(ValidationError, match="'fold' is not a valid modality"):
        Manifest.Config(file=tmp_path, modalities={"fold": "text"})


# --- files that are not there


def test_samples_without_a_modality_are_left_out_and_counted(tree: Path) -> None:
    rows = make_rows()
    rows[0]["speech"] = rows[1]["speech"] = rows[2]["caption"] = ""
    rows[7]["photo"] = "photos/none.jpg"
    write_csv(tree / "gaps.csv", rows)
    data = manifest(tree / "gaps.csv", MODALITIES).load()
    assert data.skipped == {"no speech": 2, "no caption": 1, "photo file not found": 1}
    assert data.train.ids == ("003", "004", "005")
    assert "007" not in data.validation.ids
    np.testing.assert_array_equal(data.train.inputs["gaze"], np.stack([gaze(number) for number in (3, 4, 5)]))


def test_many_files_that_are_not_there_are_a_mistake(tree: Path, tmp_path: Path) -> None:
    rows = changed(4, photo="none.jpg")(changed(1, photo="photos")(make_rows()))  # a folder is no picture
    write_csv(tree / "wrong.csv", rows)
    with pytest.raises(
        UserError, match=r"photo: 2 of the 18 files .*photos, .*none\.jpg\. .*dataset\.folder"
    ) as caught:
        manifest(tree / "wrong.csv", {"photo": "image"}).load()
    assert caught.value.line == 4
    with pytest.raises(UserError, match=r"18 of the 18 files .*, \.\.\.\. Correct them"):
        load(make_rows(), tmp_path, {"photo": "image"})


@pytest.mark.parametrize("name", ["a\tb" * 2000, "/proc/self/mem/x", "~/x", "\ud7ff"])
def test_what_no_path_can_be_is_not_there(tree: Path, name: str) -> None:
    rows = changed(0, photo=name)(make_rows())
    write_csv(tree / "odd.csv", rows)
    assert manifest(tree / "odd.csv", {"photo": "image"}).load().skipped == {"photo file not found": 1}


def test_paths_may_start_elsewhere_and_be_absolute(tree: Path, tmp_path: Path) -> None:
    rows = changed(0, photo=str(tree / "photos/001 a.jpg"))(make_rows())
    rows[1]["photo"] = f"../{tree.name}/photos/000 a.jpg"
    data = load(rows, tmp_path, {"photo": "image"}, folder=tree)
    paths = [item.path for item in data.train.inputs["photo"]]
    assert paths[0] == tree / "photos/001 a.jpg"
    assert paths[1].samefile(tree / "photos/000 a.jpg")
    assert paths[2] == tree / "photos/002 a.jpg"


def test_a_folder_of_frames_is_a_video(tree: Path) -> None:
    write_csv(tree / "frames.csv", changed(0, clip="photos")(make_rows()))
    data = manifest(tree / "frames.csv", {"clip": "video"}).load()
    assert data.train.inputs["clip"][0] == Video(tree / "photos")


# --- features


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


WRITERS = {".npz": write_npz, ".safetensors": lambda path, arrays: save_file(arrays, path)}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_features_are_what_was_written(tmp_path: Path, suffix: str, kind: type) -> None:
    values = {name: np.random.default_rng(1).normal(size=(18, *shape)).astype(kind) for name, shape in SHAPES.items()}
    WRITERS[suffix](tmp_path / f"f{suffix}", values | {"unused": np.zeros(3, np.float32)})
    media = {"eeg": "features", "face": "features"}
    data = load(make_rows(), tmp_path, media, features=tmp_path / f"f{suffix}")
    assert data.task.shapes == SHAPES
    for name in SHAPES:
        for split, rows in (("train", slice(6)), ("validation", slice(6, 12)), ("test", slice(12, 18))):
            loaded = getattr(data, split).inputs[name]
            assert loaded.dtype == np.float32
            np.testing.assert_array_equal(loaded, values[name][rows].astype(np.float32))


SHAPES = {"eeg": (5,), "face": (2, 4)}


def test_features_stay_with_their_rows_when_a_sample_is_left_out(tmp_path: Path) -> None:
    values = np.arange(36, dtype=np.float32).reshape(18, 2)
    np.savez(tmp_path / "f.npz", eeg=values)
    rows = changed(2, caption="")(make_rows())
    data = load(rows, tmp_path, {"eeg": "features", "caption": "text"}, features=tmp_path / "f.npz")
    np.testing.assert_array_equal(data.train.inputs["eeg"], values[[0, 1, 3, 4, 5]])
    assert data.train.inputs["caption"][2] == Text(rows[3]["caption"])


class Harmful:
    """Would make a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("eeg.npy", "hello")
    with pytest.raises(UserError, match=r"'eeg' has the shape \(\), but the table has 18 rows"):
        load(make_rows(), tmp_path, {"eeg": "features"}, features=tmp_path / "f.npz")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


ZEROS = np.zeros((18, 2), np.float32)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"eeg": ZEROS[1:]},
            r"'eeg' has the shape \(17, 2\), but the table has 18 rows. Its shape must be \(18, \.\.\.\)",
        ),
        ({"eeg": ZEROS[:, 0].copy()}, r"'eeg' has the shape \(18,\)"),
        ({"eeg": ZEROS[:, :0].copy()}, r"'eeg' holds float32 of the shape \(18, 0\)"),
        ({"eeg": ZEROS.astype(np.int64)}, r"'eeg' holds int64 .*Convert it with `\.astype\('float32'\)`"),
        ({"eggs": ZEROS}, r"holds no array 'eeg' \(it holds eggs\)\. Did you mean 'eggs'"),
        ({"b": ZEROS}, r"holds no array 'eeg' \(it holds b\)\. Name each array like its modality"),
    ],
)
def test_wrong_features_are_refused(tmp_path: Path, suffix: str, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / f"f{suffix}"
    WRITERS[suffix](path, arrays)
    with pytest.raises(UserError, match=message) as caught:
        load(make_rows(), tmp_path, {"eeg": "features"}, features=path)
    assert caught.value.file == str(path)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    values = ZEROS.astype(np.float64)
    values[3, 1] = value
    np.savez(tmp_path / "f.npz", eeg=values)
    media = {"eeg": "features", "caption": "text"}
    with pytest.raises(UserError, match=r"table\.csv:8: eeg: the features hold a number that is not finite.* Fix them"):
        load(make_rows(), tmp_path, media, features=tmp_path / "f.npz")
    # Where the sample is left out anyway, they do no harm.
    data = load(changed(3, caption="")(make_rows()), tmp_path, media, features=tmp_path / "f.npz")
    assert len(data.train) == 5


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "run"
    harmful = np.array([Harmful(trace)] * 18, dtype=object)
    np.savez(tmp_path / "objects.npz", eeg=harmful)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"eeg": Harmful(trace)}))
    (tmp_path / "single.npz").write_bytes(npy(harmful))
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"eeg": Harmful(trace)}))
    for name in ("objects.npz", "pickle.npz", "single.npz", "pickle.safetensors"):
        with pytest.raises(UserError, match=r"cannot be read as \.\w+ \(.*It must hold one float16"):
            load(make_rows(), tmp_path, {"eeg": "features"}, features=tmp_path / name)
    rows = make_rows()
    for row in rows:
        (tmp_path / row["gaze"]).parent.mkdir(exist_ok=True)
        np.save(tmp_path / row["gaze"], ZEROS[0])
    np.save(tmp_path / rows[0]["gaze"], harmful)
    assert load(rows, tmp_path, {"gaze": "features"}).skipped == {"unreadable feature file": 1}
    assert not trace.exists()


def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    header = b'{"eeg":{"dtype":"F32","shape":[18,1000000000000],"data_offsets":[0,72000000000000]}}'
    hostile = {
        "long.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "huge.safetensors": len(header).to_bytes(8, "little") + header,
        "nested.safetensors": (100_000).to_bytes(8, "little") + b"[" * 100_000,
        "half.npz": b"PK\x03\x04" + b"\0" * 30,
        "empty.npz": b"",
        "text.npz": b"hello",
    }
    for name, content in hostile.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as"):
            load(make_rows(), tmp_path, {"eeg": "features"}, features=tmp_path / name)
    with pytest.raises(UserError, match=r"cannot be read as \.npz \(.*No such file"):
        load(make_rows(), tmp_path, {"eeg": "features"}, features=tmp_path / "none.npz")
    with pytest.raises(UserError, match=r"is neither a \.safetensors nor a \.npz file\. Write one array"):
        load(make_rows(), tmp_path, {"eeg": "features"}, features=tmp_path / "f.pt")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize("suffix", WRITERS)
def test_damaged_features_are_a_clear_mistake_or_load(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"f{suffix}"
    WRITERS[suffix](path, {"eeg": np.ones((18, 2), np.float32)})
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = load(make_rows(), tmp_path, {"eeg": "features"}, features=path)
    except UserError as error:
        assert error.file
    else:
        assert np.isfinite(loaded.train.inputs["eeg"]).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 2), np.float32),
            r"gaze: the features have the shape \(3, 2\), those of rows before \(2,\)\. Pad",
        ),
        (np.zeros(2, np.int32), r"holds int32 of the shape \(2,\).*Convert it"),
        (np.float32(1), "holds a single number, not an array"),
    ],
)
def test_a_feature_file_unlike_the_others_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    rows = make_rows()
    for row in rows:
        (tmp_path / row["gaze"]).parent.mkdir(exist_ok=True)
        np.save(tmp_path / row["gaze"], ZEROS[0])
    np.save(tmp_path / rows[5]["gaze"], array)
    with pytest.raises(UserError, match=message):
        load(rows, tmp_path, {"gaze": "features"})


def test_features_without_file_or_column_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"dataset\.modalities\.eeg: has no column 'eeg'.*give the file of all features"
    ):
        load(make_rows(), tmp_path, {"eeg": "features"})


# --- what is loaded decides a trial's identity, where it lies does not


def test_the_fingerprint_covers_content_and_not_places(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", eeg=ZEROS)
    save_file({"eeg": ZEROS}, tmp_path / "f.safetensors")
    media = {"eeg": "features", "caption": "text", "photo": "image"}
    rows = make_rows()
    for folder in ("here", "there"):
        for row in rows:
            (tmp_path / folder / row["photo"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / row["photo"]).write_bytes(b"12345")

    def fingerprint(rows: Rows, folder: str = "here", features: str = "f.npz") -> str:
        file = write_csv(tmp_path / folder / "table.csv", rows)
        return manifest(file, media, features=tmp_path / features).fingerprint()

    first = fingerprint(rows)
    assert first == fingerprint(rows, "there") == fingerprint(rows, features="f.safetensors")
    values = ZEROS.copy()
    values[17, 1] = 1e-6
    np.savez(tmp_path / "other.npz", eeg=values)
    np.savez(tmp_path / "shape.npz", eeg=ZEROS[..., None])
    changes = [changed(1, caption="Other."), changed(1, label="good"), changed(1, split="val"), changed(1, group="x")]
    others = [fingerprint(change(rows)) for change in changes]
    others += [fingerprint(rows, features=name) for name in ("other.npz", "shape.npz")]
    (tmp_path / "there" / rows[0]["photo"]).write_bytes(b"123456")
    others.append(fingerprint(rows, "there"))
    assert len({first, *others}) == 1 + len(others)


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": {}}, "at least 1"),
        ({"modalities": {"label": "text"}}, "'label' is not a valid modality"),
        ({"modalities": {"a b": "text"}}, "pattern"),
        ({"modalities": {"a": "words"}}, "'image', 'video', 'audio', 'text' or 'features'"),
        ({"modalities": TEXT, "features": "f.npz"}, "no modality consists of features"),
    ],
)
def test_options_are_checked_without_importing_anything(options: dict[str, Any], message: str) -> None:
    config = Entry("datasets", "manifest", "mlabench.datasets.manifest.dataset", "Manifest", "mlabench").config
    with pytest.raises(ValidationError, match=message):
        config(file="table.csv", **options)


def test_a_check_counts_samples_and_skips(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "table.csv", changed(0, caption="")(make_rows()))
    samples = {"train": 5, "validation": 6, "test": 6}
    assert manifest(file, TEXT).check() == Inventory(tmp_path, samples, {"no caption": 1})

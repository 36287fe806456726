from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from mlabench.report.archive import ArchiveReader

ARRAYS = {
    "text": np.array(["a", "été", "", "long enough"]),
    "a/b/logits": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
    "by_columns": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "flags": np.eye(5, dtype=bool),
    "big_end": np.arange(4, dtype=">i4"),
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 3), dtype=np.int64),
}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path: Path, write: object) -> None:
    path = tmp_path / "some.npz"
    write(path, **ARRAYS)  # type: ignore[operator]
    found = ArchiveReader().read(path, [*ARRAYS, "absent"])
    with np.load(path) as archive:
        assert found.keys() == ARRAYS.keys()
        for name, array in found.items():
            assert array.dtype == archive[name].dtype
            np.testing.assert_array_equal(array, archive[name], strict=True)


def test_a_header_of_version_2(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        npy.write_array(file, np.arange(6.0).reshape(2, 3), version=(2, 0))
    np.testing.assert_array_equal(ArchiveReader().read(path, ["x"])["x"], [[0, 1, 2], [3, 4, 5]])


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, x=np.array([{}, print], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        ArchiveReader().read(path, ["x"])


@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.99])
def test_damage_is_noticed(tmp_path: Path, where: float) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=900))
    content = bytearray(path.read_bytes())
    for place in range(int(where * len(content)), min(int(where * len(content)) + 40, len(content))):
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)):
        ArchiveReader().read(path, ["x"])


def test_shared_arrays_are_read_once_where_they_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, others = np.array(["a", "b", "c"]), np.array(["a", "b", "d"])
    for name, own in (("one", ids), ("two", ids), ("three", others), ("four", ids[:2])):
        np.savez_compressed(tmp_path / f"{name}.npz", ids=own, logits=np.full(3, len(name), np.float32))
    reads: list[str] = []
    read = zipfile.ZipFile.read

    def spied(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        reads.append(entry.filename)
        return read(archive, entry)

    monkeypatch.setattr(zipfile.ZipFile, "read", spied)
    reader = ArchiveReader(shared=["ids"])
    for name, own in (("one", ids), ("two", ids), ("three", others), ("four", ids[:2]), ("one", ids)):
        found = reader.read(tmp_path / f"{name}.npz", ["ids", "logits"])
        np.testing.assert_array_equal(found["ids"], own)
        np.testing.assert_array_equal(found["logits"], len(name))
    assert (reads.count("ids.npy"), reads.count("logits.npy")) == (3, 5)

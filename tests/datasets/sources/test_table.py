"""The table of sources: complete, consistent with the datasets that read the files, and pinned."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest
import yaml
from pydantic import ValidationError

from mlabench import registry
from mlabench.datasets.sources.table import Part, expand, how_to_get, names, part_with, source_of
from mlabench.errors import UserError
from mlabench.suite import load_suite
from tests.command_line import ROOT

PARTS = [(name, part) for name in names() for part in source_of(name).parts]


@pytest.mark.parametrize("name", names())
def test_every_source_names_licence_page_and_parts(name: str) -> None:
    source = source_of(name)
    assert source.licence
    assert source.page.startswith("https://")
    assert source.parts


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_addresses_are_encrypted_and_repositories_pinned(name: str, part: str) -> None:
    content = source_of(name).parts[part]
    if content.base:
        assert content.base.startswith("https://")
    if "githubusercontent" in content.base:
        assert re.search(r"/[0-9a-f]{40}/", content.base)
        assert all(file.hash for file in content.all_files())


@pytest.mark.parametrize("name", names())
def test_no_two_files_share_a_place(name: str) -> None:
    files = [(file, part.unpack) for part in source_of(name).parts.values() for file in part.all_files()]
    paths = [file.path for file, _ in files]
    places = [file.to or PurePosixPath(file.path).name for file, rule in files if rule is None]
    assert len(set(paths)) == len(paths)
    assert len(set(places)) == len(places)


def test_grid_has_33_talkers() -> None:
    talkers = [part for part in source_of("grid").parts if part != "alignments"]
    assert talkers == [f"s{number}" for number in range(1, 35) if number != 21]
    assert source_of("grid").parts["s7"].files[0].path.endswith("/s7.zip")


def test_crema_d_lists_the_sound_and_the_video_of_every_clip() -> None:
    audio, video = (source_of("crema_d").parts[part].all_files() for part in ("audio", "video"))
    stems = [{PurePosixPath(file.to).stem for file in files} for files in (audio, video)]
    assert len(stems[0] | stems[1]) == len(audio) == len(video) == 7442
    assert {PurePosixPath(file.to).parent.name for file in audio} == {"AudioWAV"}
    assert {PurePosixPath(file.to).parent.name for file in video} == {"VideoFlash"}


@pytest.mark.parametrize("name", ["crema_d", "kinetics_sounds", "food101", "mvsa", "iemocap", "grid"])
def test_data_go_where_the_suites_look(name: str) -> None:
    folders = {
        suite.dataset.options["root"]
        for path in (ROOT / "suites").glob("*.yaml")
        if f"name: {name}," in path.read_text(encoding="utf-8")
        for suite in [load_suite(path)]
    }
    assert folders == {str(source_of(name).folder)}


@pytest.mark.parametrize(
    ("name", "file", "part"),
    [
        ("crema_d", "my_test_cre.txt", "mla"),
        ("crema_d", "train.csv", "ogm"),
        ("kinetics_sounds", "my_train.txt", "ogm"),
        ("food101", "dev.jsonl", "qmf"),
        ("mvsa", "my_train_mvsa.txt", "mla"),
        ("mvsa", "valid_pairlist.txt", "fair10"),
        ("iemocap", "my_test_iemo.txt", "mla"),
        ("iemocap", "nothing.txt", ""),
        ("stamps", "train.csv", ""),
    ],
)
def test_which_part_holds_a_list(name: str, file: str, part: str) -> None:
    assert part_with(name, file) == part


def test_how_to_get_what_can_be_got() -> None:
    assert "`mlabench data get crema_d`" in how_to_get("crema_d")
    assert how_to_get("iemocap") == ""
    assert how_to_get("manifest") == ""


def test_ranges() -> None:
    assert expand("part_{9..11}.tar") == ["part_9.tar", "part_10.tar", "part_11.tar"]
    assert expand("plain") == ["plain"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"there is no source for 'opnmoji'\. Did you mean 'openmoji'\?"):
        source_of("opnmoji")


@pytest.mark.parametrize(
    "entry",
    [
        {"about": "x"},
        {"about": "x", "ask": "someone", "kaggle": {"handle": "a/b"}},
        {"about": "x", "base": "https://a.org", "files": [{"path": "a"}]},
        {"about": "x", "base": "https://a.org/", "files": [{"path": "a", "hash": "sha256:0"}]},
        {"about": "x", "base": "https://a.org/", "files": [{"path": "a"}], "licens": "MIT"},
    ],
)
def test_mistakes_in_the_table_are_found(entry: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Part.model_validate(entry)


def test_the_table_is_plain_data() -> None:
    text = (Path(registry.__file__).parent / "datasets/sources/table.yaml").read_text(encoding="utf-8")
    assert tuple(yaml.safe_load(text)) == names()

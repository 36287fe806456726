"""Text files of unknown encoding."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlabench.errors import UserError
from mlabench.media.texts import decode_text, one_line, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    text = "“Été” costs 5 €\nnext line"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a.txt") == text


def test_big_endian_is_told_by_its_mark() -> None:
    assert decode_text(b"\xfe\xff" + "Été".encode("utf-16-be")) == "Été"


def test_line_ends_are_made_alike_and_nul_is_removed() -> None:
    assert decode_text(b"a\r\nb\rc\nd\0e") == "a\nb\nc\nde"


def test_bytes_without_meaning_are_replaced() -> None:
    assert decode_text(b"a\x81b\xe9") == "a\N{REPLACEMENT CHARACTER}bé"  # 0x81 is undefined in Windows-1252
    assert decode_text(b"\xff\xfea\0b") == "a\N{REPLACEMENT CHARACTER}"  # half a character


@given(st.binary(max_size=50))
def test_no_bytes_are_refused(data: bytes) -> None:
    text = decode_text(data)
    assert not set(text) & {"\r", "\0"}


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0\ufeff\ufffe"), max_size=50))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    assert decode_text(text.encode()) == text


def test_white_space_becomes_single_blanks() -> None:
    assert one_line("  a\n\n b\tc\u00a0d ") == "a b c d"
    assert one_line(" \n ") == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.txt: cannot be read"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path)

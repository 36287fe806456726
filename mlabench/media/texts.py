"""Text files of unknown encoding."""

from __future__ import annotations

from pathlib import Path

from mlabench.errors import UserError


def decode_text(data: bytes) -> str:
    r"""Decodes UTF-8 (with or without a byte-order mark), UTF-16 with one, or else Windows-1252.

    Bytes that the last does not define become the replacement character; line ends become ``\n``, and NULs go.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def read_text(path: Path) -> str:
    """The text of a file; see :func:`decode_text`."""
    try:
        return decode_text(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(path)) from error


def one_line(text: str) -> str:
    """The text with every run of white space made one blank, without any at its ends."""
    return " ".join(text.split())

"""Texts as numbers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlabench.errors import UserError
from mlabench.media.items import Item, Text, UnreadableError
from mlabench.media.packages import needed_packages
from mlabench.media.preprocessing.contract import Preprocessing

#: What stands where a text has ended.
PADDING = -1

#: The files, of all that can lie in a model's folder, that decide a tokenizer's ids.
_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class Tokens(Preprocessing):
    """Ids of a text's tokens, and :data:`PADDING` after the last one. Longer texts are cut.

    Attributes:
        tokenizer: Name on the Hugging Face hub, e.g. ``bert-base-uncased``.
        length: How many tokens are kept.
        folder: Where its files lie; empty to get them from the hub.
        special: Whether the model's own marks are put around the text, such as ``[CLS]`` and ``[SEP]``.
    """

    tokenizer: str
    length: int
    folder: str = ""
    special: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """``(length,)``."""
        return (self.length,)

    #: Signed, for the padding.
    dtype = np.dtype(np.int32)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        encode = _tokenizer(self.tokenizer, self.folder)
        text = _value(item)
        ids = encode(text, truncation=True, max_length=self.length, add_special_tokens=self.special)["input_ids"]
        if not ids:
            raise UnreadableError("text without tokens")
        return _padded(ids, self.length, self.dtype)

    def identity(self) -> dict[str, Any]:
        """As the base class's, with a hash of the tokenizer's files instead of their place."""
        about = super().identity()
        folder = about.pop("folder")
        return {**about, "files": _hash(folder)} if folder else about


@dataclass(frozen=True)
class Characters(Preprocessing):
    """Bytes of a text in UTF-8, and :data:`PADDING` after the last one; ``length`` of them are kept."""

    length: int

    @property
    def shape(self) -> tuple[int, ...]:
        """``(length,)``."""
        return (self.length,)

    #: Signed, for the padding.
    dtype = np.dtype(np.int16)

    def __call__(self, item: Item) -> NDArray[Any]:
        """See :meth:`Preprocessing.__call__`."""
        return _padded(list(_value(item).encode(errors="replace"))[: self.length], self.length, self.dtype)


def _value(item: Item) -> str:
    if not isinstance(item, Text):
        raise TypeError(f"there is no text in a {type(item).__name__}")
    return item.value


def _padded(ids: list[int], length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    result = np.full(length, PADDING, dtype)
    result[: len(ids)] = ids
    return result


@lru_cache
def _tokenizer(name: str, folder: str) -> Any:
    # Items are preprocessed by many processes already; the tokenizers' own threads warn when a process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with needed_packages():
        from transformers import AutoTokenizer
        from transformers.utils import logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if folder:
        _files(folder)
    try:
        return AutoTokenizer.from_pretrained(folder or name, local_files_only=bool(folder))
    except Exception as error:  # the hub's client, and the parsers of half a dozen formats, have no common one
        if folder:
            raise UserError("holds a damaged tokenizer.", remedy="Download its files again.", file=folder) from error
        raise UserError(
            f"the tokenizer {name!r} is neither on this machine nor can it be fetched from huggingface.co.",
            remedy=f"Check the connection, or run `hf download {name} --local-dir DIR` on a machine that has one, "
            "copy DIR here and give it as the folder of the encoder's weights.",
        ) from error


def _files(folder: str) -> list[Path]:
    files = [path for name in _FILES if (path := Path(folder, name)).is_file()]
    if not files:
        raise UserError(
            "holds no tokenizer (tokenizer.json, vocab.txt or the like).",
            remedy="Give the folder with the files of a model on huggingface.co.",
            file=folder,
        )
    return files


def _hash(folder: str) -> str:
    """First 12 hex digits of a SHA-256 over the names and contents of the tokenizer's files."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]

"""Decoders and networks are packages of the extra ``prepare``, imported where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlabench.errors import missing_extra


@contextmanager
def needed_packages() -> Iterator[None]:
    """Imports of decoders and networks go within: one that fails says what to install."""
    try:
        yield
    except ImportError as error:
        raise missing_extra(str(error.name), "prepare") from error

"""Decoders and networks are packages of the extra ``prepare``, imported where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlabench.errors import UserError, missing_extra


def missing_package(error: ImportError) -> UserError:
    """The error to raise where a decoder or a network's package is not installed."""
    return missing_extra(str(error.name), "prepare")


@contextmanager
def needed_packages() -> Iterator[None]:
    """Imports of decoders and networks go within: one that fails says what to install."""
    try:
        yield
    except ImportError as error:
        raise missing_package(error) from error

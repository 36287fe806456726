"""Keeps what decoders write on the terminal away from the user: libtiff and some of FFmpeg's libraries do so in C."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


@contextmanager
def caught_messages() -> Iterator[Callable[[], str]]:
    """Catches what the block writes on standard error, by Python or in C; calling what it yields returns it.

    It does so for the whole process, whatever the thread. Where standard error is closed, there is nothing to catch.
    """
    try:
        terminal = os.dup(_STANDARD_ERROR)
    except OSError:
        yield lambda: ""
        return
    with tempfile.TemporaryFile() as file:

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        _flush()
        os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield said
        finally:
            _flush()
            os.dup2(terminal, _STANDARD_ERROR)
            os.close(terminal)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()

"""Networks that are downloaded by name: quiet downloads, and a clear error without a connection."""

from __future__ import annotations

import contextlib
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from mlabench.errors import UserError

#: Where the hub is, unless the environment names a mirror, as its own client reads it.
_ENDPOINT = "https://huggingface.co"
_TIMEOUT_S = 5.0


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without torch's announcement of a download, which it prints even for one that fails."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def from_hub(load: Callable[..., Any], name: str, remedy: str) -> Any:
    """What ``load`` finds in the local cache or, if the hub answers, on the hub."""
    try:
        return load(local_files_only=True)
    except OSError:
        require_hub(name, remedy)
        return load()


def require_hub(name: str, remedy: str) -> None:
    """Checks that the Hugging Face hub answers; its own client retries for most of a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise UserError(f"{name!r} is not in the local cache, and HF_HUB_OFFLINE is set.", remedy=remedy)
    endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT)
    try:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310  (the user's own environment names it)
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()  # an answer, even if it is not the page
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name!r} is not in the local cache, and {endpoint} cannot be reached.", remedy=remedy
        ) from error

"""Networks from the Hugging Face hub: from the local cache where possible, and a clear error where not."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from mlabench.errors import UserError

#: Where the hub is, unless the environment names a mirror, as its own client reads it.
_ENDPOINT = "https://huggingface.co"
_TIMEOUT_S = 5.0


def require_hub(name: str, remedy: str) -> None:
    """Checks that the hub answers; its own client would retry for most of a minute.

    Args:
        name: What is wanted from there, for the message.
        remedy: How to go on without.

    Raises:
        UserError: If ``HF_HUB_OFFLINE`` is set or the hub does not answer.
    """
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

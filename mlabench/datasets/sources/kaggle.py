"""Datasets on Kaggle, through its own client, with the user's credentials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from mlabench.datasets.sources.table import Kaggle
from mlabench.errors import UserError, missing_extra

_CACHE = "KAGGLEHUB_CACHE"


def receive_from_kaggle(dataset: Kaggle, root: Path, kept_in: Path) -> dict[str, int]:
    """Fetches a dataset and moves its files below ``root``. The client shows progress, resumes and checks.

    Returns:
        The files below ``root``, with their sizes.

    Raises:
        UserError: If the client or the credentials are missing, or Kaggle refuses.
        OSError: If a file cannot be written.
    """
    try:
        import kagglehub
        from kagglehub import exceptions
        from kagglehub.config import get_kaggle_credentials
    except ModuleNotFoundError as error:
        raise missing_extra("kagglehub", "kaggle") from error
    failures = (
        *(exceptions.BackendError, exceptions.DataCorruptionError, exceptions.NotFoundError),
        *(exceptions.UnauthenticatedError, requests.RequestException, ValueError),  # the last: a damaged kaggle.json
    )
    page = f"https://www.kaggle.com/datasets/{dataset.handle}"
    try:
        if not get_kaggle_credentials():
            raise UserError(
                "Kaggle wants to know who you are.",
                remedy="Make a token at https://www.kaggle.com/settings/api, and set KAGGLE_API_TOKEN or "
                "KAGGLE_USERNAME and KAGGLE_KEY, or keep it in ~/.kaggle/kaggle.json.",
                file=page,
            )
        with _cache_in(kept_in):
            folder = Path(kagglehub.dataset_download(dataset.handle))
    except failures as error:
        raise UserError(
            f"Kaggle's client failed ({error}).",
            remedy="Check your credentials, accept the dataset's terms on that page, and run the same command again.",
            file=page,
        ) from error
    inside = folder / dataset.inside
    placed = _move(inside if inside.is_dir() else folder, root)
    shutil.rmtree(kept_in)
    return placed


def _move(folder: Path, root: Path) -> dict[str, int]:
    placed = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            placed[name] = path.stat().st_size
            path.replace(root / name)
    return placed


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Where the client keeps what is not complete: beside the data, where there is room."""
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(_CACHE)
        if before is not None:
            os.environ[_CACHE] = before

"""The npm packages that embedded features were made from."""

import shutil
import subprocess
from pathlib import Path

import pytest

VERSIONS = {"openmoji": "17.0.0"}


def unpacked_from_npm(cache: pytest.Cache, package: str) -> Path:
    """Where a package is: unpacked by an earlier run, or downloaded now. Skips the test if npm cannot get it."""
    version = VERSIONS[package]
    root = Path(cache.mkdir(f"npm-{package}"))
    folder = root / version
    if not folder.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("there is no npm here")
        done = subprocess.run(
            [npm, "pack", f"{package}@{version}"], cwd=root, check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"{package} {version} cannot be had from npm here: {done.stderr}")
        (root / "work").mkdir(exist_ok=True)
        # Not tarfile, which has no safe way to unpack before Python 3.11.4.
        subprocess.run(["tar", "-xzf", f"{package}-{version}.tgz", "-C", "work"], cwd=root, check=True)
        (root / "work").rename(folder)
    return folder

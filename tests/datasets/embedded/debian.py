"""The Debian packages that the embedded features were made from."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def unpacked(cache: pytest.Cache, version: str, *packages: str) -> Path | None:
    """Where packages of one version are: unpacked by an earlier run, or downloaded now; None if installed.

    Skips the test if they cannot be had, but fails where tests must not be skipped (in CI).
    """
    if all(installed_version(package) == version for package in packages):
        return None
    root = Path(cache.mkdir(packages[0]))
    folder = root / version
    if not folder.is_dir():
        try:
            download(root, version, packages)
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{' and '.join(packages)} {version} cannot be had from apt here: {error}")
    return folder


def installed_version(package: str) -> str:
    query = shutil.which("dpkg-query")
    if query is None:
        return ""
    command = [query, "--show", "--showformat=${Version}", package]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def download(root: Path, version: str, packages: tuple[str, ...]) -> None:
    work = root / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if os.environ.get("CI"):  # images for CI come without package lists
        subprocess.run(["apt-get", "update"], check=False)
    subprocess.run(["apt-get", "download", *(f"{package}={version}" for package in packages)], cwd=work, check=True)
    for archive in sorted(work.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive.name, "unpacked"], cwd=work, check=True)
    (work / "unpacked").rename(root / version)
    shutil.rmtree(work)

"""What has been received so far: kept beside the data, so that nothing complete is fetched twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

#: Below the folder of the data: receipts, and what is not complete yet.
KEPT_IN = ".mlabench"


@dataclass(frozen=True)
class Receipt:
    """A file that was received.

    Attributes:
        path: Its path at the source.
        hash: What it was compared with; of a file without a published checksum, its own SHA-256.
        published: Whether that checksum was published.
        files: What it became, below the folder of the data, with sizes.
    """

    path: str
    hash: str
    published: bool
    files: Mapping[str, int]


class Receipts:
    """The receipts of a folder, one JSON object per line."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / KEPT_IN / "received.jsonl"
        self._lock = Lock()
        self._known: dict[str, Receipt] = {}
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        for line in lines:
            try:
                receipt = Receipt(**json.loads(line))
            except (ValueError, TypeError):  # the process was killed while it wrote the line
                continue
            self._known[receipt.path] = receipt

    def get(self, path: str) -> Receipt | None:
        """The receipt of a file, whether or not what it became is still there."""
        return self._known.get(path)

    def holds(self, path: str, published: str | None) -> bool:
        """Whether a file with this checksum was received, and what it became is still there."""
        receipt = self.get(path)
        if receipt is None or (published is not None and receipt.hash != published):
            return False
        return all(_size(self._root / name) == size for name, size in receipt.files.items())

    def add(self, receipt: Receipt) -> None:
        """Puts a receipt on record."""
        with self._lock:
            self._known[receipt.path] = receipt
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(asdict(receipt))}\n")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1

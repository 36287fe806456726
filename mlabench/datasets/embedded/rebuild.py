"""From raw files to the features of an embedded dataset: ``mlabench data check`` and ``mlabench data prepare``."""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mlabench.datasets.contract import Inventory, ReportProgress, silent
from mlabench.datasets.embedded.storage import Features, Rows, Tensors, as_counts, as_levels, write_features
from mlabench.datasets.listing import Listing, SplitName
from mlabench.datasets.splits import join_groups, split_groups
from mlabench.errors import UserError, cannot_write
from mlabench.media import UnreadableError
from mlabench.processes import one_thread

#: Share of the samples per split.
SHARES: dict[SplitName, float] = {"train": 0.7, "validation": 0.1, "test": 0.2}


class _Sample(Protocol):
    @property
    def label(self) -> str: ...

    @property
    def concept(self) -> str:
        """What it shares with its twins."""


_S = TypeVar("_S", bound=_Sample)
_Item = TypeVar("_Item")
_Values = TypeVar("_Values")


@dataclass(frozen=True)
class Rebuild(Generic[_S]):
    """How one dataset's features are rebuilt from the files of published packages.

    Attributes:
        obtain: What to do where raw files are missing.
        find: The folder of the raw files, from the one that the packages were unpacked into (``None``: installed).
        list_samples: The samples in it, not decoded yet.
        encode: From samples, the split of each concept, a counter of reasons to skip and a report of progress: the
            table and the features of all samples that can be decoded. The others are counted.
        levels: To how many levels each of the features is rounded; those that are not named are counts.
    """

    obtain: str
    find: Callable[[Path | None], Path]
    list_samples: Callable[[Path], Listing[_S]]
    encode: Callable[[Sequence[_S], Mapping[str, str], Counter[str], ReportProgress], tuple[Rows, dict[str, Features]]]
    levels: Mapping[str, int]

    def check(self, root: Path | None = None) -> Inventory:
        """Counts the samples among the raw files, without decoding them."""
        folder = self.find(root)
        listing = self.list_samples(folder)
        split = split_samples(listing.samples)
        return Inventory(folder, _counts(split[sample.concept] for sample in listing.samples), dict(listing.skipped))

    def prepare(self, root: Path | None, out: Path, shipped: Path, progress: ReportProgress | None = None) -> Inventory:
        """Rebuilds the features. Takes about two minutes on one core; ``out`` changes only when all is done.

        The data card and the licence are copied from ``shipped``, the folder in the package.
        """
        listing = self.list_samples(self.find(root))
        split = split_samples(listing.samples)
        with _staged(out) as folder, one_thread():
            rows, features = self.encode(listing.samples, split, listing.skipped, progress or silent)
            if not any(row["split"] == "train" for row in rows):
                raise UserError("no sample of the training split is left.", remedy="Get the raw files again.")
            tensors = Tensors()
            for name, values in features.items():
                levels = self.levels.get(name)
                tensors |= as_levels(name, values, levels) if levels else as_counts(name, values)
            made = json.dumps({"skipped": listing.skipped}, sort_keys=True)
            write_features(folder, rows, tensors, {"made": made}, shipped)
        return Inventory(out, _counts(row["split"] for row in rows), dict(listing.skipped))


def split_samples(samples: Sequence[_Sample]) -> dict[str, SplitName]:
    """The split of each concept, from all samples listed, whether they can be decoded or not."""
    return split_groups([sample.concept for sample in samples], [sample.label for sample in samples], SHARES)


def _counts(splits: Iterable[str]) -> dict[str, int]:
    sizes = Counter(splits)
    return {split: sizes[split] for split in SHARES}


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` whose files are moved in at the end, so that an interruption changes nothing."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise cannot_write("features", out, error) from error
    with staging as name:
        yield Path(name)
        try:
            for path in Path(name).iterdir():
                path.replace(out / path.name)
        except OSError as error:
            raise cannot_write("features", out, error) from error


# -- for listings ---------------------------------------------------------------------------------


def find_folder(root: Path | None, installed: Path, what: str, obtain: str, is_it: Callable[[Path], bool]) -> Path:
    """The folder of raw files: installed, of packages unpacked below ``root``, or ``root`` itself."""
    candidates = [root / installed.relative_to(installed.anchor), root / installed.name, root] if root else [installed]
    for folder in candidates:
        if is_it(folder):
            return folder
    where = f" in {root}" if root else ""
    raise UserError(f"no {what}{where} (looked for {', '.join(map(str, candidates))}).", remedy=obtain)


def how_to_get(packages: Sequence[str]) -> str:
    """What to do where the raw files of Debian packages are missing."""
    return (
        f"Run `apt-get download {' '.join(packages)}`, unpack into one folder "
        "(`for f in *.deb; do dpkg -x $f DIR; done`, no root needed) and pass DIR."
    )


_COLOURS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|gold|golden|silver"
#: A colour in front of something, alone or in a list, so that "an orange" keeps its name.
_COLOURED = re.compile(rf"\b(?:{_COLOURS})(?: and (?:{_COLOURS}))*\b(?= \w)")
_ARTICLE = re.compile(r"^(?:a pair of|an?|the|some|two)\b(?= \w)")


def normalise(description: str) -> str:
    """An English description without case, punctuation, articles and colours.

    Re-coloured twins ("A red flag.", "A white flag.") thus share one form.
    """
    text = unicodedata.normalize("NFKC", description).casefold()
    text = " ".join(re.sub(r"[^\w\s]|_", " ", text).split())
    for pattern in (_ARTICLE, _COLOURED):
        text = " ".join(pattern.sub(" ", text).split())
    return text


def group_twins(keys: Mapping[str, Sequence[str]], near_identical: Path) -> dict[str, str]:
    """The concept of each picture: what shares a key or a family of names, directly or through others, is one.

    A family is a line of the file ``near_identical``. A concept is called after the first of its first keys.
    """
    families = [line for line in near_identical.read_text("utf-8").splitlines() if not line.startswith("#")]
    matching = {name: [f"family:{family}" for family in families if re.fullmatch(family, name)] for name in keys}
    return join_groups({name: [*own, *matching[name]] for name, own in keys.items()})


# -- for encoding ---------------------------------------------------------------------------------


def decode(
    stage: str,
    items: Sequence[_Item],
    read: Callable[[_Item], _Values],
    kept: list[_Item],
    skipped: Counter[str],
    report: ReportProgress,
) -> Iterator[_Values]:
    """Yields what can be read and appends its item to ``kept``; counts the rest."""
    for done, item in enumerate(items, start=1):
        try:
            values = read(item)
        except UnreadableError as reason:
            skipped[str(reason)] += 1
        else:
            kept.append(item)
            yield values
        report(stage, done, len(items))


def numbered(keys: Iterable[str]) -> dict[str, int]:
    """Numbers distinct keys in the order of their first appearance."""
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}

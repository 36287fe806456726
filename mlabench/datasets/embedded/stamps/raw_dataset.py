"""The dataset ``raw_stamps``: the pictures, recordings and descriptions that ``stamps`` holds features of."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mlabench.datasets.embedded.rebuild import split_samples
from mlabench.datasets.embedded.stamps.raw_files import CLASSES, SPEECH_LIMIT, find_stamps, list_samples
from mlabench.datasets.listing import Listing, RawSample
from mlabench.datasets.options import AudioImageText
from mlabench.datasets.published.base import RawDataset
from mlabench.errors import UserError
from mlabench.hyperparameters import ModalityOptions
from mlabench.media import Audio, Image, Text


class RawStamps(RawDataset):
    """Tux Paint stamps as files: the samples of ``stamps``, for training end to end.

    Samples, ids, classes, splits and groups are those of ``stamps``; what they can and cannot show is said
    there. A picture is a PNG, or for a sixth of the samples an SVG; a recording is cut after 6 seconds; a
    text is the description in the recording's language.
    """

    class Config(ModalityOptions):
        """Options of ``raw_stamps``."""

        root: Path | None = Field(
            default=None,
            description="The unpacked Debian package or its folder `stamps`; default: where it is installed.",
        )
        modalities: AudioImageText = ("audio", "image", "text")

    config: Config
    source = "Tux Paint stamps (Debian package tuxpaint-stamps-default 2022.06.04-1), GPL-2."
    twin_of = "IEMOCAP"
    samples_of = "stamps"
    obtain = (
        "Run `apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb DIR` (no root needed)."
    )
    stand_in = "--dataset stamps"

    classes = CLASSES

    def listing(self) -> Listing[RawSample]:
        """Lists the samples of ``stamps``, in its order."""
        try:
            folder = find_stamps(self.config.root)
        except UserError as error:
            raise self.not_found(self.config.root, "usr/share/tuxpaint/stamps/animals") from error
        found = list_samples(folder)
        split = split_samples(found.samples)
        samples = [
            RawSample(
                id=sample.id,
                label=sample.label,
                split=split[sample.concept],
                items={
                    "audio": Audio(sample.speech, end=SPEECH_LIMIT),
                    "image": Image(sample.stamp.picture),
                    "text": Text(sample.text),
                },
                group=sample.concept,
            )
            for sample in found.samples
        ]
        notes = [
            "raw_stamps stands in for IEMOCAP; its labels are object categories and its numbers are not the paper's."
        ]
        return Listing(samples, found.skipped, notes)

"""What a preprocessing step is. Free of torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlabench.media.items import Item


@dataclass(frozen=True)
class Preprocessing(ABC):
    """One way of making an array of an item. A subclass is a frozen dataclass; its fields are its settings."""

    #: Increase it whenever a change to the code changes values; caches are then rebuilt.
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of every array."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of every array."""

    @abstractmethod
    def __call__(self, item: Item) -> NDArray[Any]:
        """The array of ``item``, of :attr:`shape` and :attr:`dtype`.

        Raises:
            UnreadableError: If the item cannot be decoded; its sample is then skipped.
            UserError: If the decoder is not installed.
        """

    def identity(self) -> dict[str, Any]:
        """Everything that decides the values, as plain data."""
        return {"name": type(self).__name__, "version": self.version, **asdict(self)}

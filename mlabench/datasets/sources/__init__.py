"""Where datasets are published, and how their files are fetched: ``mlabench data get``.

``table.yaml`` says what there is: licence, address, size, hash and place of each file. ``table`` reads it, ``ordering``
finds what is left to fetch, ``fetching`` carries that out, with ``transfer`` for one file over HTTP, ``unpacking`` for
archives and ``kaggle`` for Kaggle's own client. Free of torch.
"""

from mlabench.datasets.sources.fetching import Report, carry_out
from mlabench.datasets.sources.ordering import Order, place_order
from mlabench.datasets.sources.table import Part, Source, how_to_get, names, part_with, source_of
from mlabench.datasets.sources.transfer import Transfer

__all__ = [
    "Order",
    "Part",
    "Report",
    "Source",
    "Transfer",
    "carry_out",
    "how_to_get",
    "names",
    "part_with",
    "place_order",
    "source_of",
]

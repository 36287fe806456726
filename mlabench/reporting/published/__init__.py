"""Numbers that others published, each with its source, beside ours; ``numbers.csv`` is described in the README.

``numbers`` reads them, ``protocol`` says where ours are measured otherwise, ``table`` sets them side by side.
"""

from mlabench.reporting.published.numbers import Number, load_published
from mlabench.reporting.published.table import published_table

__all__ = ["Number", "load_published", "published_table"]

"""A notebook as a page. It is run when the site is built, so what it prints and draws is never out of date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

from docs.assembly import ROOT


def notebook(path: str) -> str:
    """The cells of a notebook of the repository, each with what it gives when run in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    book = nbformat.read(ROOT / path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return "\n\n".join(part for cell in book.cells for part in _shown(cell))


def _shown(cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source.partition("\n\n")[2] if cell.source.startswith("# ") else cell.source  # a page has its title
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        if output.output_type == "stream":
            yield f"```text\n{output.text.rstrip()}\n```"
        elif "image/png" in output.data:
            image = "".join(output.data["image/png"].split())
            yield f'<img alt="What the cell draws" src="data:image/png;base64,{image}">'
        elif "text/html" in output.data:
            # The site's tables look better than pandas'.
            own_look = r'<style.*?</style>\s*| border="1" class="dataframe"| style="[^"]*"'
            yield re.sub(own_look, "", output.data["text/html"], flags=re.DOTALL)
        else:
            yield f"```text\n{output.data['text/plain']}\n```"

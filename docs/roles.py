"""Docstrings without the roles of reStructuredText, which Markdown would show as they are."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Makes plain code of ``:meth:`Method.loss``` in a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object in a package once all are there."""
        if obj.docstring:
            obj.docstring.value = re.sub(r":(?:attr|class|data|func|meth|mod):(?=`)", "", obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called for the package itself."""
        self.on_object(obj=pkg)

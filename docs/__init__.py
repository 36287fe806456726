"""The documentation site, which `python -m docs` builds: `pages/`, and the texts of the packages that they include.

No text has two homes: a page includes the README of a package, or a section of it; tables are made from the registry
and from the code.
"""

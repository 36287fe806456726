"""Datasets whose frozen features ship in the package: one folder each, with features, data card and rebuild code.

``base`` loads the features, ``fitting`` is what is fitted to a training part, ``storage`` says how they lie on disk,
``rebuild`` and ``networks`` make them.
"""

"""Datasets that are read from their published files, which users have to get: one module each, on one ``base``."""

"""Tux Paint's stamps: ``stamps`` (features), ``raw_stamps`` (the files), and what makes the former of the latter."""

"""Tux Paint's stamps: ``stamps`` (features), ``raw_stamps`` (the files), and how the former are made from the latter."""

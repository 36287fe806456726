"""Baselines, one file each, written against mlabench's public contract only. The registry finds them by name."""

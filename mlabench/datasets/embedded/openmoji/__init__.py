"""OpenMoji: ``openmoji`` (features), and what makes them of the raw files."""

"""Open Clip Art: ``clipart`` (features), and how they are made from the files."""

"""What ``mlabench new`` and ``mlabench init`` write, as files that work."""

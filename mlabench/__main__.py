"""``python -m mlabench``: the same as the command ``mlabench``."""

from mlabench.cli.app import main

main()

"""The tables of a suite's report: ``of_suite`` calls the others; ``formats`` writes any table to terminal and files."""

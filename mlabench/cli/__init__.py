"""The command line: parse, call, print. One file per group of commands; heavy imports happen inside the commands.

``app`` gathers them and is the entry point; ``options`` are what commands share. Everything that is computed happens
in other packages. Exit codes: 0 all good, 1 some trial failed, 2 bad input, 130 interrupted, 75 the time is up,
143 stopped by SIGTERM.
"""

"""The tables of a report: ``table`` says what a table is, ``of_suite`` fills those of a suite, ``formats`` writes them.

A suite's report is made of them; the questions have tables of their own.
"""

.PHONY: check format lint types test

check: lint types test  ## what CI runs

lint:
	ruff check
	ruff format --check

types:
	mypy

test:
	pytest

format:
	ruff check --fix
	ruff format

.PHONY: check check-all format layers lint slow test types

check: lint types layers test  ## before each commit; some minutes
check-all: check slow          ## what CI runs

lint:
	ruff check
	ruff format --check

types:
	mypy

layers:
	lint-imports

test:
	pytest -n auto --dist loadfile -m "not slow"

slow:
	pytest -n auto --dist loadfile -m slow

format:
	ruff check --fix
	ruff format

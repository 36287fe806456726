.PHONY: check check-all docs format layers lint slow test types

check: lint types layers test  ## before each commit; some minutes
check-all: check slow          ## what CI runs

lint:
	ruff check
	ruff format --check
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff
	zizmor --offline --quiet .github
	if command -v hadolint > /dev/null; then hadolint Dockerfile; fi
	if command -v actionlint > /dev/null; then actionlint; fi

types:
	mypy

layers:
	lint-imports

test:
	pytest -n auto --dist loadfile -m "not slow"

slow:
	pytest -n auto --dist loadfile -m slow

docs:  # to build/site
	python -m docs
	mlabench leaderboard --out build/site/leaderboard

format:
	ruff check --fix
	ruff format

# make check: everything that a change must pass; make format: lay out the code

check:
	bash scripts/test.sh

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: check format

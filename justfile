# What a developer types: `just` lists it. In a virtual environment made by the README's test command,
# `.venv/bin/just`, or any other `just`.

python := justfile_directory() / ".venv/bin/python"

# List the recipes.
default:
    @just --list

# Unit, store and architecture tests, and the linters: half a minute.
fast: lint
    {{python}} -m pytest -q -n 4 tests/unit tests/store tests/architecture

# ruff and mypy.
lint:
    {{python}} -m ruff check .
    {{python}} -m mypy

# Every test that this machine can run; arguments go to pytest.
test *arguments:
    {{python}} -m pytest -q -n 4 {{arguments}}

# Everything, from a fresh clone, as CI does.
ci:
    clone=$(mktemp -d) && git clone -q . "$clone/queuectl" && bash "$clone/queuectl/.ci/run"; code=$?; rm -rf "$clone"; exit $code

# The benchmark, as ratios to other tools in the same run: `just bench --small --only throughput`.
bench *arguments:
    {{python}} -m tests.bench {{arguments}}

# Which lines no test executes, as a table and in htmlcov/.
coverage *arguments:
    {{python}} -m pytest -q -n 4 --cov --cov-report=term-missing:skip-covered --cov-report=html {{arguments}}

# Which small changes of the product no test notices: `just mutation --seed 1 --mutants 300`.
mutation *arguments:
    {{python}} -m tests.mutation {{arguments}}

# Write what is made from the commands: docs/cli.md.
docs:
    {{python}} -m queuectl_client.cli.reference > docs/cli.md

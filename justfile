# Recipes of the workspace. Run them as ./dev RECIPE, which sets up what they need.

set positional-arguments := true

# List the recipes
[private]
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# Start the whole platform in the background; prints where it answers (--foreground: stay attached)
[no-exit-message]
up *arguments:
    @python -m agora_local up "$@"

# Stop the platform; its data stays
[no-exit-message]
down *arguments:
    @python -m agora_local down "$@"

# Show every process: state, process id, restarts, memory (--json)
[no-exit-message]
status *arguments:
    @python -m agora_local status "$@"

# Show the log of everything or of NAME (-f: follow)
[no-exit-message]
logs *arguments:
    @python -m agora_local logs "$@"

# Delete all data of the platform (asks first; --yes does not)
[no-exit-message]
reset *arguments:
    @python -m agora_local reset "$@"

# Compare recorded usage, stream, counts, totals, charges, holds and ledger (--since 24h, --tenant ID, --json)
[no-exit-message]
reconcile *arguments:
    @python -m agora_local reconcile "$@"

# Run the first agents on real input and check every charge against the ledger (--json)
[no-exit-message]
demo *arguments:
    @python -m agora_local demo "$@"

# Recompute billing's books and hashes from every row of the running platform (--account ID, --json)
verify *arguments:
    @python -m agora_local verify "$@"

# Let somebody report usage of a tenant over NATS: ./dev integrator TENANT NAME
integrator *arguments:
    @python -m agora_local integrator "$@"

# Everything that can be checked without running the product
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports
    python -m agora_contracts check
    python -m agora_local.migrations_check
    python -m agora_local.lock_check

# check, then all tests (arguments go to pytest)
test *arguments: check
    python -m pytest -n 3 "$@"

# Run a benchmark: prints one JSON line last
bench *arguments:
    @python -m benchmarks "$@"

# Kill and cut parts under load: prints one JSON line last
faults *arguments:
    @python -m tests.faults "$@"

# Run the agents' evaluations, all or those of one agent
evals *arguments:
    @python -m agora_local.evals "$@"

# Record the histories of workflows anew that the replay tests guard (-k NAME: one)
histories *arguments:
    @python services/execution/tests/record_histories.py "$@"

# Write requirements.lock anew from the pyproject files
lock:
    "$AGORA_UV" lock --quiet --python .venv/bin/python
    "$AGORA_UV" export --quiet --python .venv/bin/python --format requirements-txt --no-emit-workspace \
        --all-packages --all-extras --all-groups --no-header --no-annotate --output-file requirements.lock

# Format and fix what can be fixed
format:
    ruff check --fix-only --quiet .
    ruff format .

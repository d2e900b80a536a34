"""`./dev faults NAME [--short] [--seed N]`: kill and cut parts under load; one JSON line last."""

import sys

from tests.faults import engine, money, runs

COMMANDS = {"runs": runs.main, "money": money.main, "engine": engine.main}


def main() -> int:
    """Run the named fault test."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: ./dev faults {'|'.join(COMMANDS)} [--short] [--seed N]", file=sys.stderr)
        return 2
    return COMMANDS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

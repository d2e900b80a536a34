"""`./dev bench NAME [options]`: run one benchmark; one JSON line last."""

import importlib
import sys

NAMES = (
    "run",
    "gateway",
    "metering",
    "usage-query",
    "holds",
    "rating",
    "stream",
    "footprint",
    "llm",
    "fairness",
    "swarm",
)


def main() -> int:
    """Run the named benchmark with the remaining arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print(f"usage: ./dev bench {'|'.join(NAMES)} [options]", file=sys.stderr)
        return 2
    name = sys.argv.pop(1)
    importlib.import_module(f"benchmarks.{name.replace('-', '_')}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())

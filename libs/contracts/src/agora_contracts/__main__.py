"""`python -m agora_contracts write | check`."""

import sys

from agora_contracts.gates.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m agora_execution`: the execution service."""

import uvloop

from agora_execution.app import main

if __name__ == "__main__":
    uvloop.run(main())

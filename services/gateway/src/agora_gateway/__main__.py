"""Run the gateway: `python -m agora_gateway`."""

from agora_kit.service import main

from agora_gateway.app import build

if __name__ == "__main__":
    main(build)

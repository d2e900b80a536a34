"""Run the catalog: `python -m agora_catalog`."""

from agora_kit.service import main

from agora_catalog.app import build

if __name__ == "__main__":
    main(build)

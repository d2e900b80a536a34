"""Run metering: `python -m agora_metering`."""

from agora_kit.service import main

from agora_metering.app import build

if __name__ == "__main__":
    main(build)

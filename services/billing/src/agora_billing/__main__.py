"""Run the billing service."""

from agora_kit.service import main

from agora_billing.app import build

if __name__ == "__main__":
    main(build)

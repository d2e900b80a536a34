"""`python -m agora_local`: see `./dev`."""

from agora_local.cli import main

if __name__ == "__main__":
    main()

"""`python -m agora.cli`: the command without its script."""

from agora.cli import main

if __name__ == "__main__":
    main()

"""Reading JSON that a person gave on the command line: literally, or as @file."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import typer


def read_json(value: str, option: str) -> Any:
    """The JSON of `value`: itself, the file behind `@`, or stdin for `@-`.

    Raises:
        typer.BadParameter: the file cannot be read, or the text is not JSON.
    """
    text: str | bytes = value
    if value.startswith("@"):
        try:
            text = sys.stdin.buffer.read() if value == "@-" else Path(value[1:]).read_bytes()
        except OSError as error:
            raise typer.BadParameter(
                f"{value[1:]} cannot be read: {error.strerror}", param_hint=option
            ) from error
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "" if value.startswith("@") else " (a file is given as @name)"
        raise typer.BadParameter(f"this is not JSON: {error}{hint}", param_hint=option) from error


def base_of(value: str | None) -> Path:
    """The folder that FileRefs in `value` start from: the @file's own, else the current one."""
    if value is None or not value.startswith("@") or value == "@-":
        return Path.cwd()
    return Path(value[1:]).resolve().parent

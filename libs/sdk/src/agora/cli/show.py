"""What the command prints: for people by default, one JSON value with `--json`. Notes go to stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(soft_wrap=True, highlight=False)
notes = Console(stderr=True, soft_wrap=True, highlight=False)

FAILED = 1
MISUSED = 2
LOST = 3
"""What was started goes on, and this command does not see it any more."""


def json_value(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def json_pretty(value: Any) -> None:
    """Indented JSON on stdout, for people."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table on stdout."""
    built = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        built.add_row(*(escape(cell) for cell in row))
    out.print(built)


_within_line = False


def more(cursor: str | None) -> None:
    """Say on stderr how to have the next page, if there is one."""
    if cursor is not None:
        notes.print(escape(f"more: --cursor {cursor}"), soft_wrap=True)


def note(text: str) -> None:
    """A line on stderr, for whoever watches."""
    global _within_line
    if _within_line:
        notes.print()
        _within_line = False
    notes.print(escape(text))


def piece(text: str) -> None:
    """The next piece of a text on stderr, for whoever watches it being written."""
    global _within_line
    notes.out(text, end="", highlight=False)
    _within_line = bool(text) and not text.endswith("\n")


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Say what went wrong on stderr and end: 1 failed, 2 used wrongly."""
    if _within_line:
        notes.print()
    notes.print(f"[bold red]error:[/] {escape(text)}")
    raise typer.Exit(code)

"""Numbers that a file states as numbers, on their way through columns of strings.

In Excel and JSON 1.234 is a number with three decimals, whatever the rest of the file writes. A mark before
its text keeps that knowledge until its column's type is known.
"""

MARK = "\ue000"
"""A private-use character: no text means anything by it."""


def number(value: int | float) -> str:
    """The marked text of a native number; whole floats, as Excel has them, become integers."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return ""
        if value.is_integer() and abs(value) < 1e15:
            value = int(value)
    return f"{MARK}{value!r}"

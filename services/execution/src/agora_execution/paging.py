"""How much goes into one page."""

from collections.abc import Iterable

import msgspec

PAGE_BYTES_MAX = 500_000
"""Of items in one page: it has to fit into a message, whatever was asked for."""


def that_fit[Item](items: Iterable[Item]) -> list[Item]:
    """The first of these items that fit into one page; always one, if there is any."""
    shown: list[Item] = []
    size = 0
    for item in items:
        size += len(msgspec.json.encode(item))
        if shown and size > PAGE_BYTES_MAX:
            break
        shown.append(item)
    return shown

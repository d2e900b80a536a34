"""Texts and lists that fit where they are put, by their size as JSON: what is enough for one script is not for another."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


def size_of(value: Any) -> int:
    """How many bytes a value has as JSON."""
    return len(msgspec.json.encode(value))


def cut(text: str, bytes_max: int) -> str:
    """As much of the beginning of a text as fits into so many bytes as JSON."""
    size = size_of(text)
    while text and size > bytes_max:
        # A little less than in proportion, as characters differ; a few rounds are enough.
        text = text[: min(len(text) * bytes_max // size, len(text) - 1)]
        size = size_of(text)
    return text


def fitting[Item](items: Sequence[Item], bytes_max: int) -> list[Item]:
    """As many of the items from the beginning as fit into so many bytes as JSON."""
    kept: list[Item] = []
    size = 0
    for item in items:
        size += size_of(item) + 1
        if size > bytes_max:
            break
        kept.append(item)
    return kept


def pieces[Item](items: Iterable[Item], bytes_max: int) -> list[list[Item]]:
    """The items in lists of at most so many bytes as JSON each, and at least one of them."""
    lists: list[list[Item]] = [[]]
    size = 0
    for item in items:
        length = size_of(item) + 1
        if lists[-1] and size + length > bytes_max:
            lists.append([])
            size = 0
        lists[-1].append(item)
        size += length
    return lists

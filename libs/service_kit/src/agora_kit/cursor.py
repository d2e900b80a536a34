"""Opaque cursors for keyset pagination: `{items, next_cursor}`."""

import base64
import binascii
from typing import Any

import msgspec
from agora_contracts.problems import AgoraError


def encode_cursor(*position: str | int) -> str:
    """The position of the last item shown, as one URL-safe word."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _comparable(part: object) -> bool:
    """Whether the database can compare this with a column: text without NUL, a number of 64 bits."""
    if isinstance(part, str):
        return "\0" not in part
    return isinstance(part, float) or (isinstance(part, int) and -(2**63) <= part < 2**63)


def decode_cursor[Position](cursor: str, kind: type[Position] | Any) -> Position:
    """Read a cursor back as `kind`, such as `tuple[str, int]`.

    Raises:
        AgoraError: `invalid_cursor`, when it is not one that `encode_cursor` made.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.json.decode(raw, type=kind)
        if not all(_comparable(part) for part in msgspec.json.decode(raw)):
            raise ValueError("a part of it is beyond what a column holds")
        return position
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise AgoraError(
            "invalid_cursor",
            "the cursor is not one of ours; take next_cursor from the page before, unchanged",
        ) from error

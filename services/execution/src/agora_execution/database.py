"""The execution service's tables, as its migrations make them."""

import re
from typing import Any

import msgspec
from agora_kit.database import new_metadata
from agora_kit.tables import add_kit_tables

metadata = new_metadata()
add_kit_tables(metadata)

_encoder = msgspec.json.Encoder(decimal_format="string")
_NULL_CHARACTER = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def json_text(value: Any) -> str:
    """JSON for a jsonb column: decimals as strings, and U+FFFD for U+0000, which jsonb cannot hold."""
    encoded = _encoder.encode(value)
    if rb"\u0000" in encoded:
        encoded = _NULL_CHARACTER.sub(rb"\1\\ufffd", encoded)
    return encoded.decode()

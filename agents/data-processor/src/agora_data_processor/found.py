"""How a file is written: found out in one step, used in the next."""

import msgspec

from agora_data_processor.sniff import FileKind


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is written. Lines count from 1; `header_line` is None where there is no header.

    `first_data_line` is the first line (row of a sheet) that can hold data. `names` are unique. `wrapped` says
    that every line stands in quotes as a whole.
    """

    name: str
    kind: FileKind
    codec: str = "utf-8"
    encoding: str = "utf-8"
    fallback: str = "cp1252"
    mixed_encoding: bool = False
    delimiter: str = ""
    quote: str = ""
    escape: str = ""
    wrapped: bool = False
    sheet: str | None = None
    other_sheets: list[str] = []
    header_line: int | None = None
    header_lines: int = 0
    preamble_lines: int = 0
    first_data_line: int = 1
    names: list[str]
    source_names: list[str]
    pad_short: bool = False
    by_position: bool = True

    @property
    def width(self) -> int:
        """How many columns the file has."""
        return len(self.names)

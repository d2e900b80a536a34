"""Encoding and delimiter detection beside the detectors that others use, on made tables.

pip install clevercsv charset-normalizer      (neither is a dependency of the agent)
python agents/data-processor/evals/detectors.py [COUNT]
"""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import chardet
from agora_data_processor import dialect, encodings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from corpus import MessyTable, make  # noqa: E402
from handmade import tables  # noqa: E402

SEED = 70_000


def main() -> None:
    """Print one JSON line for each detector."""
    charset_normalizer, clevercsv = import_module("charset_normalizer"), import_module("clevercsv")

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    made = [*tables(), *map(make, range(SEED, SEED + count))]
    texts = [table for table in made if table.delimiter is not None]

    def ours(content: bytes) -> str | None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return encodings.detect(Path(file.name)).codec

    decoders: dict[str, Callable[[bytes], str | None]] = {
        "agent": ours,
        "chardet": lambda content: chardet.detect(content)["encoding"],
        "charset-normalizer": lambda content: getattr(
            charset_normalizer.from_bytes(content).best(), "encoding", None
        ),
    }
    for name, decode in decoders.items():
        started = time.perf_counter()
        right = sum(_decodes_alike(table, decode(table.content)) for table in texts)
        _print("encoding", name, right, len(texts), started)
    sniffers: dict[str, Callable[[str], str]] = {
        "agent": lambda text: dialect.detect(text.splitlines(keepends=True)).delimiter,
        "csv.Sniffer": lambda text: csv.Sniffer().sniff(text).delimiter,
        "clevercsv": lambda text: clevercsv.Sniffer().sniff(text).delimiter,
    }
    for name, sniff in sniffers.items():
        started = time.perf_counter()
        right = sum(_same_delimiter(table, sniff) for table in texts)
        _print("delimiter", name, right, len(texts), started)


def _decodes_alike(table: MessyTable, codec: str | None) -> bool:
    """Whether the text is the same; a byte order mark does not count."""
    try:
        true = table.content.decode(table.encoding)
    except UnicodeDecodeError:
        return codec is not None and codec.lower().startswith("utf-8")  # lines of two encodings in one file
    try:
        return codec is not None and table.content.decode(codec).lstrip("\ufeff") == true.lstrip("\ufeff")
    except (UnicodeDecodeError, LookupError):
        return False


def _same_delimiter(table: MessyTable, sniff: Callable[[str], str]) -> bool:
    try:
        return sniff(table.content.decode(table.encoding, errors="replace")) == table.delimiter
    except (csv.Error, clevercsv_error()):
        return False


def clevercsv_error() -> type[Exception]:
    """The error of clevercsv's sniffer."""
    error: type[Exception] = import_module("clevercsv.exceptions").Error
    return error


def _print(what: str, name: str, right: int, count: int, started: float) -> None:
    milliseconds = (time.perf_counter() - started) / count * 1000
    print(
        json.dumps(
            {"what": what, "detector": name, "right": right, "of": count, "ms": round(milliseconds, 1)}
        )
    )


if __name__ == "__main__":
    main()

"""Bytes to text, whatever they were written in."""

import codecs

from agora_knowledge_base.reading.model import TEXT_CHARACTERS_MAX, Unreadable

SAMPLE_BYTES = 200_000
CONTROL_SHARE_MAX = 0.02

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> str:
    """The text of a file, with line ends as `\\n`.

    Raises:
        Unreadable: it is empty, or binary.
    """
    text = _decode(data).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Unreadable("empty", "The file holds no text.")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Unreadable(
            "too_large", f"The text is longer than {TEXT_CHARACTERS_MAX:,} characters: split the file."
        )
    return text


def _decode(data: bytes) -> str:
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return data.decode(codec, errors="replace")
    if wide := _wide(data[:SAMPLE_BYTES]):
        return data.decode(wide, errors="replace")
    if _binary(data[:SAMPLE_BYTES]):
        raise Unreadable("unsupported_type", "The file is binary and of no type that can be read.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_guessed(data[:SAMPLE_BYTES]), errors="replace")


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: Latin text has a zero in every second byte."""
    half = len(sample) // 2
    if half < 2:
        return None
    if sample[1::2].count(0) > half * 0.4 and sample[0::2].count(0) < half * 0.05:
        return "utf-16-le"
    if sample[0::2].count(0) > half * 0.4 and sample[1::2].count(0) < half * 0.05:
        return "utf-16-be"
    return None


def _binary(sample: bytes) -> bool:
    control = sum(sample.count(value) for value in range(32) if value not in (9, 10, 12, 13, 27))
    return b"\0" in sample or control > len(sample) * CONTROL_SHARE_MAX


def _guessed(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return best.encoding if best is not None else "cp1252"

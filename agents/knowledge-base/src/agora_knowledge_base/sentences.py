"""Where sentences begin and end in a text."""

import re

SENTENCE_CHARACTERS_MAX = 700
"""A longer stretch without an end (a table pasted as text, a log line) is cut at a space."""

_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]*_`]*(?=\s)|[\u3002\uff01\uff1f]")
_ABBREVIATIONS = frozenset(
    (
        "al", "approx", "apr", "art", "aug", "bzw", "ca", "cf", "co", "corp", "d.h", "dec", "dept",
        "dr", "e.g", "ed", "eq", "est", "etc", "excl", "ext", "feb", "fig", "figs", "i.e", "inc",
        "incl", "jan", "jul", "jun", "ltd", "mar", "max", "min", "mr", "mrs", "ms", "no", "nos", "nov",
        "nr", "oct", "p", "pp", "prof", "resp", "sec", "sep", "sept", "st", "str", "tel", "u.a", "usw",
        "vol", "vs", "z.b",
    )
)  # fmt: skip
_NEXT_BEGINS = re.compile(r"\s*[\"'\u201c\u2018(\[*_`#>-]*\s*[^\W_]")


def split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences between two offsets, each without the space around it."""
    bounds: list[tuple[int, int]] = []
    first = start
    for match in _END.finditer(text, start, end):
        if _ends_sentence(text, first, match, end):
            bounds.append((first, match.end()))
            first = match.end()
    bounds.append((first, end))
    return [piece for bound in bounds for piece in _pieces(text, *bound)]


def _ends_sentence(text: str, first: int, match: re.Match[str], end: int) -> bool:
    if match[0][0] != "." or match[0].startswith(".."):
        return True
    word = text[first : match.start()].rsplit(None, 1)[-1:] or [""]
    bare = word[0].lstrip("(\"'[*_`\u201c\u2018").lower()
    if bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha()):
        return False
    if bare.isdigit() and len(text[first : match.start()].split()) == 1:
        return False  # the number of a list item or a section
    following = _NEXT_BEGINS.match(text, match.end(), end)
    # "approx. 30" and "the file agent.toml. it": a small letter goes on with the sentence.
    return following is None or not following[0][-1].islower()


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    pieces = []
    while start < end:
        while start < end and text[start].isspace():
            start += 1
        cut = end
        if end - start > SENTENCE_CHARACTERS_MAX:
            limit = start + SENTENCE_CHARACTERS_MAX
            cut = max(text.rfind(" ", start + 1, limit), text.rfind("\n", start + 1, limit))
            if cut <= start:
                cut = limit
        last = cut
        while last > start and text[last - 1].isspace():
            last -= 1
        if last > start:
            pieces.append((start, last))
        start = cut
    return pieces

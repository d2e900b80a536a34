"""Dockerfiles."""

import re
from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Entry
from agora_swarm_worker.audit.rules.images import unpinned
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="DOC001", severity="medium", title="A base image without a fixed version",
        remedy="Name a version or, better, a digest.",
    ),
    Rule(
        id="DOC002", severity="high", title="The image runs as root",
        remedy="Make a user and end with `USER name`.",
    ),
    Rule(
        id="DOC003", severity="low", title="ADD where COPY is meant, or of an address that is not checked",
        remedy="Use COPY for files; fetch with `ADD --checksum=...` or check a digest.",
    ),
    Rule(
        id="DOC004", severity="high", title="A script from the network is executed unseen",
        remedy="Fetch it, check its digest, then run it.",
    ),
    Rule(
        id="DOC005", severity="medium", title="Packages are installed without checking where they come from",
        remedy="Keep signatures and certificates checked.",
    ),
    Rule(
        id="DOC006", severity="medium", title="Everybody may write into the image's files",
        remedy="Give the user that the program runs as ownership, not everybody write permission.",
    ),
]  # fmt: skip

_PIPED = re.compile(
    r"\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?(?:/bin/)?(?:ba|z|da|a)?sh\b|\b(?:ba)?sh\s+(?:-c\s+)?[\"']?(?:<\(|\$\()\s*(?:curl|wget)\b"
)
_UNCHECKED = re.compile(
    r"--allow-unauthenticated|--force-yes|--no-check-certificate|--trusted-host\b|curl\b[^|;&]*\s(?:-k|--insecure)\b|--no-gpg-check|--nogpgcheck|--allow-untrusted"
)
_WRITABLE = re.compile(r"\bchmod\s+(?:-[A-Za-z]+\s+)*(?:0?[0-7][0-7][2367]\b|a\+(?:rw|w)|o\+w|ugo\+rwx)")
_LENGTH_MAX = 8_000
"""How much of one instruction is looked at: more than people write, and no pattern takes long on it."""

_ARCHIVE = re.compile(r"\.(tar|tgz|tar\.\w+|tbz2|txz)$")


def check(document: Document) -> Iterator[Match]:
    """Look at the instructions of all stages; only the last stage's user counts."""
    if document.format != "dockerfile":
        return
    for part in document.parts:
        stages: set[str] = set()
        user: Entry | None = None
        start: Entry | None = None
        for entry in part.entries:
            instruction = entry.path[1] if len(entry.path) > 1 else ""
            if instruction == "FROM":
                words = [word for word in entry.value.split() if not word.startswith("--")]
                image = words[0] if words else ""
                if image.lower() not in stages and (reason := unpinned(image)):
                    yield at("DOC001", entry, reason)
                if len(words) > 2 and words[1].lower() == "as":
                    stages.add(words[2].lower())
                start, user = entry, None
            elif instruction == "USER":
                user = entry
            elif instruction == "ADD":
                yield from _add(entry)
            elif instruction == "RUN":
                yield from _run(document, entry)
        if start is not None and "scratch" not in start.value.lower():
            if user is None and "nonroot" not in start.value and "distroless" not in start.value:
                yield at("DOC002", start, "no USER: the program runs as root")
            elif user is not None and user.value.partition(":")[0].strip() in ("root", "0"):
                yield at("DOC002", user, f"ends as USER {user.value}")


def _add(entry: Entry) -> Iterator[Match]:
    words = entry.value.split()
    sources = [word for word in words[:-1] if not word.startswith("--")]
    if any(source.startswith(("http://", "https://")) for source in sources):
        if not any(word.startswith("--checksum=") for word in words):
            yield at("DOC003", entry, "fetches from an address without checking a digest")
    elif sources and not any(_ARCHIVE.search(source) for source in sources):
        yield at("DOC003", entry, "ADD unpacks and fetches; COPY only copies")


def _run(document: Document, entry: Entry) -> Iterator[Match]:
    for rule, form, detail in (
        ("DOC004", _PIPED, "runs what it fetched without looking at it"),
        ("DOC005", _UNCHECKED, "installs or fetches without checking"),
        ("DOC006", _WRITABLE, "makes files writable for everybody"),
    ):
        if form.search(entry.value[:_LENGTH_MAX]):
            line = _line_of(document, entry.line, form)
            yield Match(rule=rule, line=line, detail=detail, path=".".join(entry.path))


def _line_of(document: Document, first: int, form: re.Pattern[str]) -> int:
    """The line of a long instruction in which it stands; its first line where it spans several."""
    number = first
    while number <= len(document.lines):
        line = document.line(number)
        if form.search(line):
            return number
        if not line.rstrip().endswith("\\"):
            break
        number += 1
    return first

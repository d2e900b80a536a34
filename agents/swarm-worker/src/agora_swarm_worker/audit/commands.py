"""Reading formats that are made of instructions: Dockerfiles and nginx."""

import re

from agora_swarm_worker.audit.documents import ENTRIES_MAX, Document, Entry, Fault, Part, Path

INSTRUCTIONS = frozenset(
    {
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
        "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip
_HEREDOC = re.compile(r"<<-?\s*[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?")
_ENV_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|\S*)")
_BLOCKS = frozenset({"events", "http", "if", "location", "map", "server", "stream", "types", "upstream"})
"""Names that begin a block: where one stands at the beginning of a line, the directive before it has no end."""

_BLOCKS_MAX = 64


def read_dockerfile(document: Document) -> None:
    """Read a Dockerfile: the path of an entry is the stage and the instruction, ENV and ARG have a name more."""
    part = Part()
    document.parts.append(part)
    stage = -1
    number = 0
    while number < len(document.lines):
        start = number
        text, number = _instruction(document.lines, number)
        if text is None:
            continue
        name, _, rest = text.partition(" ")
        name, rest = name.upper(), rest.strip()
        if name not in INSTRUCTIONS:
            detail = f"{name[:40]!r} is no instruction of a Dockerfile"
            document.faults.append(Fault(code="syntax", detail=detail, line=start + 1))
            continue
        if name == "FROM":
            stage += 1
        elif stage < 0 and name != "ARG":
            document.faults.append(
                Fault(code="syntax", detail=f"{name} stands before the first FROM", line=start + 1)
            )
        path = (str(max(stage, 0)), name)
        if name in ("ENV", "ARG"):
            _pairs(part, document.lines, path, rest, start)
        else:
            part.entries.append(Entry(path=path, value=rest, line=start + 1))
    if stage < 0 and not document.faults:
        document.faults.append(Fault(code="syntax", detail="there is no FROM", line=1))


def _instruction(lines: list[str], number: int) -> tuple[str | None, int]:
    """The instruction that begins at a line, its continuations joined, and the line after it."""
    stripped = lines[number].strip()
    if not stripped or stripped.startswith("#"):
        return None, number + 1
    pieces = []
    while True:
        stripped = lines[number].strip()
        number += 1
        if not stripped.startswith("#"):
            pieces.append(stripped.removesuffix("\\").rstrip())
        going_on = stripped.endswith("\\") or (stripped.startswith("#") and bool(pieces))
        if not going_on or number >= len(lines):
            break
    text = " ".join(pieces)
    if pieces[0].upper().startswith(("RUN", "COPY", "ADD")) and (heredoc := _HEREDOC.search(text)):
        while number < len(lines):
            body = lines[number].strip()
            number += 1
            if body == heredoc[1]:
                break
            text += " ; " + body
    return text.replace("\t", " "), number


def _pairs(part: Part, lines: list[str], path: Path, rest: str, start: int) -> None:
    pairs = _ENV_PAIR.findall(rest)
    if not pairs:
        name, _, value = rest.partition(" ")
        pairs = [(name, value.strip())]
    for name, value in pairs:
        line = next(
            (at for at in range(start, min(start + 60, len(lines))) if re.search(rf"\b{name}\b", lines[at])),
            start,
        )
        part.entries.append(Entry(path=(*path, name), value=value.strip("\"'"), line=line + 1))


def read_nginx(document: Document, text: str) -> None:
    """Read an nginx configuration: the path of an entry is its blocks (numbered) and the directive."""
    part = Part()
    document.parts.append(part)
    blocks: list[tuple[Path, int]] = []
    words: list[str] = []
    began = 1
    count = 0
    for token, line in _nginx_tokens(text):
        if words and line > began and token in _BLOCKS:
            document.faults.append(
                Fault(code="syntax", detail=f"{words[0]!r} does not end with a semicolon", line=began)
            )
            words = []
        where = blocks[-1][0] if blocks else ()
        if token is None:
            document.faults.append(Fault(code="syntax", detail="a quotation is not closed", line=line))
            return
        if not words:
            began = line
        if token == ";":
            if words and len(part.entries) < ENTRIES_MAX:
                path = (*where, words[0])
                part.entries.append(Entry(path=path, value=" ".join(words[1:]), line=began))
            words = []
        elif token == "{":
            if not words or len(blocks) >= _BLOCKS_MAX:
                document.faults.append(Fault(code="syntax", detail="a block without a name", line=line))
                return
            count += 1
            path = (*where, words[0], str(count))
            part.entries.append(Entry(path=path, value=" ".join(words[1:]), line=began, kind="map"))
            blocks.append((path, began))
            words = []
        elif token == "}":
            if words:
                document.faults.append(
                    Fault(code="syntax", detail=f"{words[0]!r} does not end with a semicolon", line=began)
                )
            words = []
            if not blocks:
                document.faults.append(Fault(code="syntax", detail="a } without its {", line=line))
                return
            blocks.pop()
        else:
            words.append(token)
    if words:
        document.faults.append(
            Fault(code="syntax", detail=f"{words[0]!r} does not end with a semicolon", line=began)
        )
    if blocks:
        document.faults.append(Fault(code="syntax", detail="this block is not closed", line=blocks[-1][1]))


_NGINX_TOKEN = re.compile(
    r"(?P<space>[ \t\r\f\v]+)|(?P<line>\n)|(?P<comment>#[^\n]*)|(?P<mark>[{};])"
    r"|(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|(?P<open>[\"'])|(?P<word>(?:\$\{[^}\s]*\}|\\.|[^\s{};\"'\\])(?:\$\{[^}\s]*\}|\\.|[^\s{};])*)",
    re.DOTALL,
)


def _nginx_tokens(text: str) -> list[tuple[str | None, int]]:
    """Words and marks with their lines; None is a quotation that never ends."""
    tokens: list[tuple[str | None, int]] = []
    line = 1
    at = 0
    while at < len(text):
        found = _NGINX_TOKEN.match(text, at)
        if found is None or found.lastgroup == "open":
            tokens.append((None, line))
            break
        value = found.group()
        if found.lastgroup in ("mark", "word"):
            tokens.append((value, line))
        elif found.lastgroup == "quoted":
            tokens.append((value[1:-1], line))
        line += value.count("\n")
        at = found.end()
    return tokens

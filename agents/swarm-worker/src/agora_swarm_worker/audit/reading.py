"""A file's bytes to a `Document`, in bounded memory and whatever is in them."""

import codecs
from pathlib import Path

from agora_swarm_worker.audit.commands import read_dockerfile, read_nginx
from agora_swarm_worker.audit.detect import format_of
from agora_swarm_worker.audit.documents import Document, Fault
from agora_swarm_worker.audit.flat import read_env, read_ini, read_toml
from agora_swarm_worker.audit.trees import read_json, read_yaml

FILE_BYTES_MAX = 2_000_000
"""No configuration that people write is larger; what is, is named and not read."""


def read_file(path: Path, name: str) -> Document:
    """Read a file; everything wrong with it becomes a fault of the document, never an exception."""
    if path.stat().st_size > FILE_BYTES_MAX:
        fault = Fault(code="too_large", detail=f"larger than {FILE_BYTES_MAX} bytes", line=1)
        return Document(name=name, format="unknown", lines=[], faults=[fault])
    return read_bytes(path.read_bytes(), name)


def read_bytes(content: bytes, name: str) -> Document:
    """Read a file's bytes; see `read_file`."""
    text = _text(content)
    if text is None:
        fault = Fault(code="unreadable", detail="not a text file in UTF-8 or UTF-16", line=1)
        return Document(name=name, format="unknown", lines=[], faults=[fault])
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    document = Document(name=name, format=format_of(name, lines), lines=lines)
    if not text.strip():
        document.faults.append(Fault(code="empty", detail="the file is empty", line=1))
        return document
    match document.format:
        case "yaml":
            read_yaml(document, text)
        case "json":
            read_json(document, text)
        case "toml":
            read_toml(document, text)
        case "ini":
            read_ini(document)
        case "env":
            read_env(document)
        case "dockerfile":
            read_dockerfile(document)
        case "nginx":
            read_nginx(document, text)
        case "unknown":
            pass
    return document


def _text(content: bytes) -> str | None:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content:
        return None
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None

"""The rules of files: which names are taken, and how a download is described."""

import re
import unicodedata
from urllib.parse import quote

from agora_contracts.problems import AgoraError, FieldError

SIZE_MAX = 100 * 1024 * 1024
"""The largest file, in bytes."""

NAME_LENGTH_MAX = 255
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,99}")
OCTETS = "application/octet-stream"


def check_name(name: str) -> str:
    """A file's name in Unicode's composed form.

    A name is only ever shown, never a path on our side; it is still refused when it could become one
    where somebody saves the file.

    Raises:
        AgoraError: `invalid_input`, saying what to change.
    """
    composed = unicodedata.normalize("NFC", name)
    if fault := _fault(composed):
        errors = [FieldError(field="name", detail=fault)]
        raise AgoraError("invalid_input", f"the file's name {fault}", errors=errors)
    return composed


def _fault(name: str) -> str | None:
    if not name.strip():
        return "is empty; send one, such as data.csv"
    if len(name) > NAME_LENGTH_MAX or len(name.encode()) > 4 * NAME_LENGTH_MAX:
        return f"is longer than {NAME_LENGTH_MAX} characters"
    if "/" in name or "\\" in name:
        return "must not contain / or \\; send the bare name without folders"
    if name in (".", ".."):
        return "must not be . or .."
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in name):
        return "must not contain control or invisible characters"
    return None


def media_type(given: str | None) -> str:
    """The content type to keep: what was sent where it is well-formed, without its parameters."""
    plain = (given or "").split(";", 1)[0].strip().lower()
    return plain if _MEDIA_TYPE.fullmatch(plain) else OCTETS


def content_disposition(name: str) -> str:
    """The header that makes a browser save the file under its name (RFC 6266), never show it."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"

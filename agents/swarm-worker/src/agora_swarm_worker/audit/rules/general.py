"""Insecure settings that look alike in every format: TLS, debugging, binding, origins, modes."""

import re
from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Entry
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="NET001", severity="medium", title="A service listens on every interface",
        remedy="Bind to 127.0.0.1 or to the one address that clients use, or put a firewall before it.",
    ),
    Rule(
        id="NET002", severity="high", title="TLS, or the check of its certificates, is switched off",
        remedy="Switch it on, and give the authority's certificate where it is a private one.",
    ),
    Rule(
        id="NET003", severity="high", title="An outdated TLS version is allowed",
        remedy="Allow TLS 1.2 and 1.3 only.",
    ),
    Rule(
        id="NET004", severity="medium", title="Every website may read the answers (CORS)",
        remedy="List the origins that need it.",
    ),
    Rule(
        id="NET005", severity="medium", title="Anybody is a trusted host or proxy",
        remedy="List the host names or addresses that are trusted.",
    ),
    Rule(
        id="DBG001", severity="medium", title="Debugging is switched on",
        remedy="Switch it off where customers reach the service: it shows code, data and sometimes a console.",
    ),
    Rule(
        id="AUT001", severity="high", title="Authentication is switched off",
        remedy="Switch it on; where no one but the machine itself may call, bind to 127.0.0.1 as well.",
    ),
    Rule(
        id="FS001", severity="medium", title="Everybody may write",
        remedy="Give the owner write permission only, such as 0750 or 0640.",
    ),
]  # fmt: skip

_BIND = re.compile(
    r"(^|[_.\-])(host|bind|bind_?address|listeners?|listen|listen_?address|listen_?addresses|address|addr|interface)$",
    re.IGNORECASE,
)
_ALL = re.compile(r"^(?:[A-Za-z_]+://)?(?:0\.0\.0\.0|\[?::\]?|\*)(?::\d+)?$")
_VERIFY = re.compile(
    r"(validate_?certs?|verify|ssl_?verify|tls_?verify|verify_?(ssl|tls|certs?|peer|hostname)|reject_?unauthorized|check_?hostname|strict_?ssl|cert_?verification|(ssl|tls)_?verif\w*)$",
    re.IGNORECASE,
)
_SKIP = re.compile(
    r"(insecure_?skip_?(tls_?)?verify|skip_?(tls_?|ssl_?)?verif\w*|disable_?(ssl|tls)\w*|allow_?insecure\w*|trust_?all(_?certs?)?|(tls|ssl)_?insecure)$",
    re.IGNORECASE,
)
_TLS = re.compile(
    r"(^|[_.\-])(ssl|tls|https)([_.\-]?(enabled?|on|required?))?$|require_?(ssl|tls)$|use_?(ssl|tls)$|(ssl|tls)_?enabled$",
    re.IGNORECASE,
)
_TLS_PARENT = re.compile(r"^(ssl|tls|https)$", re.IGNORECASE)
_MODE_OFF = re.compile(
    r"sslmode=(disable|allow)\b|[?&](ssl|tls)=(false|0)\b|useSSL=false|trustServerCertificate=true",
    re.IGNORECASE,
)
_VERSION = re.compile(
    r"(ssl|tls)[_.\-]?(min(imum)?|enabled)?[_.\-]?(protocols?|versions?)$|min(imum)?[_.\-]?(tls|ssl)?[_.\-]?version$",
    re.IGNORECASE,
)
_OLD = re.compile(r"\b(SSLv[23]|TLSv?1(\.[01])?|TLS_?1_?[01]|1\.[01])\b(?!\.[23])", re.IGNORECASE)
_ORIGIN = re.compile(
    r"(allow(ed)?[_.\-]?origins?|cors[_.\-]?origins?|access-control-allow-origin|cors[_.\-]?allow[_.\-]?all(_origins)?|origin_?allow_?all)$",
    re.IGNORECASE,
)
_TRUST = re.compile(
    r"(allowed[_.\-]?hosts|trusted[_.\-]?prox(y|ies)|trusted[_.\-]?hosts|forwarded[_.\-]?allow[_.\-]?ips)$",
    re.IGNORECASE,
)
_DEBUG = re.compile(
    r"(^|[_.\-])(debug|debug_?mode|debug_?enabled|flask_debug|app_debug|django_debug|display_errors|debug_?toolbar)$",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"(^|[_.\-])(auth|authentication|authorization|require_?auth|auth_?enabled|security_?enabled|protected[_.\-]mode|xpack\.security\.enabled)$",
    re.IGNORECASE,
)
_AUTH_PARENT = re.compile(r"^(auth|authentication|authorization|security)$", re.IGNORECASE)
_NO_AUTH = re.compile(
    r"(disable_?auth\w*|allow_?anonymous|anonymous_?access|allow_?empty_?password|permit_?empty_?passwords?|anonymous_?auth\w*|auth_?disabled|skip_?auth\w*)$",
    re.IGNORECASE,
)
_MODE = re.compile(
    r"(^|[_.\-])(mode|permissions?|chmod|umask|file_?mode|dir_?mode|default_?mode|socket_?mode)$",
    re.IGNORECASE,
)
_LENGTH_MAX = 4_000
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def check(document: Document) -> Iterator[Match]:
    """Look at each entry by its name and value."""
    if document.format in ("nginx", "dockerfile"):
        return
    for part in document.parts:
        for entry in part.entries:
            if entry.path and entry.kind not in ("map", "list"):
                yield from _check(entry)


def _check(entry: Entry) -> Iterator[Match]:
    name = _CAMEL.sub("_", entry.key)
    value = entry.value.strip()[:_LENGTH_MAX]
    parent = next((part for part in reversed(entry.path[:-1]) if not part.isdigit()), "")
    if entry.path[-1].isdigit() and "=" in value and "environment" in entry.path:
        name, _, value = (piece.strip() for piece in value.partition("="))
        entry = Entry(path=(*entry.path[:-1], name), value=value, line=entry.line, kind="string")
    switch = bool(re.fullmatch(r"enabled?|active", name, re.IGNORECASE))
    if _BIND.search(name) and _ALL.match(value):
        yield at("NET001", entry, f"{name!r} is {value}: the service answers on every network")
    if (
        (_VERIFY.search(name) and (entry.is_false or value.lower() == "none"))
        or (_SKIP.search(name) and entry.is_true)
        or (_TLS.search(name) and (entry.is_false or value.lower() in ("disable", "none")))
        or (switch and _TLS_PARENT.match(parent) and entry.is_false)
        or _MODE_OFF.search(value)
        or (re.search(r"sslmode$", name, re.IGNORECASE) and value.lower() in ("disable", "allow"))
        or (name == "NODE_TLS_REJECT_UNAUTHORIZED" and value == "0")
    ):
        yield at("NET002", entry, f"{name!r} is {value[:60]!r}")
    if _VERSION.search(name) and _OLD.search(value):
        yield at("NET003", entry, f"{name!r} allows {_OLD.search(value)[0]}")  # type: ignore[index]
    if _ORIGIN.search(name) and (value == "*" or entry.is_true):
        yield at("NET004", entry, f"{name!r} allows every origin")
    if _TRUST.search(name) and value in ("*", "0.0.0.0/0", "['*']", '["*"]'):
        yield at("NET005", entry, f"{name!r} is {value}")
    if _DEBUG.search(name) and entry.is_true:
        yield at("DBG001", entry, f"{name!r} is on")
    if (
        (_AUTH.search(name) and (entry.is_false or value.lower() == "none"))
        or (switch and _AUTH_PARENT.match(parent) and entry.is_false)
        or (_NO_AUTH.search(name) and entry.is_true)
    ):
        yield at("AUT001", entry, f"{name!r} is {value!r}")
    if _MODE.search(name) and _is_world_writable(name, value):
        yield at("FS001", entry, f"{name!r} is {value}")


def _is_world_writable(name: str, value: str) -> bool:
    if re.search(r"umask", name, re.IGNORECASE):
        return value in ("0", "00", "000", "0000")
    if re.fullmatch(r"(0o?)?[0-7]{3,4}", value):
        # Kubernetes reads a plain number as decimal: 511 is 0777 there.
        decimal = bool(re.search(r"default_mode$", name, re.IGNORECASE)) and not value.startswith("0")
        bits = int(value) if decimal else int(value.removeprefix("0o"), 8)
        return bool(bits & 0o002)
    return value in ("a+w", "o+w", "a+rwx", "o+rwx", "ugo+rwx")

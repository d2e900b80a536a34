"""nginx."""

import re
from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Entry, Part
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="NGX001", severity="high", title="An outdated TLS version is allowed",
        remedy="`ssl_protocols TLSv1.2 TLSv1.3;`",
    ),
    Rule(
        id="NGX002", severity="medium", title="Folders are listed to everybody",
        remedy="`autoindex off;`",
    ),
    Rule(
        id="NGX003", severity="low", title="The server tells its version",
        remedy="`server_tokens off;`",
    ),
    Rule(
        id="NGX004", severity="high", title="Port 443 without TLS",
        remedy="`listen 443 ssl;` with certificate and key.",
    ),
    Rule(
        id="NGX005", severity="medium", title="Every website may read the answers (CORS)",
        remedy="Answer with the origins that need it.",
    ),
    Rule(
        id="NGX006", severity="high", title="Weak ciphers are allowed",
        remedy="Use the intermediate list of Mozilla's configuration generator.",
    ),
    Rule(
        id="NGX007", severity="high", title="The certificate of the server behind is not checked",
        remedy="`proxy_ssl_verify on;` with proxy_ssl_trusted_certificate.",
    ),
    Rule(
        id="NGX008", severity="critical", title="A path leads out of the folder (alias traversal)",
        remedy="End the location with a slash, as the alias does.",
    ),
    Rule(
        id="NGX009", severity="medium", title="nginx works as root",
        remedy="`user nginx;` or another user without rights.",
    ),
]  # fmt: skip

_WEAK = frozenset(
    {"RC4", "DES", "3DES", "MD5", "NULL", "ANULL", "ENULL", "EXP", "EXPORT", "LOW", "ADH", "AECDH"}
)


def check(document: Document) -> Iterator[Match]:
    """Look at the directives, each in its block."""
    if document.format != "nginx":
        return
    for part in document.parts:
        for entry in part.entries:
            yield from _directive(part, entry)


def _directive(part: Part, entry: Entry) -> Iterator[Match]:
    name, value = entry.path[-1], entry.value
    words = value.split()
    if name == "ssl_protocols" and (
        old := [one for one in words if one in ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")]
    ):
        yield at("NGX001", entry, f"allows {', '.join(old)}")
    elif name == "autoindex" and entry.is_true:
        yield at("NGX002", entry, "autoindex is on")
    elif name == "server_tokens" and entry.is_true:
        yield at("NGX003", entry, "server_tokens is on")
    elif (
        name == "listen"
        and re.search(r"(^|:)443$", words[0] if words else "")
        and not {"ssl", "quic"} & set(words)
    ):
        ssl = [one for one in part.under(entry.path[:-1]) if one.path[-1] == "ssl" and one.is_true]
        if not ssl:
            yield at("NGX004", entry, "listens on 443 without ssl")
    elif (
        name == "add_header"
        and len(words) > 1
        and words[0].lower() == "access-control-allow-origin"
        and words[1] == "*"
    ):
        yield at("NGX005", entry, "Access-Control-Allow-Origin is *")
    elif name == "ssl_ciphers" and (weak := _weak_ciphers(value)):
        yield at("NGX006", entry, f"allows {', '.join(weak)}")
    elif name == "proxy_ssl_verify" and entry.is_false:
        yield at("NGX007", entry, "proxy_ssl_verify is off")
    elif name == "alias" and value.endswith("/") and len(entry.path) > 2 and entry.path[-3] == "location":
        location = part.at(*entry.path[:-1])
        prefix = "" if location is None else location.value
        if prefix.startswith("/") and not prefix.endswith("/"):
            yield at("NGX008", entry, f"location {prefix} has no slash at its end, its alias has")
    elif name == "user" and len(entry.path) == 1 and words[:1] == ["root"]:
        yield at("NGX009", entry, "user is root")


def _weak_ciphers(value: str) -> list[str]:
    allowed = [one for one in re.split(r"[:, ]+", value) if one and one[0] not in "!-"]
    return [one for one in allowed if _WEAK & set(re.split(r"[-+]", one.upper()))]

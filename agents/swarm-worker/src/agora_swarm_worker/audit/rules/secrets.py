"""Secrets in clear: by the form of the value, and by the name of the key."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Entry
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="SEC001", severity="high", title="A secret stands in clear",
        remedy="Take it out of the file, change it, and refer to a secret store or an environment variable.",
    ),
    Rule(
        id="SEC002", severity="critical", title="A credential of a known kind stands in clear",
        remedy="Revoke it at its issuer now, then refer to a secret store: whoever has read the file has it.",
    ),
    Rule(
        id="SEC003", severity="high", title="A default or guessable password",
        remedy="Set a long random password, kept in a secret store.",
    ),
]  # fmt: skip

_NAMED = re.compile(
    r"(?:^|[_.\-]|(?<=[a-z]))(?:password|passwd|passphrase|pwd|pw|secret|secret_?key|api_?key|apikey|access_?key|"
    r"private_?key|auth_?token|access_?token|token|client_?secret|credentials?|encryption_?key|signing_?key)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_SECRET_NAME = re.compile(
    r"(?:secret|token|password|key)[_.\-]?(?:name|file|path|ref|id|url|type|length|policy|ttl|expiry|field|header|"
    r"mount|store)s?$|(?:max|min)[_.\-]?tokens?$|public[_.\-]?key|secret_?name|csrf",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"^(?:\$|\{\{|<[^>]+>$|%\(|%[A-Z_]+%$|vault:|ssm:|secretsmanager|arn:|op://|ref\+|env[:(]|!|file:|/run/secrets/|/|"
    r"\*+$|x{3,}$|\.\.\.|ENC\[|sops|\$ANSIBLE_VAULT)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"^(?:null|none|nil|true|false|todo|tbd|n/?a|your[_\-].*|.*[_\-]here|replace.*|insert.*|example.*|dummy|optional|required)$",
    re.IGNORECASE,
)
_WEAK = frozenset(
    {
        "admin", "password", "passw0rd", "password1", "password123", "changeme", "change-me", "change_me", "root",
        "123456", "12345678", "1234", "secret", "letmein", "qwerty", "default", "guest", "test", "postgres", "mysql",
        "toor", "admin123", "pass", "welcome1", "hunter2", "example",
    }
)  # fmt: skip

KNOWN: list[tuple[str, re.Pattern[str]]] = [
    ("an AWS access key", re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Z0-9])")),
    ("a GitHub token", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{40,}\b")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_\-]{20,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    (
        "a Slack webhook",
        re.compile(r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}"),
    ),
    ("a Stripe key", re.compile(r"\b[sr]k_live_[0-9A-Za-z]{16,}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_\-]{35}(?![0-9A-Za-z_\-])")),
    ("an OpenAI key", re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_\-]{32,}")),
    ("a SendGrid key", re.compile(r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")),
    (
        "a JSON web token",
        re.compile(r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}"),
    ),
]
"""Credentials whose form alone gives them away."""

IN_URL = re.compile(r"\b[a-z][a-z0-9+.\-]{1,20}://[^\s:/@\"']*:(?P<secret>[^\s@/\"']{1,200})@", re.IGNORECASE)
_ASSIGNED = re.compile(r"(?P<before>[:=]\s*[\"']?)(?P<secret>[^\s\"',]+)")
_LINE_MAX = 4_000


def check(document: Document) -> Iterator[Match]:
    """Known forms anywhere in a line, comments included; names in the entries."""
    for number, line in enumerate(document.lines, 1):
        for what, form in KNOWN:
            if form.search(line[:_LINE_MAX]):
                yield Match(rule="SEC002", line=number, detail=f"this is {what}")
                break
        else:
            found = IN_URL.search(line[:_LINE_MAX])
            if found and not _is_reference(found["secret"]):
                yield Match(rule="SEC001", line=number, detail="a password inside an address", path="")
    kubernetes_secrets = {id(part) for part in document.parts if part.text("kind") == "Secret"}
    for part in document.parts:
        listed = _named_values(part.entries)
        for entry in part.entries:
            if entry.kind not in ("string", "number") or not entry.path:
                continue
            if id(part) in kubernetes_secrets and entry.path[0] in ("data", "stringData"):
                yield at("SEC001", entry, f"the value of {entry.key!r} of a Secret is in the file")
                continue
            name = listed.get(entry.path) or entry.key
            yield from _by_name(entry, name)


def _named_values(entries: list[Entry]) -> dict[tuple[str, ...], str]:
    """Values whose name stands beside them, as in Kubernetes' `- name: DB_PASSWORD` and `value: ...`."""
    names = {entry.path[:-1]: entry.value for entry in entries if entry.path and entry.path[-1] == "name"}
    listed = {
        entry.path: names[entry.path[:-1]]
        for entry in entries
        if entry.path and entry.path[-1] == "value" and entry.path[:-1] in names
    }
    for entry in entries:
        # Compose's list form: `- DB_PASSWORD=...`.
        if entry.path and entry.path[-1].isdigit() and "environment" in entry.path and "=" in entry.value:
            listed[entry.path] = entry.value.partition("=")[0]
    return listed


def _by_name(entry: Entry, name: str) -> Iterator[Match]:
    value = entry.value[:_LINE_MAX]
    if entry.path[-1].isdigit() and "=" in value:
        value = value.partition("=")[2]
    snake = _CAMEL.sub("_", name)
    if not _NAMED.search(snake) or _NOT_SECRET_NAME.search(snake) or entry.kind not in ("string", "number"):
        return
    value = value.strip().strip("\"'")
    if not value or _is_reference(value):
        return
    if value.lower() in _WEAK:
        yield at("SEC003", entry, f"{name!r} is set to a password that everybody tries first")
    elif entry.kind == "string" and not _PLACEHOLDER.match(value) and _is_secret(value, snake):
        yield at("SEC001", entry, f"{name!r} is set to a value in clear")


def _is_reference(value: str) -> bool:
    return bool(_REFERENCE.match(value)) or "${" in value or "{{" in value or value.startswith("<")


def _is_secret(value: str, name: str) -> bool:
    """Whether a value may be one: short words are secrets only where the name says password."""
    if " " in value.strip() and not re.search(r"pass(word|phrase)|pwd", name, re.IGNORECASE):
        return False
    if re.search(r"pass(word|wd|phrase)?|pwd|pw$|secret", name, re.IGNORECASE):
        return len(value) >= 4
    return len(value) >= 8 and (bool(re.search(r"\d", value)) or _entropy(value) > 3.0)


def _entropy(value: str) -> float:
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())


def masked(line: str) -> str:
    """The line as it may be shown: what may be a secret is cut to its first two characters."""
    shown = line
    for _, form in KNOWN:
        shown = form.sub(lambda found: _cut(found.group()), shown)
    return IN_URL.sub(
        lambda found: found.group().replace(":" + found["secret"] + "@", ":" + _cut(found["secret"]) + "@"),
        shown,
    )


def masked_value(line: str) -> str:
    """The line of a secret: everything that is assigned in it is cut."""
    return _ASSIGNED.sub(lambda found: found["before"] + _cut(found["secret"]), masked(line))


def _cut(secret: str) -> str:
    return f"{secret[:2]}***" if len(secret) > 4 else "***"

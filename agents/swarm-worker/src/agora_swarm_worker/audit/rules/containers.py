"""Compose files."""

import re
from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Entry, Part
from agora_swarm_worker.audit.rules.images import unpinned
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="CMP001", severity="critical", title="A privileged service",
        remedy="Remove `privileged: true`; add the single capability or device that is needed.",
    ),
    Rule(
        id="CMP002", severity="high", title="A service shares the host's network, processes or IPC",
        remedy="Use a network of the file's own and publish the ports that are needed.",
    ),
    Rule(
        id="CMP003", severity="high", title="A service may steer the container engine or read the host's files",
        remedy="Do not mount the engine's socket or system folders; where reading suffices, mount with `:ro`.",
    ),
    Rule(
        id="CMP004", severity="medium", title="An image without a fixed version",
        remedy="Name a version or, better, a digest.",
    ),
    Rule(
        id="CMP005", severity="high", title="A database is published on every interface",
        remedy="Publish it as `127.0.0.1:PORT:PORT`, or not at all: services of one network reach each other.",
    ),
    Rule(
        id="CMP006", severity="high", title="A dangerous capability or no confinement",
        remedy="Remove it; drop ALL and add only what the program needs.",
    ),
    Rule(
        id="CMP007", severity="low", title="A service without a limit of memory",
        remedy="Set `mem_limit` or `deploy.resources.limits.memory`.",
    ),
]  # fmt: skip

_DATABASES = {
    "5432": "PostgreSQL", "3306": "MySQL", "6379": "Redis", "27017": "MongoDB", "9200": "Elasticsearch",
    "11211": "memcached", "5672": "RabbitMQ", "9042": "Cassandra", "1433": "SQL Server", "2379": "etcd",
    "2375": "the container engine",
}  # fmt: skip
_CAPABILITIES = frozenset({"ALL", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_MODULE"})
_PORT = re.compile(
    r"^(?:(?P<address>\d+\.[\d.]+|\[[^\]]+\]):)?(?:(?P<host>[\d-]+):)?(?P<inside>\d+)(?:/\w+)?$"
)
_SYSTEM = re.compile(r"^(/|/etc|/root|/proc|/sys|/boot|/dev|/var/lib/docker)/?$")


def check(document: Document) -> Iterator[Match]:
    """Look at the services of a Compose file."""
    if document.format != "yaml":
        return
    for part in document.parts:
        if part.at("services") and not part.text("apiVersion"):
            for service in part.items_of("services"):
                if service[0] == "services" and len(service) == 2:
                    yield from _service(part, service[1])


def _service(part: Part, name: str) -> Iterator[Match]:
    base = ("services", name)
    image = part.at(*base, "image")
    if image is None and part.at(*base, "build") is None:
        return
    if image is not None and part.at(*base, "build") is None and (reason := unpinned(image.value)):
        yield at("CMP004", image, reason)
    for entry in part.under(base):
        yield from _entry(entry, entry.path[2:])
    limits = (("mem_limit",), ("deploy", "resources", "limits", "memory"))
    whole = part.at(*base)
    if whole is not None and not any(part.at(*base, *limit) for limit in limits):
        yield at("CMP007", whole, f"{name} may take all memory of the host")


def _entry(entry: Entry, path: tuple[str, ...]) -> Iterator[Match]:
    key = path[0] if path else ""
    if key == "privileged" and entry.is_true:
        yield at("CMP001", entry, "privileged: the container can do all that the host's root can")
    elif key in ("network_mode", "pid", "ipc") and entry.value == "host":
        yield at("CMP002", entry, f"{key} is host")
    elif key == "volumes" and entry.value:
        source = entry.value.partition(":")[0]
        named = path[-1] == "source" or path[-1].isdigit()
        if named and ("docker.sock" in source or "containerd.sock" in source):
            yield at("CMP003", entry, "mounts the container engine's socket")
        elif named and _SYSTEM.match(source):
            yield at("CMP003", entry, f"mounts {source} of the host")
    elif key == "ports" and entry.value and path[-1].isdigit():
        found = _PORT.match(entry.value.strip())
        if (
            found
            and found["inside"] in _DATABASES
            and found["address"] in (None, "0.0.0.0", "[::]")
            and found["host"]
        ):
            yield at("CMP005", entry, f"{_DATABASES[found['inside']]} is published on every interface")
    elif key == "cap_add" and entry.value.upper().removeprefix("CAP_") in _CAPABILITIES:
        yield at("CMP006", entry, f"adds {entry.value}")
    elif key == "security_opt" and re.search(r"(seccomp|apparmor)[:=]unconfined", entry.value):
        yield at("CMP006", entry, f"{entry.value}: no confinement")

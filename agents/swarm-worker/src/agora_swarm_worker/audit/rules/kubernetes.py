"""Kubernetes manifests: what a pod may do to its node, and what it may take of it."""

from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document, Part, Path
from agora_swarm_worker.audit.rules.images import unpinned
from agora_swarm_worker.audit.rules.rule import Match, Rule, at

RULES = [
    Rule(
        id="K8S001", severity="critical", title="A privileged container",
        remedy="Remove `privileged: true`; add the single capability that is needed.",
    ),
    Rule(
        id="K8S002", severity="high", title="A container may gain more rights than it started with",
        remedy="Set `allowPrivilegeEscalation: false`.",
    ),
    Rule(
        id="K8S003", severity="high", title="A pod shares the node's network, processes or IPC",
        remedy="Remove hostNetwork, hostPID and hostIPC.",
    ),
    Rule(
        id="K8S004", severity="high", title="A pod mounts a folder of its node",
        remedy="Use a persistent volume, a config map or an emptyDir; never mount the container engine's socket.",
    ),
    Rule(
        id="K8S005", severity="medium", title="An image without a fixed version",
        remedy="Name a version or, better, a digest: `latest` is another image tomorrow.",
    ),
    Rule(
        id="K8S006", severity="medium", title="A container without limits",
        remedy="Set `resources.limits` for memory at least: one leak takes the node down.",
    ),
    Rule(
        id="K8S007", severity="high", title="A container runs as root",
        remedy="Set `runAsNonRoot: true` and a `runAsUser` above 0.",
    ),
    Rule(
        id="K8S008", severity="high", title="A dangerous capability",
        remedy="Drop ALL and add only what the program needs.",
    ),
    Rule(
        id="K8S009", severity="low", title="A service without probes",
        remedy="Add a readinessProbe and a livenessProbe, so that a hung container is found.",
    ),
    Rule(
        id="K8S010", severity="high", title="A role that may do everything",
        remedy="List the verbs and resources that are needed.",
    ),
]  # fmt: skip

_CAPABILITIES = frozenset(
    {"ALL", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH", "SYS_RAWIO", "BPF"}
)
_SERVERS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def check(document: Document) -> Iterator[Match]:
    """Look at every part that says it is a manifest; a List's items are looked at in their places."""
    if document.format not in ("yaml", "json"):
        return
    for part in document.parts:
        if part.text("apiVersion") and part.text("kind"):
            yield from _check(part)


def _check(part: Part) -> Iterator[Match]:
    for entry in part.entries:
        key = entry.path[-1] if entry.path else ""
        if key == "privileged" and entry.is_true:
            yield at("K8S001", entry, "privileged: the container can do all that the node's root can")
        elif key == "allowPrivilegeEscalation" and entry.is_true:
            yield at("K8S002", entry, "allowPrivilegeEscalation is on")
        elif key in ("hostNetwork", "hostPID", "hostIPC") and entry.is_true:
            yield at("K8S003", entry, f"{key} is on")
        elif key == "path" and len(entry.path) > 1 and entry.path[-2] == "hostPath":
            yield at("K8S004", entry, f"mounts {entry.value} of the node")
        elif (key == "runAsNonRoot" and entry.is_false) or (key == "runAsUser" and entry.value == "0"):
            yield at("K8S007", entry, f"{key} is {entry.value}")
        elif len(entry.path) > 2 and entry.path[-3:-1] == ("capabilities", "add"):
            name = entry.value.upper().removeprefix("CAP_")
            if name in _CAPABILITIES:
                yield at("K8S008", entry, f"adds {name}")
    for container in part.items_of("containers", "initContainers"):
        yield from _container(part, container)
    if part.text("kind") in ("Role", "ClusterRole"):
        yield from _role(part)
    if (
        part.text("kind") in ("ClusterRoleBinding", "RoleBinding")
        and part.text("roleRef", "name") == "cluster-admin"
    ):
        bound = part.at("roleRef", "name")
        if bound is not None:
            yield at("K8S010", bound, "binds cluster-admin")


def _container(part: Part, container: Path) -> Iterator[Match]:
    image = part.at(*container, "image")
    name = part.text(*container, "name") or "the container"
    if image is None:
        return
    if reason := unpinned(image.value):
        yield at("K8S005", image, reason)
    if next(part.under((*container, "resources", "limits", "memory")), None) is None:
        first = part.at(*container) or image
        yield at("K8S006", first, f"{name} has no limit of memory")
    probed = any(part.at(*container, probe) for probe in ("livenessProbe", "readinessProbe"))
    if part.text("kind") in _SERVERS and "containers" in container and not probed:
        first = part.at(*container) or image
        yield at("K8S009", first, f"{name} has neither a readiness nor a liveness probe")


def _role(part: Part) -> Iterator[Match]:
    for rule in part.items_of("rules"):
        verbs = [entry for entry in part.under((*rule, "verbs")) if entry.value == "*"]
        resources = [entry for entry in part.under((*rule, "resources")) if entry.value == "*"]
        if verbs and resources:
            yield at("K8S010", verbs[0], "every verb on every resource")

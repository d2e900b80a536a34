"""Users of NATS for those who report usage themselves: each may publish on one subject and nothing else."""

from dataclasses import dataclass
from pathlib import Path

from agora_contracts.permissions import integrator_inbox, integrator_user, permissions
from agora_contracts.subjects import ingest_subject

from agora_local.parts import Nats
from agora_local.settings import PlatformFailed
from agora_local.supervisor import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrator:
    """What an integrator needs to know: where to connect, where to publish, and its client's inbox prefix."""

    url: str
    subject: str
    inbox_prefix: str


def add_integrator(home: Path, state: State, tenant: str, source: str) -> Integrator:
    """Let somebody report usage of a tenant under the name `source`; again, it is the same user and password.

    Raises:
        PlatformFailed: a name that does not fit into a subject, or NATS does not run.
    """
    try:
        user = integrator_user(tenant, source)
    except ValueError as error:
        raise PlatformFailed(str(error)) from error
    pid = next((unit.pid for unit in state.units if unit.name == Nats.name), None)
    if pid is None:
        raise PlatformFailed("NATS does not run just now; try again when ./dev status says that it does")
    server = Nats(home / "nats", state.ports.nats, state.ports.nats_monitor, permissions=permissions)
    server.add_integrator(user)
    server.reload(pid)
    return Integrator(
        url=server.user_url(user),
        subject=ingest_subject(tenant, source),
        inbox_prefix=integrator_inbox(tenant, source),
    )

"""What tests ask execution for: commands with their ids, and packages as the catalogue announces them."""

import uuid
from typing import Any

import msgspec
from agora import Agent
from agora_contracts.catalog import Manifest, PackagePublished
from agora_contracts.runs import StartRun

TENANT = "ten_one"
OTHER_TENANT = "ten_two"
ACCOUNT = "acc_one"


def start_command(run_input: dict[str, Any], **other: Any) -> StartRun:
    """A command to run the echo agent, or the named package or deployment, under a new id."""
    values: dict[str, Any] = {
        "run_id": new_id("run"),
        "tenant": TENANT,
        "account": ACCOUNT,
        "fingerprint": "f1",
        "requested_by": "key_one",
        "input": run_input,
    }
    if "deployment" not in other:
        values["package"] = "echo"
    return StartRun(**(values | other))


def new_id(prefix: str) -> str:
    """An id that nothing else has."""
    return f"{prefix}_{uuid.uuid4().hex}"


def published(agent: Agent, *, first_party: bool = True, **changes: Any) -> PackagePublished:
    """What the catalogue announces of an agent whose manifest is changed as given."""
    manifest: Manifest = msgspec.structs.replace(agent.manifest, **changes)
    return PackagePublished(
        package=agent.id,
        version=manifest.version,
        manifest=manifest,
        schemas=agent.schemas,
        price_version=f"price_{agent.id}_{manifest.version}",
        first_party=first_party,
    )

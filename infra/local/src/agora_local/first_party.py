"""Publishing the agents that are installed here, so that a fresh platform has something to hire.

Each is published once per version and contents: a stamp in the data folder remembers what was, so that a start
with nothing new need not import any agent.
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec

from agora_local.operator_api import post_patiently
from agora_local.parts.postgres import write_private
from agora_local.settings import PlatformFailed

GROUP = "agora.agents"
_encoder = msgspec.json.Encoder(decimal_format="string")


def publish_installed(folder: Path, api_url: str, operator_token: str, say: Callable[[str], None]) -> None:
    """Publish every installed agent that was not published with these contents before.

    One whose contents changed under a published version is left as it was published; the message says that its
    version must be raised. One that cannot be imported is left out with the reason.

    Raises:
        PlatformFailed: the gateway refused for another reason, or does not answer.
    """
    stamps = folder / "published.json"
    published = _read(stamps)
    headers = {"Authorization": f"Bearer {operator_token}", "Content-Type": "application/json"}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30, trust_env=False) as client:
        for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
            contents = _contents(entry)
            if published.get(entry.name) == contents:
                continue
            if _publish(client, entry, say):
                published[entry.name] = contents
                write_private(stamps, json.dumps(published))


def _read(stamps: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(stamps.read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        # Torn by a power cut, say: publishing the same contents again changes nothing.
        return {}


def _publish(client: httpx.Client, entry: EntryPoint, say: Callable[[str], None]) -> bool:
    try:
        agent = entry.load()
    except Exception as error:
        say(f"{entry.name} cannot be imported and is not published: {error}")
        return False
    body = _encoder.encode({"manifest": agent.manifest, "schemas": agent.schemas, "first_party": True})
    try:
        answer = post_patiently(client, "/api/v1/operator/packages", body)
    except httpx.HTTPError as error:
        raise PlatformFailed(f"publishing {entry.name}: the gateway does not answer: {error}") from error
    if answer.status_code == httpx.codes.CONFLICT:
        say(
            f"{entry.name} {agent.manifest.version} is published with other contents; "
            "raise its version in agent.toml to publish what is here"
        )
        return True
    if not answer.is_success:
        raise PlatformFailed(f"publishing {entry.name}: {answer.status_code} {answer.text[:500]}")
    say(f"published {entry.name} {agent.manifest.version}")
    return True


def _contents(entry: EntryPoint) -> str:
    """A hash of the agent's Python files and its agent.toml, found without importing it."""
    spec = find_spec(entry.module)
    if spec is None or spec.origin is None:
        return "unknown"
    package = Path(spec.origin).parent
    manifests = [folder / "agent.toml" for folder in (package, *package.parents[:3])]
    total = hashlib.sha256()
    for path in (*sorted(package.rglob("*.py")), *(one for one in manifests[:4] if one.exists())):
        total.update(path.read_bytes())
    return total.hexdigest()

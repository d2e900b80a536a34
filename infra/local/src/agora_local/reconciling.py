"""Reconciliation from the command line: asked of the running platform, and shown."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
from agora_contracts.problems import Problem
from agora_contracts.reconciliation import Reconciliation

from agora_local.settings import PlatformFailed

_SECONDS_MAX = 130.0
_HOURS = re.compile(r"([0-9]{1,5})h")


def run_reconciliation(
    api_url: str, token: str, since: str, tenant: str | None, grace_seconds: float
) -> Reconciliation:
    """Ask the platform to compare everything since then.

    Raises:
        PlatformFailed: `since` cannot be read, or what the platform refused and why.
    """
    body = {"since": _moment(since).isoformat(), "tenant": tenant, "grace_seconds": grace_seconds}
    try:
        answer = httpx.post(
            f"{api_url}/api/v1/operator/reconcile",
            headers={"Authorization": f"Bearer {token}"},
            json=body,
            timeout=_SECONDS_MAX,
        )
    except httpx.TransportError as error:
        raise PlatformFailed(f"the platform does not answer: {error!r}") from error
    if answer.status_code != httpx.codes.OK:
        raise PlatformFailed(_reason(answer))
    return msgspec.json.decode(answer.content, type=Reconciliation)


def summary(found: Reconciliation) -> str:
    """A reconciliation for a person: what was compared, and each difference on a line."""
    lines = [
        f"from {found.since:%Y-%m-%d %H:%M:%S} to {found.until:%Y-%m-%d %H:%M:%S} UTC: {found.events} usage events,"
        f" {found.runs} ended runs, {found.totals} totals",
        *(f"DIFFERS {one.joint}: {one.subject}: {one.detail}" for one in found.differences),
        "everything agrees" if not found.differences else f"{len(found.differences)} differences",
    ]
    if found.truncated:
        lines.append("there are more than these")
    return "\n".join(lines)


def _moment(text: str) -> datetime:
    if hours := _HOURS.fullmatch(text):
        return datetime.now(UTC) - timedelta(hours=int(hours[1]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PlatformFailed(
            f"{text!r} is no time; say hours such as 24h, or 2026-01-05T09:00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise PlatformFailed(f"{text!r} has no time zone; say for example {text}Z")
    return moment


def _reason(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=Problem).detail
    except msgspec.MsgspecError:
        return f"the platform answered with status {answer.status_code}"

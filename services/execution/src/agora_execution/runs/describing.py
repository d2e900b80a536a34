"""What operators read of a run in Temporal: its summary, its details, and what it is found by. Pure.

All of it goes with the workflow's start and costs nothing more. What changes later is in `showing.py`.
"""

import re
from typing import Any

import msgspec
from agora_contracts import search_attributes as names
from agora_contracts.money import Money, format_amount
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)

from agora_execution.runs.tasks import RunTask

TENANT = SearchAttributeKey.for_keyword(names.TENANT)
PACKAGE = SearchAttributeKey.for_keyword(names.PACKAGE)
STATUS = SearchAttributeKey.for_keyword(names.STATUS)
COST_MICROS = SearchAttributeKey.for_int(names.COST_MICROS)
PARENT = SearchAttributeKey.for_keyword(names.PARENT)

_TEXT_MAX = 120
_MARKUP = re.compile(r"[`*\[\]<>|\\\x00-\x1f]")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run beside its task: who asked for it, what was quoted, which run called it."""

    quoted: Money | None = None
    requested_by: str = ""
    parent: str | None = None


def summary(task: RunTask, parent: str | None = None, title: str = "") -> str:
    """One line: `echo 1.0.0 for ten_1`; where another run called it, also that run's words for it."""
    called = f"{_plain(title)}: " if title else ""
    on = f" on {task.deployment}" if task.deployment else ""
    by = f", called by {parent}" if parent else ""
    return f"{called}{task.package} {task.version}{on} for {task.tenant}{by}"


def details(task: RunTask, order: Order) -> str:
    """A few lines of Markdown: who, what, what it may cost and take, and where the API shows it."""
    by = f", asked for by `{_plain(order.requested_by)}`" if order.requested_by else ""
    hired = f"deployment `{_plain(task.deployment)}`" if task.deployment else "a single run"
    money = (
        "" if order.quoted is None else f"{format_amount(order.quoted.amount)} {order.quoted.currency} and "
    )
    lines = [
        f"**{task.package} {task.version}** as {hired}",
        f"- customer `{_plain(task.tenant)}`{by}",
        f"- at most {money}{task.timeout_seconds} s of its own time",
        f"- run `{task.run}`: `/api/v1/runs/{task.run}`, its steps `/api/v1/runs/{task.run}/steps`",
    ]
    if order.parent:
        lines.append(f"- called by run `{order.parent}`: `/api/v1/runs/{order.parent}`")
    if task.origin:
        lines.append(f"- goes on from run `{task.origin}`: `/api/v1/runs/{task.origin}`")
    return "\n".join(lines)


def attributes(task: RunTask, parent: str | None = None) -> TypedSearchAttributes:
    """What the run is found by when it starts."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(TENANT, task.tenant),
        SearchAttributePair(PACKAGE, task.package),
        SearchAttributePair(STATUS, "running"),
        SearchAttributePair(COST_MICROS, 0),
    ]
    if parent:
        pairs.append(SearchAttributePair(PARENT, parent))
    return TypedSearchAttributes(pairs)


def priority(tenant: str) -> Priority:
    """Tasks are handed out in turn over tenants, however many each has waiting."""
    # Temporal takes 64 bytes of a key; ids of tenants are shorter.
    return Priority(fairness_key=tenant[:64])


def _plain(text: str) -> str:
    """A customer's word without what Markdown would make something of."""
    return _MARKUP.sub("", text)[:_TEXT_MAX]

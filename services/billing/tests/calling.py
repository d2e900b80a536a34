"""Runs that call others, for tests: their requests, and what has become of their holds."""

from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import ConfirmHold, GetReceipt, Hold, PlaceHold, Quantity, Receipt
from agora_contracts.catalog import AGENTS_COST_METER
from agora_contracts.money import format_amount
from agora_contracts.subjects import PLATFORM_TENANT

from .conftest import TENANT, Platform, hold_request, price_version

CENT = 10_000
HELPER = "price_helper"
"""A price version of another package, `helper`, at a cent by task as well."""


def calling(run: str = "run_p", *, tasks: int = 1, calls: int = 10, **other: Any) -> PlaceHold:
    """A request for a run that may call others for `calls` cents."""
    estimates = [
        Quantity(meter="tasks", quantity=Decimal(tasks)),
        Quantity(meter=AGENTS_COST_METER, quantity=Decimal(calls) / 100),
    ]
    return hold_request(run, estimates=estimates, **other)


def called(run: str, tasks: int | str = 1, parent: str = "run_p", **other: Any) -> PlaceHold:
    """A request for a run of the other package that `parent` calls."""
    return hold_request(run, tasks, parent=parent, **({"price_version": HELPER} | other))


def confirm(run: str) -> ConfirmHold:
    """A request to confirm."""
    return ConfirmHold(run=run, tenant=TENANT)


async def publish_helper(platform: Platform) -> None:
    """Pin the price of the other package."""
    helper = msgspec.structs.replace(price_version(HELPER), package="helper")
    await platform.publish(PLATFORM_TENANT, helper)
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = :id", id=HELPER)
    )


async def begin(platform: Platform, request: PlaceHold) -> Hold:
    """Place and confirm a hold."""
    await platform.ask(request)
    hold: Hold = await platform.ask(confirm(request.run))
    return hold


def calls_left(hold: Hold) -> int:
    """What a hold has left for calls, in cents."""
    assert hold.calls_left is not None
    return hold.calls_left.amount // CENT


async def kept(platform: Platform, run: str) -> tuple[str, int, int]:
    """A hold's state, what is left in it, and what called runs have taken of it, in cents."""
    [row] = await platform.rows("SELECT state, amount, calls_taken FROM holds WHERE run = :run", run=run)
    return row.state, row.amount // CENT, row.calls_taken // CENT


async def receipt(platform: Platform, run: str) -> Receipt:
    """A run's receipt."""
    found: Receipt = await platform.ask(GetReceipt(run=run, tenant=TENANT))
    return found


def cents(amount: int) -> str:
    """Whole cents as they stand in messages."""
    return format_amount(amount * CENT)

"""Deployments that are billed for their time: by the hour or by the month."""

import msgspec

from agora_contracts.money import Money


class CheckRental(msgspec.Struct, frozen=True, kw_only=True):
    """Ask before a hire by the hour or the month whether the account can pay the first of it; sets nothing aside."""

    tenant: str
    account: str
    price_version: str
    basis: str


class RentalCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What the first hour or month costs, and the price version in force for who hires now."""

    price_version: str
    amount: Money

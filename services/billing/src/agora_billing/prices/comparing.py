"""Whether one price version could cost a customer more than another: compared part by part, never guessed.

A change is no rise when every part of it is no worse: no price, rate, flat part, minimum or maximum higher, nothing
free less. What cannot be compared so (another charge model, other borders, another window, a new meter) is a rise.
What was compared to be no rise costs no more for any usage; `tests/test_price_book.py` tries to find a counterexample.
"""

from collections.abc import Sequence
from decimal import Decimal

from agora_contracts.catalog import ChargePolicy, OfferedPrice
from agora_contracts.pricing import (
    ChargeModel,
    DynamicModel,
    FlatModel,
    GraduatedModel,
    GraduatedPercentageModel,
    PackageModel,
    PercentageModel,
    PercentageTier,
    StandardModel,
    Tier,
    VolumeModel,
)

from agora_billing.prices.model import PriceVersion, share_of


def is_rise(old: PriceVersion, new: PriceVersion, basis: str) -> bool:
    """Whether a customer who is billed by `basis` could pay more under `new` than under `old`."""
    before, after = old.prices_of(basis), new.prices_of(basis)
    return (
        new.currency != old.currency
        or new.model_cost_limit > old.model_cost_limit
        or new.own_key_fee.rate > old.own_key_fee.rate
        or new.own_key_fee.per_call > old.own_key_fee.per_call
        or _policy_rises(old.charges, new.charges)
        or any(meter not in before or price_rises(before[meter], price) for meter, price in after.items())
    )


def price_rises(old: OfferedPrice, new: OfferedPrice) -> bool:
    """Whether one price could come to more than another for the same usage."""
    before, after = old.charge_model, new.charge_model
    # By volume more free units may be dearer: they can leave the rest in a dearer tier.
    less_free = (
        new.free_units != old.free_units
        if isinstance(after, VolumeModel)
        else new.free_units < old.free_units
    )
    return (
        new.window != old.window
        or less_free
        or _minimum_rises(old.minimum, new.minimum)
        or _maximum_rises(old.maximum, new.maximum)
        or not _no_more(before, after)
    )


def _no_more(old: ChargeModel, new: ChargeModel) -> bool:
    match old, new:
        case StandardModel(), StandardModel():
            return new.unit_price <= old.unit_price
        case PackageModel(), PackageModel():
            return new.size == old.size and new.price <= old.price
        case GraduatedModel(), GraduatedModel():
            return _tiers_no_more(old.tiers, new.tiers)
        case VolumeModel(), VolumeModel():
            return _tiers_no_more(old.tiers, new.tiers)
        case GraduatedPercentageModel(), GraduatedPercentageModel():
            return _tiers_no_more(old.tiers, new.tiers)
        case PercentageModel(), PercentageModel():
            return (
                new.by_transaction == old.by_transaction
                and new.rate <= old.rate
                and new.fixed <= old.fixed
                and bool(new.fixed) == bool(old.fixed)
                and new.free_transactions >= old.free_transactions
                and new.free_amount >= old.free_amount
                and not _minimum_rises(old.transaction_minimum, new.transaction_minimum)
                and not _maximum_rises(old.transaction_maximum, new.transaction_maximum)
            )
        case FlatModel(), FlatModel():
            return new.amount <= old.amount
        case DynamicModel(), DynamicModel():
            return True
    return False


def _tiers_no_more(old: Sequence[Tier | PercentageTier], new: Sequence[Tier | PercentageTier]) -> bool:
    return [tier.up_to for tier in old] == [tier.up_to for tier in new] and all(
        _slope(after) <= _slope(before) and after.flat <= before.flat
        for before, after in zip(old, new, strict=True)
    )


def _slope(tier: Tier | PercentageTier) -> Decimal:
    return tier.unit_price if isinstance(tier, Tier) else tier.rate


def _minimum_rises(old: Decimal | None, new: Decimal | None) -> bool:
    return new is not None and (old is None or new > old)


def _maximum_rises(old: Decimal | None, new: Decimal | None) -> bool:
    return old is not None and (new is None or new > old)


def _policy_rises(old: ChargePolicy, new: ChargePolicy) -> bool:
    before, after = share_of(old), share_of(new)
    partial = before is not after if before is None or after is None else after > before
    return (
        partial
        or (old.empty, new.empty) == ("nothing", "full")
        or (old.failed, new.failed) == ("nothing", "full")
    )

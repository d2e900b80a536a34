"""A price in a few words, for tables."""

from decimal import Decimal

from agora_contracts.catalog import OfferedPrice
from agora_contracts.pricing import (
    ChargeModel,
    DynamicModel,
    FlatModel,
    GraduatedModel,
    GraduatedPercentageModel,
    PackageModel,
    PercentageModel,
    StandardModel,
    VolumeModel,
)


def price_text(price: OfferedPrice) -> str:
    """Such as `0.50/task`, or `graduated from 0.10/task by the month`."""
    model = _model_text(price.charge_model, price.basis)
    free = f", {_plain(price.free_units)} free" if price.free_units else ""
    least = "" if price.minimum is None else f", at least {_plain(price.minimum)}"
    most = "" if price.maximum is None else f", at most {_plain(price.maximum)}"
    window = " by the month" if price.window == "month" else ""
    return f"{model}{window}{free}{least}{most}"


def _model_text(model: ChargeModel, basis: str) -> str:
    match model:
        case StandardModel():
            return f"{model.unit_price}/{basis}"
        case PackageModel():
            return f"{model.price} per {_plain(model.size)} of {basis}"
        case GraduatedModel() | VolumeModel():
            name = "graduated" if isinstance(model, GraduatedModel) else "volume"
            return f"{name} from {model.tiers[0].unit_price}/{basis}"
        case PercentageModel():
            fixed = f" + {model.fixed} each" if model.fixed else ""
            return f"{_plain(model.rate * 100)} %{fixed}"
        case GraduatedPercentageModel():
            return f"graduated from {_plain(model.tiers[0].rate * 100)} %"
        case FlatModel():
            return f"{model.amount} flat"
        case DynamicModel():
            return "as reported"


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"

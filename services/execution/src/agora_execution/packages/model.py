"""What may be hired or run, and how much a run is estimated to use. Pure rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any

from agora_contracts.billing import Quantity
from agora_contracts.catalog import (
    AGENTS_COST_METER,
    CALLS_COST_MOST,
    MODEL_COST_METER,
    PER_UNIT_BASES,
    Estimate,
    Manifest,
    Schemas,
)
from agora_contracts.problems import AgoraError, FieldError

EXECUTABLE_STATES = frozenset({"published", "deprecated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """One version of a package as execution knows it."""

    package: str
    version: str
    manifest: Manifest
    schemas: Schemas
    price_version: str
    first_party: bool
    state: str


def version_key(version: str) -> tuple[int, ...]:
    """Order of versions: `1.10.0` is after `1.9.0`."""
    return tuple(int(part) for part in version.split("."))


def newest(versions: Sequence[PackageVersion]) -> PackageVersion | None:
    """The newest version that is published, else deprecated, else announced; None when none is listed."""
    for state in ("published", "deprecated", "announced"):
        listed = [version for version in versions if version.state == state]
        if listed:
            return max(listed, key=lambda one: version_key(one.version))
    return None


def require_executable(version: PackageVersion) -> None:
    """Raises: AgoraError `not_executable`, saying why, when no run may start on this version."""
    if version.state not in EXECUTABLE_STATES:
        raise AgoraError(
            "not_executable", f"{version.package} {version.version} is {version.state}; it cannot be executed"
        )
    if not version.first_party:
        raise AgoraError(
            "not_executable",
            f"{version.package} is not one of the platform's own packages; others run once the sandbox exists",
        )


def per_unit_basis(version: PackageVersion) -> str:
    """The basis that a one-shot run pays by: the first per-unit price on offer.

    Raises:
        AgoraError: `basis_not_rated`, when none is by the unit.
    """
    for price in version.manifest.prices:
        if price.basis in PER_UNIT_BASES:
            return price.basis
    raise AgoraError(
        "basis_not_rated",
        f"{version.package} has no price by the unit of work; hire it and execute the deployment",
    )


def require_basis(version: PackageVersion, basis: str) -> None:
    """Raises: AgoraError, when the basis is not offered."""
    offered = [price.basis for price in version.manifest.prices]
    if basis not in offered:
        raise AgoraError(
            "invalid_price",
            f"{version.package} is not offered by the {basis}; offered: {', '.join(offered)}",
            errors=[FieldError(field="/basis", detail=f"one of {', '.join(offered)}")],
        )


def null_characters(document: Any, place: str = "") -> list[str]:
    """Where a document (plain JSON types) holds U+0000, which the database cannot store, as JSON pointers."""
    match document:
        case str():
            return [place or "/"] if "\0" in document else []
        case Mapping():
            names = [place or "/"] if any("\0" in name for name in document) else []
            found = (null_characters(value, f"{place}/{name}") for name, value in document.items())
            return [*names, *chain.from_iterable(found)]
        case list():
            inner = (null_characters(value, f"{place}/{number}") for number, value in enumerate(document))
            return list(chain.from_iterable(inner))
        case _:
            return []


def estimate(
    version: PackageVersion,
    basis: str,
    run_input: Mapping[str, Any],
    *,
    models: bool,
    weights: Mapping[str, int] | None = None,
) -> list[Quantity]:
    """The most that a run on this input uses, by meter, as the manifest describes it.

    `models` adds the most that model calls may cost, where models can be asked at all; what the runs that it calls may
    cost is added always. `weights` tells the bytes of the files at each pointer of the input that the manifest weighs.

    Raises:
        AgoraError: `invalid_input`, when the list that is counted is not in the input, or no file that is
            weighed.
    """
    manifest = version.manifest
    meters = [price.meter for price in manifest.prices if price.basis == basis and price.meter]
    quantities = [_estimated(manifest, meter, run_input, weights or {}) for meter in meters]
    if models and manifest.permissions.models and manifest.limits.model_cost > 0:
        quantities.append(Quantity(meter=MODEL_COST_METER, quantity=manifest.limits.model_cost))
    if (calls := _calls_cost(manifest, run_input)) > 0:
        quantities.append(Quantity(meter=AGENTS_COST_METER, quantity=calls))
    return quantities


def _calls_cost(manifest: Manifest, run_input: Mapping[str, Any]) -> Decimal:
    """What is set aside for the runs that a run calls: as the input says, where the manifest lets it."""
    limits = manifest.limits
    said = None if limits.calls_cost_of is None else at(limits.calls_cost_of, run_input)
    if said is None:
        return limits.calls_cost_max
    try:
        amount = Decimal(said) if isinstance(said, str) else Decimal(-1)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= CALLS_COST_MOST:
        raise AgoraError(
            "invalid_input",
            f"the input does not say what the called agents may cost at {limits.calls_cost_of}",
            errors=[
                FieldError(
                    field=limits.calls_cost_of or "/", detail=f"0 to {CALLS_COST_MOST} USD, as a string"
                )
            ],
        )
    return amount


def _estimated(
    manifest: Manifest, meter: str, run_input: Mapping[str, Any], weights: Mapping[str, int]
) -> Quantity:
    rule = manifest.estimate.get(meter) or Estimate(fixed=Decimal(1))
    if rule.size_of is not None:
        weight = weights.get(rule.size_of)
        if weight is None:
            raise AgoraError(
                "invalid_input",
                f"a file at {rule.size_of or 'the input'} is needed to estimate the price",
                errors=[FieldError(field=rule.size_of or "/", detail="must name a file")],
            )
        # Exact: a division by a power of ten moves the point.
        return Quantity(meter=meter, quantity=Decimal(weight).scaleb(-9), events=rule.events or 1)
    if rule.count_of is not None:
        count = _count(rule.count_of, run_input)
        return Quantity(meter=meter, quantity=Decimal(count), events=rule.events or count)
    return Quantity(meter=meter, quantity=rule.fixed or Decimal(0), events=rule.events or 1)


def _count(pointer: str, run_input: Mapping[str, Any]) -> int:
    counted = at(pointer, run_input)
    if not isinstance(counted, list):
        raise AgoraError(
            "invalid_input",
            f"the list at {pointer} is needed to estimate the price",
            errors=[FieldError(field=pointer, detail="must be a list")],
        )
    return len(counted)


def weighed(manifest: Manifest) -> set[str]:
    """The pointers of the input at which files are weighed for the estimate."""
    return {rule.size_of for rule in manifest.estimate.values() if rule.size_of is not None}


def at(pointer: str, document: Any) -> Any:
    """What a JSON pointer (RFC 6901) names in nested objects, the whole for an empty one; None where nothing is."""
    for name in names(pointer):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def names(pointer: str) -> list[str]:
    """The names that a JSON pointer goes through."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]

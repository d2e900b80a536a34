"""What may be hired or run, and how much a run is estimated to use. Pure rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

from agora_contracts.billing import Quantity
from agora_contracts.catalog import MODEL_COST_METER, PER_UNIT_BASES, Manifest, Schemas
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
    raise AgoraError("basis_not_rated", f"{version.package} has no price by the unit of work")


def require_basis(version: PackageVersion, basis: str) -> None:
    """Raises: AgoraError, when the basis is not offered, or not rated yet."""
    offered = [price.basis for price in version.manifest.prices]
    if basis not in offered:
        raise AgoraError(
            "invalid_price",
            f"{version.package} is not offered by the {basis}; offered: {', '.join(offered)}",
            errors=[FieldError(field="/basis", detail=f"one of {', '.join(offered)}")],
        )
    if basis not in PER_UNIT_BASES:
        rated = [one for one in offered if one in PER_UNIT_BASES]
        raise AgoraError(
            "basis_not_rated",
            f"the basis {basis!r} is listed but not billed yet; hire by {', '.join(rated) or 'another package'}",
            errors=[FieldError(field="/basis", detail="not available yet")],
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
    version: PackageVersion, basis: str, run_input: Mapping[str, Any], *, models: bool
) -> list[Quantity]:
    """The most that a run on this input uses, by meter, as the manifest describes it.

    `models` adds the most that model calls may cost, where models can be asked at all.

    Raises:
        AgoraError: `invalid_input`, when the list that is counted is not in the input.
    """
    manifest = version.manifest
    meters = [price.meter for price in manifest.prices if price.basis == basis and price.meter]
    quantities = [Quantity(meter=meter, quantity=_estimated(manifest, meter, run_input)) for meter in meters]
    if models and manifest.permissions.models and manifest.limits.model_cost > 0:
        quantities.append(Quantity(meter=MODEL_COST_METER, quantity=manifest.limits.model_cost))
    return quantities


def _estimated(manifest: Manifest, meter: str, run_input: Mapping[str, Any]) -> Decimal:
    rule = manifest.estimate.get(meter)
    if rule is None:
        return Decimal(1)
    if rule.fixed is not None:
        return rule.fixed
    counted: Any = run_input
    for part in (rule.count_of or "").strip("/").split("/"):
        counted = counted.get(part) if isinstance(counted, Mapping) else None
    if not isinstance(counted, list):
        raise AgoraError(
            "invalid_input",
            f"the list at {rule.count_of} is needed to estimate the price",
            errors=[FieldError(field=rule.count_of or "/", detail="must be a list")],
        )
    return Decimal(len(counted))

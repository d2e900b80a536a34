"""The rules of listings: what may be published, how a version's state moves, which version is shown."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.catalog import (
    AGENTS_COST_METER,
    MODEL_COST_METER,
    OWN_KEY_METER,
    PER_UNIT_BASES,
    Category,
    Estimate,
    ListingState,
    Manifest,
    OfferedPrice,
    PublishPackage,
)
from agora_contracts.ids import derived
from agora_contracts.problems import FieldError

CURRENCY = "USD"
"""The currency of every price on offer."""

NO_SHARE = Decimal(0)
"""What an author earns who is none."""

CATEGORIES: Mapping[Category, str] = {
    "customer-support": "Customer Support",
    "operations-automation": "Operations Automation",
    "it-devops": "IT/DevOps",
    "compliance-security": "Compliance/Security",
}
"""The categories with their titles, in the order in which they are listed."""

FIRST_STATES: frozenset[ListingState] = frozenset({"announced", "draft", "published"})
"""States in which a version may be published; the others are reached from there."""

EXECUTABLE: frozenset[ListingState] = frozenset({"published", "deprecated"})
VISIBLE: frozenset[ListingState] = EXECUTABLE | {"announced"}

_NEXT_STATES: Mapping[ListingState, frozenset[ListingState]] = {
    "announced": frozenset({"published", "retired"}),
    "draft": frozenset({"announced", "published", "retired"}),
    "published": frozenset({"deprecated", "retired"}),
    "deprecated": frozenset({"published", "retired"}),
    "retired": frozenset(),
}
_SHOWN_FIRST: tuple[ListingState, ...] = ("published", "deprecated", "announced")

_METER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_METER_LENGTH_MAX = 64
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?")
_POINTER = re.compile(r"(/([^~/]|~[01])+)+")
# Line breaks and tabs are text; other control characters are not, and PostgreSQL refuses the null character.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_RENTAL_BASES = ("hour", "month")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionState:
    """A version of a package and where it stands."""

    version: str
    state: ListingState


def is_executable(state: ListingState, *, first_party: bool) -> bool:
    """Whether runs of such a version are accepted: packages from elsewhere wait for the sandbox."""
    return first_party and state in EXECUTABLE


def may_move(current: ListingState, wanted: ListingState) -> bool:
    """Whether a version may go from one state to another; staying where it is, is no move."""
    return wanted in _NEXT_STATES[current]


def next_states(current: ListingState) -> list[ListingState]:
    """The states that `current` may move to, in alphabetical order."""
    return sorted(_NEXT_STATES[current])


def version_number(version: str) -> tuple[int, ...]:
    """A version as numbers, so that 1.10.0 is newer than 1.9.0."""
    return tuple(int(part) for part in version.split("."))


def newest_first(versions: Iterable[VersionState]) -> list[VersionState]:
    """Sort versions, the newest first."""
    return sorted(versions, key=lambda one: version_number(one.version), reverse=True)


def shown_version(versions: Iterable[VersionState]) -> str | None:
    """The version that stands for its package: the newest published one, else deprecated, else announced.

    None when no version is visible. An announced 2.0.0 must not hide the 1.0.0 that customers can execute.
    """
    ordered = newest_first(versions)
    for state in _SHOWN_FIRST:
        for one in ordered:
            if one.state == state:
                return one.version
    return None


# --- identity of contents ------------------------------------------------------------------------


def contents_hash(package: PublishPackage) -> str:
    """A hash (SHA-256, hex) that is equal for equal contents, however numbers and keys were written down."""
    plain = msgspec.to_builtins(package, builtin_types=(Decimal,))
    return hashlib.sha256(msgspec.json.encode(_canonical(plain), order="sorted")).hexdigest()


def price_version_id(package: PublishPackage) -> str:
    """The id under which billing pins the prices of this version."""
    return derived("price", package.manifest.id, package.manifest.version, contents_hash(package))


def differences(published: PublishPackage, offered: PublishPackage) -> list[FieldError]:
    """The fields in which an offered version differs from the one published under its number."""
    before = _canonical(msgspec.to_builtins(published, builtin_types=(Decimal,)))
    after = _canonical(msgspec.to_builtins(offered, builtin_types=(Decimal,)))
    found = []
    for part in ("manifest", "schemas"):
        for field in sorted(before[part].keys() | after[part].keys()):
            if before[part].get(field) != after[part].get(field):
                pointer = f"/{part}/{field}"
                found.append(FieldError(field=pointer, detail=_difference(pointer)))
    if before["first_party"] != after["first_party"]:
        found.append(FieldError(field="/first_party", detail=_difference("/first_party")))
    return found


def _difference(pointer: str) -> str:
    if pointer == "/manifest/state":
        return "a published version's state is moved with SetListingState, not by publishing it again"
    return "differs from what is published under this version"


def _canonical(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dict):
        return {key: _canonical(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    return value


# --- what a manifest must be beyond its types ----------------------------------------------------


def manifest_faults(manifest: Manifest) -> list[FieldError]:
    """Everything wrong with a manifest that its types cannot say, each with its field; empty when sound."""
    return [
        *_state_faults(manifest),
        *_text_faults(manifest),
        *price_faults(manifest.prices),
        *_estimate_faults(manifest),
        *_permission_faults(manifest),
    ]


def author_faults(package: PublishPackage) -> Iterator[FieldError]:
    """What is wrong with who earns: the platform's own packages have no author beside it."""
    if package.first_party and package.manifest.author is not None:
        detail = "must be left out: the platform's own packages (first_party) share their charges with nobody"
        yield FieldError(field="/manifest/author", detail=detail)


def _state_faults(manifest: Manifest) -> Iterator[FieldError]:
    if manifest.state not in FIRST_STATES:
        detail = f"a version is published as one of {', '.join(sorted(FIRST_STATES))}, not {manifest.state}"
        yield FieldError(field="/manifest/state", detail=detail)


def _text_faults(manifest: Manifest) -> Iterator[FieldError]:
    texts = {"title": manifest.title, "summary": manifest.summary, "description": manifest.description}
    texts |= {f"tags/{number}": tag for number, tag in enumerate(manifest.tags)}
    for field, value in texts.items():
        if _CONTROL.search(value):
            yield FieldError(field=f"/manifest/{field}", detail="must not contain control characters")
        elif field != "description" and not value.strip():
            yield FieldError(field=f"/manifest/{field}", detail="must not be blank")
    if len({tag.casefold() for tag in manifest.tags}) < len(manifest.tags):
        yield FieldError(field="/manifest/tags", detail="a tag may stand here only once")


def price_faults(prices: list[OfferedPrice]) -> Iterator[FieldError]:
    """What is wrong with prices among themselves, each with its field below /manifest."""
    seen: set[tuple[str, str | None]] = set()
    for number, price in enumerate(prices):
        at = f"/manifest/prices/{number}"
        if (price.basis, price.meter) in seen:
            of = f" of {price.meter}" if price.meter else ""
            detail = f"the basis {price.basis} has a price{of} already"
            yield FieldError(field=f"{at}/basis", detail=detail)
        seen.add((price.basis, price.meter))
        if price.basis in PER_UNIT_BASES and price.meter is None:
            detail = f"the price by {price.basis} needs the usage meter that it rates"
            yield FieldError(field=f"{at}/meter", detail=detail)
        if price.basis in _RENTAL_BASES and price.meter is not None:
            detail = f"the price by {price.basis} is for time and rates no meter; leave `meter` out"
            yield FieldError(field=f"{at}/meter", detail=detail)
        if price.meter is not None:
            yield from _meter_faults(f"{at}/meter", price.meter)


def _meter_faults(field: str, meter: str) -> Iterator[FieldError]:
    if meter == OWN_KEY_METER:
        yield FieldError(field=field, detail=f"{OWN_KEY_METER} is the platform's own meter; see own_key_fee")
    elif meter == AGENTS_COST_METER:
        detail = f"{AGENTS_COST_METER} is the platform's own meter; bound it with limits.calls_cost_max"
        yield FieldError(field=field, detail=detail)
    elif meter == MODEL_COST_METER:
        detail = f"{MODEL_COST_METER} is the platform's own meter; bound it with limits.model_cost"
        yield FieldError(field=field, detail=detail)
    elif not _METER.fullmatch(meter) or len(meter) > _METER_LENGTH_MAX:
        detail = f"a meter is lower-case words joined by dots, at most {_METER_LENGTH_MAX} characters: tasks"
        yield FieldError(field=field, detail=detail)


def _estimate_faults(manifest: Manifest) -> Iterator[FieldError]:
    priced = {price.meter for price in manifest.prices if price.meter is not None}
    for meter, estimate in manifest.estimate.items():
        field = f"/manifest/estimate/{meter}"
        if meter not in priced:
            named = ", ".join(sorted(priced)) or "none"
            yield FieldError(field=field, detail=f"no price rates this meter; the priced meters are: {named}")
        yield from _one_estimate_faults(field, estimate)
    for meter in sorted(priced - manifest.estimate.keys()):
        detail = "is missing: a run's cost is quoted before it starts, so every priced meter has an estimate"
        yield FieldError(field=f"/manifest/estimate/{meter}", detail=detail)


def _one_estimate_faults(field: str, estimate: Estimate) -> Iterator[FieldError]:
    ways = (estimate.fixed, estimate.count_of, estimate.size_of)
    if sum(way is not None for way in ways) != 1:
        yield FieldError(field=field, detail="needs exactly one of `fixed`, `count_of` and `size_of`")
    if estimate.count_of is not None and not _POINTER.fullmatch(estimate.count_of):
        detail = "must be a JSON pointer to a list in the input, such as /tickets"
        yield FieldError(field=f"{field}/count_of", detail=detail)
    if estimate.size_of and not _POINTER.fullmatch(estimate.size_of):
        detail = (
            "must be a JSON pointer to what names files in the input, such as /file, or empty for all of it"
        )
        yield FieldError(field=f"{field}/size_of", detail=detail)


def _permission_faults(manifest: Manifest) -> Iterator[FieldError]:
    if manifest.permissions.models and manifest.limits.model_cost == 0:
        detail = "must say the most that a run may spend, because permissions.models is true"
        yield FieldError(field="/manifest/limits/model_cost", detail=detail)
    if manifest.limits.model_cost > 0 and not manifest.permissions.models:
        detail = "must be true, because limits.model_cost lets a run spend on models"
        yield FieldError(field="/manifest/permissions/models", detail=detail)
    if manifest.limits.calls_cost_max > 0 and not manifest.permissions.agents:
        detail = "must name who is called, because limits.calls_cost_max sets something aside for it"
        yield FieldError(field="/manifest/permissions/agents", detail=detail)
    for number, host in enumerate(manifest.permissions.network):
        if not _HOST.fullmatch(host):
            detail = "must be a host such as api.example.com or *.example.com, with or without a port"
            yield FieldError(field=f"/manifest/permissions/network/{number}", detail=detail)


# --- search --------------------------------------------------------------------------------------

SEARCH_LENGTH_MAX = 200
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for: words in web-search syntax, and a prefix when it is a single word."""

    words: str
    prefix: str | None


def read_search(text: str) -> Search | None:
    """Read what somebody typed into a search box; None when there is nothing in it.

    Raises:
        ValueError: longer than `SEARCH_LENGTH_MAX` characters.
    """
    if len(text) > SEARCH_LENGTH_MAX:
        raise ValueError(f"a search has at most {SEARCH_LENGTH_MAX} characters")
    words = _CONTROL.sub(" ", text).strip()
    if not words:
        return None
    return Search(words=words, prefix=words.lower() if _WORD.fullmatch(words) else None)

"""Packages as the public API shows them; the contracts' own structs where nothing has to change."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import Quantity, Quote, QuoteLine
from agora_contracts.catalog import (
    CategoryCount,
    CategoryList,
    ChargePolicy,
    Estimate,
    Limits,
    OfferedPrice,
    PackageDetail,
    PackagePage,
    PackageSummary,
    Permissions,
)
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.package_health import PackageHealth
from agora_contracts.runs import RunEstimate

from agora_gateway.edge.shapes import A_LINE, A_QUANTITY, USD_HALF, MoneyBody


class PackageDetailShape(msgspec.Struct, frozen=True, kw_only=True):
    """A package version, whole: what it does, takes, gives, costs and may touch."""

    id: str
    version: str
    title: str
    summary: str
    category: str
    state: str
    executable: bool
    first_party: bool
    tags: list[str]
    prices: list[OfferedPrice]
    price_version: str
    published_at: datetime
    description: str
    permissions: Permissions
    limits: Limits
    charges: ChargePolicy
    estimate: dict[str, Estimate]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    config_schema: dict[str, Any]
    versions: list[str]


class QuoteShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a run costs at most, and what is owed when it does not deliver in full."""

    price_version: str
    basis: str
    lines: list[QuoteLine]
    amount: PublicMoney
    policy: str


class EstimateShape(msgspec.Struct, frozen=True, kw_only=True):
    """The quantities a run is expected to use at most, and their price."""

    estimates: list[Quantity]
    quote: QuoteShape


class EstimateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of the run to be estimated; without `version` the newest one's price."""

    input: dict[str, Any]
    version: str | None = None


class ExecuteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run's input, to the package's input schema; without `version` the newest one runs.

    `max_cost` is the run's own hard budget: it is refused when it is quoted at more, and never charged more.
    """

    input: dict[str, Any]
    version: str | None = None
    max_cost: MoneyBody | None = None


def package_detail(detail: PackageDetail) -> PackageDetailShape:
    """Flatten a package version for the public."""
    summary, manifest, schemas = detail.summary, detail.manifest, detail.schemas
    return PackageDetailShape(
        **msgspec.structs.asdict(summary),
        first_party=detail.first_party,
        description=manifest.description,
        permissions=manifest.permissions,
        limits=manifest.limits,
        charges=manifest.charges,
        estimate=manifest.estimate,
        input_schema=schemas.input,
        output_schema=schemas.output,
        config_schema=schemas.config,
        versions=detail.versions,
    )


def quote_shape(quote: Quote) -> QuoteShape:
    """A quote for the public."""
    return QuoteShape(
        price_version=quote.price_version,
        basis=quote.basis,
        lines=quote.lines,
        amount=to_public(quote.amount),
        policy=quote.policy,
    )


def estimate_shape(estimate: RunEstimate) -> EstimateShape:
    """An estimate for the public."""
    return EstimateShape(estimates=estimate.estimates, quote=quote_shape(estimate.quote))


# --- examples of the documentation ---------------------------------------------------------------

_PUBLISHED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_PRICE = OfferedPrice(basis="task", unit_price=Decimal("0.5"), meter="tasks")
A_SUMMARY = PackageSummary(
    id="echo",
    version="1.0.0",
    title="Echo",
    summary="Returns the text it was given.",
    category="operations-automation",
    state="published",
    executable=True,
    tags=["example"],
    prices=[_PRICE],
    price_version="price_0190a5b07c3a7d4e8f00112233445566",
    published_at=_PUBLISHED,
)
A_PAGE = PackagePage(items=[A_SUMMARY])
CATEGORIES = CategoryList(
    items=[CategoryCount(id="operations-automation", title="Operations Automation", packages=3)]
)
_TEXT_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
A_DETAIL = PackageDetailShape(
    **msgspec.structs.asdict(A_SUMMARY),
    first_party=True,
    description="The smallest agent: one short step.",
    permissions=Permissions(),
    limits=Limits(),
    charges=ChargePolicy(),
    estimate={"tasks": Estimate(fixed=Decimal(1))},
    input_schema=_TEXT_SCHEMA,
    output_schema=_TEXT_SCHEMA,
    config_schema={"type": "object"},
    versions=["1.0.0"],
)
A_QUOTE = QuoteShape(
    price_version=A_SUMMARY.price_version,
    basis="task",
    lines=[A_LINE],
    amount=USD_HALF,
    policy="nothing is owed for a run that fails or delivers nothing",
)
AN_ESTIMATE = EstimateShape(estimates=[A_QUANTITY], quote=A_QUOTE)
AN_ESTIMATE_BODY = EstimateBody(input={"text": "hello"})
AN_EXECUTE_BODY = ExecuteBody(input={"text": "hello"}, max_cost=MoneyBody(amount="1.00"))
A_HEALTH = PackageHealth(
    package="echo",
    version="1.0.0",
    status="healthy",
    schema_ok=True,
    tools={},
    model_reachable=False,
    last_success_at=_PUBLISHED,
    success_rate=Decimal("0.99"),
)

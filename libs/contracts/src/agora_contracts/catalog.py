"""Messages of the catalog: manifests, listings, prices as offered."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agora_contracts.pricing import PRICE_MAX, ZERO, ChargeModel, StandardModel, check_range, check_window

# `$` alone also matches before a line end that closes the text.
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", max_length=64)]
Version = Annotated[str, Meta(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$(?!\n)")]
ListingState = Literal["announced", "draft", "published", "deprecated", "retired"]
Category = Literal["customer-support", "operations-automation", "it-devops", "compliance-security"]
Basis = Literal[
    "task", "query", "escalation", "job", "report", "execution", "incident", "deployment", "audit", "scan",
    "gb", "hour", "month",
]  # fmt: skip
PackageClass = Literal["standard", "heavy"]
"""Which places of the workers a package's runs take."""

PER_UNIT_BASES: frozenset[str] = frozenset(
    {
        "task",
        "query",
        "escalation",
        "job",
        "report",
        "execution",
        "incident",
        "deployment",
        "audit",
        "scan",
        "gb",
    }
)
"""Bases that rate a meter by the unit of work or volume; `hour` and `month` are rentals."""

Window = Literal["run", "month"]
"""What is added up before it is rated: the usage of one run, or of a calendar month (UTC)."""

NOTICE_DAYS = 30
"""How many days a rise is announced to standing customers at least."""

OWN_KEY_METER = "model.cost.own"
"""Meter of what model calls with the customer's own key cost, which the vendor charges: not charged here, but the
platform's fee for them is a line of this meter."""

MODEL_COST_METER = "model.cost"
"""Meter of what model calls cost, in whole currency units as a decimal; passed through at cost."""

AGENTS_COST_METER = "agents.cost"
"""Meter of what the runs that a run calls may cost, in whole currency units as a decimal. Quoted and set aside with the
run; charged by those runs themselves, each from the part of it that it was given."""

CALLS_COST_MOST = 1000
"""The most USD that the runs which one run calls may cost."""


class Permissions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent may touch; anything not granted is refused at run time.

    `agents` are the packages that it may call, or `"*"` for any.
    """

    files: bool = False
    knowledge: bool = False
    models: bool = False
    memory: bool = False
    network: list[str] = []
    agents: list[str] = []


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one run: seconds from start to end, and the most that its model calls, and that the runs which it
    calls, may cost (USD).

    When models would cost more, the run waits until somebody lets it spend more (`over_budget = "pause"`), or goes on
    without a model (`"baseline"`), as an agent may that has other means.

    `class` says which places of the workers its runs take: those of `standard` packages if not given, or those of
    `heavy` ones, whose steps need much memory or computing, so that neither wait for the other.

    `calls_cost_of` is a JSON pointer to where the input may say another amount than `calls_cost_max`, as a decimal
    string, at most `CALLS_COST_MOST`.
    """

    timeout_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    model_cost: Decimal = Decimal(0)
    over_budget: Literal["pause", "baseline"] = "pause"
    calls_cost_max: Decimal = Decimal(0)
    # Unset rather than "standard": what was published before there were classes must stay what it is.
    package_class: PackageClass | UnsetType = msgspec.field(default=UNSET, name="class")
    calls_cost_of: Annotated[str, Meta(pattern=r"^/", max_length=200)] | None = None

    def __post_init__(self) -> None:
        check_range("model_cost", self.model_cost, most=1000)
        check_range("calls_cost_max", self.calls_cost_max, most=CALLS_COST_MOST)

    @property
    def served_as(self) -> PackageClass:
        """The class whose places its runs take."""
        return "standard" if self.package_class is UNSET else self.package_class


class OfferedPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One basis on offer: what its `meter` costs, as exactly one of `unit_price` and `model` says.

    `unit_price` is USD per unit, at most twelve decimal places: the standard model in short. `window` is what
    is added up before it is rated: one run, or a calendar month (UTC). In each window `free_units` cost
    nothing, and what is owed for a window with usage is at least `minimum` and at most `maximum` USD.
    """

    basis: Basis
    unit_price: Decimal | UnsetType = UNSET
    meter: str | None = None
    model: ChargeModel | None = None
    window: Window = "run"
    free_units: Decimal = ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.unit_price is UNSET) == (self.model is None):
            raise ValueError("a price needs exactly one of unit_price and model")
        if self.unit_price is not UNSET:
            check_range("unit_price", self.unit_price, most=PRICE_MAX)
        check_window(self.charge_model, self.window, self.free_units, self.minimum, self.maximum)

    @property
    def charge_model(self) -> ChargeModel:
        """How a quantity becomes an amount; `unit_price` alone is the standard model."""
        if self.model is not None:
            return self.model
        return StandardModel(unit_price=ZERO if self.unit_price is UNSET else self.unit_price)


class ChargePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is owed when the deliverable is not full.

    `partial` is `"delivered_units"` (the metered units count as they are) or `"share:0.5"` (that share of
    the full price). `empty` and `failed` are `"nothing"` or `"full"`.
    """

    partial: Annotated[
        str, Meta(pattern=r"^(delivered_units|share:(0(\.[0-9]{1,6})?|1(\.0{1,6})?))$(?!\n)")
    ] = "delivered_units"
    empty: Literal["nothing", "full"] = "nothing"
    failed: Literal["nothing", "full"] = "nothing"


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many units of a meter one run uses at most, as exactly one of three says.

    `fixed` is a number. `count_of` is a JSON pointer into the input that names a list: one unit for each of
    its elements. `size_of` is a pointer too (empty: the whole input): the gigabytes (10^9 bytes) of all files
    that are named there, exactly. `events` is in how many usage events that comes at most, for prices by
    transaction: 1 if not given, or the list's length.
    """

    fixed: Decimal | None = None
    count_of: str | None = None
    size_of: str | None = None
    events: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    def __post_init__(self) -> None:
        if self.fixed is not None:
            check_range("fixed", self.fixed, most=1_000_000)


class Author(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who earns with a package that is not the platform's own, and the share (0 to 1) of each charge.

    Model calls at cost are passed through and not shared.
    """

    id: Slug
    share: Decimal

    def __post_init__(self) -> None:
        check_range("share", self.share, most=1)


class OwnKeyFee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The platform's fee for model calls with the customer's own key: a share of their cost, and USD for each call."""

    rate: Decimal = ZERO
    per_call: Decimal = ZERO

    def __post_init__(self) -> None:
        check_range("rate", self.rate, most=1)
        check_range("per_call", self.per_call, most=PRICE_MAX)


class ConversationFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a package holds a conversation: the `input` field that takes a message, and the `output` field that answers.

    Both are names of fields at the top of the package's input and output.
    """

    input: Annotated[str, Meta(min_length=1, max_length=100)]
    output: Annotated[str, Meta(min_length=1, max_length=100)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent package as its author describes it (`agent.toml`)."""

    id: Slug
    version: Version
    title: Annotated[str, Meta(min_length=1, max_length=120)]
    summary: Annotated[str, Meta(min_length=1, max_length=300)]
    category: Category
    description: Annotated[str, Meta(max_length=20_000)] = ""
    state: ListingState = "published"
    tags: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=20)] = []
    permissions: Permissions = Permissions()
    limits: Limits = Limits()
    prices: Annotated[list[OfferedPrice], Meta(min_length=1, max_length=20)]
    charges: ChargePolicy = ChargePolicy()
    estimate: dict[str, Estimate] = {}
    author: Author | None = None
    own_key_fee: OwnKeyFee = OwnKeyFee()
    conversation: ConversationFields | None = None


class Schemas(msgspec.Struct, frozen=True, kw_only=True):
    """JSON Schemas (2020-12) of a package version's input, output and deployment config."""

    input: dict[str, Any]
    output: dict[str, Any]
    config: dict[str, Any]


class PublishPackage(msgspec.Struct, frozen=True, kw_only=True):
    """Publish one version of a package. The same contents again change nothing; other contents conflict."""

    manifest: Manifest
    schemas: Schemas
    first_party: bool = False


class SetListingState(msgspec.Struct, frozen=True, kw_only=True):
    """Move a published version along its listing states (deprecate, retire)."""

    package: str
    version: str
    state: ListingState


class PublishPrices(msgspec.Struct, frozen=True, kw_only=True):
    """Revise the prices of a package for all its versions until now. Once per `price_version`, which the asker makes.

    Without `charges` the charge policy stays as it is; without `effective_at` the prices apply at once. A standing
    deployment for which it is a rise keeps its prices until the notice is over.
    """

    package: str
    price_version: str
    prices: Annotated[list[OfferedPrice], Meta(min_length=1, max_length=20)]
    charges: ChargePolicy | None = None
    effective_at: datetime | None = None
    notice_days: Annotated[int, Meta(ge=NOTICE_DAYS, le=365)] = NOTICE_DAYS


class PriceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a price book: prices with the package's `version` they came with, or revised for all (None)."""

    price_version: str
    number: int
    version: str | None
    prices: list[OfferedPrice]
    charges: ChargePolicy
    published_at: datetime
    effective_at: datetime
    notice_days: int


class ListPrices(msgspec.Struct, frozen=True, kw_only=True):
    """Read a package's price book; `at` asks what a new customer takes then (now if left out)."""

    package: str
    at: datetime | None = None


class PriceBook(msgspec.Struct, frozen=True, kw_only=True):
    """Every price that a package has had and will have, newest first.

    `in_force` is the price version that a new customer of the shown version takes at the moment asked for; none
    where nothing was published by then.
    """

    package: str
    items: list[PriceEntry]
    in_force: str | None


class PackageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A package in a list: its newest visible version."""

    id: str
    version: str
    title: str
    summary: str
    category: Category
    state: ListingState
    executable: bool
    tags: list[str]
    prices: list[OfferedPrice]
    price_version: str
    published_at: datetime


class PackageDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One package version, whole."""

    summary: PackageSummary
    manifest: Manifest
    schemas: Schemas
    versions: list[str]
    first_party: bool


class ListPackages(msgspec.Struct, frozen=True, kw_only=True):
    """List packages, newest visible version each; `search` is full text over title, summary, tags, description."""

    category: str | None = None
    search: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class PackagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of packages."""

    items: list[PackageSummary]
    next_cursor: str | None = None


class GetPackage(msgspec.Struct, frozen=True, kw_only=True):
    """Read one package; without `version` the newest visible one."""

    package: str
    version: str | None = None


class ListCategories(msgspec.Struct, frozen=True, kw_only=True):
    """List the categories with how many visible packages each holds."""


class CategoryCount(msgspec.Struct, frozen=True, kw_only=True):
    """One category of the marketplace."""

    id: Category
    title: str
    packages: int


class CategoryList(msgspec.Struct, frozen=True, kw_only=True):
    """All categories, in their fixed order."""

    items: list[CategoryCount]


class PackagePublished(msgspec.Struct, frozen=True, kw_only=True):
    """A package version stands in the catalogue; execution keeps a read model of it."""

    package: str
    version: str
    manifest: Manifest
    schemas: Schemas
    price_version: str
    first_party: bool


class ListingStateChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A version's listing state moved."""

    package: str
    version: str
    state: ListingState


class PriceVersionPublished(msgspec.Struct, frozen=True, kw_only=True):
    """The prices and charge policy of a package version as offered; billing pins them under this id.

    `author` earns `author_share` of what is charged; without an author all of it is the platform's. `number` is its
    place in the package's price book, counted from 1. With `revises` it applies from `effective_at` to every version
    of the package that was published before, to standing customers not before `notice_days` if it is a rise.
    """

    price_version: str
    package: str
    version: str
    currency: str
    prices: list[OfferedPrice]
    charges: ChargePolicy
    model_cost_limit: Decimal
    author: str | None = None
    author_share: Decimal = Decimal(0)
    number: int = 0
    revises: bool = False
    effective_at: datetime | None = None
    notice_days: int = NOTICE_DAYS
    own_key_fee: OwnKeyFee = OwnKeyFee()

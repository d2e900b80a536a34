"""What the API answers, typed. Fields that the API may add are ignored; times are UTC."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import ChargeDifference, Quantity, QuoteLine
from agora_contracts.catalog import ChargePolicy, Estimate, Limits, OfferedPrice, Permissions
from agora_contracts.metering import UsageRow
from agora_contracts.money import PublicMoney
from agora_contracts.runs import RunError, Step

__all__ = [
    "ChargeDifference",
    "ChargePolicy",
    "Estimate",
    "OfferedPrice",
    "PublicMoney",
    "Quantity",
    "QuoteLine",
    "RunError",
    "Step",
]

ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled"})


class Page[Item](msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list; `next_cursor` asks for the next one, None where there is none."""

    items: list[Item]
    next_cursor: str | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package as a list shows it."""

    id: str
    version: str
    title: str
    summary: str
    category: str
    state: str
    executable: bool
    prices: list[OfferedPrice]
    tags: list[str] = []
    price_version: str = ""


class PackageDetail(Package, frozen=True, kw_only=True):
    """A package whole, with the JSON Schemas of what it takes and gives."""

    description: str = ""
    permissions: Permissions = Permissions()
    limits: Limits = Limits()
    charges: ChargePolicy = ChargePolicy()
    estimate: dict[str, Estimate] = {}
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] = {}
    config_schema: dict[str, Any] = {}
    versions: list[str] = []


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a run costs at most, and the policy for what it does not deliver."""

    basis: str
    lines: list[QuoteLine]
    amount: PublicMoney
    price_version: str = ""
    policy: str = ""


class RunEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A run's estimated quantities and their quote."""

    estimates: list[Quantity]
    quote: Quote


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is now. `cost` is set once its charge is settled; `output` where it succeeded."""

    id: str
    status: str
    package: str
    version: str
    basis: str
    accepted_at: datetime
    quoted: PublicMoney
    deployment: str | None = None
    waiting_for: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output: dict[str, Any] | None = None
    deliverable: str | None = None
    error: RunError | None = None
    usage: list[Quantity] = []
    steps: int = 0
    cost: PublicMoney | None = None

    @property
    def ended(self) -> bool:
        """Whether the run's status will never change again."""
        return self.status in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the run ended well."""
        return self.status == "succeeded"


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run. `seq` is its place in the journal; a live note, such as `progress`, has none."""

    type: str
    data: dict[str, Any]
    seq: int | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """What was given back of a run's charge: as credit, as promotional credit, and off what is owed."""

    number: int
    amount: PublicMoney
    reason: str
    reference: str
    at: datetime
    to_credit: PublicMoney
    to_promotional: PublicMoney
    off_receivable: PublicMoney


class CallCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A run that the receipt's run has called: what was set aside for it, and what it was charged by itself."""

    run: str
    package: str
    state: str
    held: PublicMoney
    charged: PublicMoney
    refunded: PublicMoney


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was quoted, held, charged, released and refunded for a run, and why they differ, meter by meter."""

    run: str
    state: str
    basis: str
    quoted: PublicMoney
    held: PublicMoney
    charged: PublicMoney
    released: PublicMoney
    lines: list[QuoteLine]
    quote_lines: list[QuoteLine] = []
    explanation: str = ""
    revision: int = 0
    price_version: str = ""
    settled_at: datetime | None = None
    differences: list[ChargeDifference] = []
    refunded: PublicMoney = PublicMoney(amount="0.000000")
    refunds: list[Refund] = []
    parent: str | None = None
    calls: list[CallCharge] = []
    calls_charged: PublicMoney = PublicMoney(amount="0.000000")


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A rental: a package version with a configuration, at a pinned price."""

    id: str
    status: str
    package: str
    version: str
    basis: str
    started_at: datetime
    name: str = ""
    price_version: str = ""
    config: dict[str, Any] = {}
    config_revision: int = 1
    ended_at: datetime | None = None
    error: RunError | None = None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was uploaded, or that a run delivered."""

    id: str
    name: str
    size: int
    sha256: str
    content_type: str
    created_at: datetime
    expires_at: datetime | None = None
    run: str | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account: paid `credit` and `promotional` by the ledger, `held` of both by open runs, `available` the rest."""

    credit: PublicMoney
    held: PublicMoney
    available: PublicMoney
    receivable: PublicMoney
    promotional: PublicMoney = PublicMoney(amount="0.000000")
    closed_at: datetime | None = None


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One posting: signed amounts of paid and promotional credit, and the paid credit after it."""

    posting: str
    at: datetime
    kind: str
    description: str
    amount: PublicMoney
    balance: PublicMoney
    cause: str = ""
    run: str | None = None
    promotional: PublicMoney = PublicMoney(amount="0.000000")


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the account's postings, newest first; `entries_sum` must equal the balance's credit."""

    balance: Balance
    entries_sum: PublicMoney
    items: list[StatementLine]
    next_cursor: str | None = None


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Totals by what was grouped by; `truncated` where there were more, which `next_cursor` asks for.

    `incomplete` names meters whose back-fill is not done.
    """

    items: list[UsageRow]
    truncated: bool = False
    next_cursor: str | None = None
    incomplete: list[str] = []


class PackageHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a package can work now."""

    package: str
    version: str
    status: str
    schema_ok: bool
    tools: dict[str, bool] = {}
    model_reachable: bool = False
    last_success_at: datetime | None = None
    success_rate: Decimal | None = None


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A category, and how many packages it holds."""

    id: str
    title: str
    packages: int


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key. `key` itself is shown only once, when it is made."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    key: str | None = None

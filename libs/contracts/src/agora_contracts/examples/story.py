"""What all examples tell of: one tenant that hires the data processor, and one run of it.

The ids are derived, so that writing the examples again gives the same ones.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from agora_contracts.billing import Quantity, Quote, QuoteLine, TransactionGroup
from agora_contracts.ids import derived
from agora_contracts.money import Money

TENANT = derived("ten", "example", "acme")
ACCOUNT = derived("acc", TENANT)
KEY = derived("key", TENANT, "production")
PACKAGE = "data-processor"
VERSION = "1.2.0"
PRICE_VERSION = derived("price", PACKAGE, VERSION)
DEPLOYMENT = derived("dep", TENANT, "orders")
RUN = derived("run", TENANT, "orders-2026-03-02")
CALLED_RUN = derived("run", RUN, "1")
CALLED_PACKAGE = "knowledge-base"
STEP = f"{RUN}/clean/1/"
FINGERPRINT = "9f2c1d7e54b0a6385c1f0e97d2ab4463fe1087c95ab2d6370e48bb1c6a5f9d21"
UPLOADED = derived("file", TENANT, "orders.csv")
CLEANED = derived("file", TENANT, STEP, "orders-clean.csv")
SHA256 = "5d41402abc4b2a76b9719d911017c5928e2f5c9fb9a1d1f64f6f3a5bb0f4c1aa"
CURSOR = "WyIyMDI2LTAzLTAyVDA5OjE1OjAwWiIsInJ1bl8xIl0"

ACCEPTED_AT = datetime(2026, 3, 2, 9, 15, 0, 120_000, tzinfo=UTC)
STARTED_AT = ACCEPTED_AT + timedelta(milliseconds=180)
FINISHED_AT = ACCEPTED_AT + timedelta(seconds=4, milliseconds=310)
SETTLED_AT = FINISHED_AT + timedelta(milliseconds=95)

INPUT = {"file": UPLOADED, "date_columns": ["ordered_on"]}
OUTPUT = {"file": CLEANED, "rows": 1840, "deliverable": "full", "mode": "baseline"}

QUOTED = Money(amount=550_000)
CHARGED = Money(amount=512_500)
RELEASED = Money(amount=37_500)
NOTHING = Money(amount=0)

ESTIMATES = [
    Quantity(meter="jobs", quantity=Decimal(1), events=1),
    Quantity(meter="model.cost", quantity=Decimal("0.05")),
]
USAGE = [
    Quantity(
        meter="rows",
        quantity=Decimal(1840),
        events=1840,
        groups=[TransactionGroup(quantity=Decimal(1), count=1840)],
    ),
    Quantity(meter="jobs", quantity=Decimal(1), events=1, transactions=[Decimal(1)]),
    Quantity(meter="model.cost", quantity=Decimal("0.0125")),
]


def line(meter: str, description: str, quantity: str, unit_price: str) -> QuoteLine:
    """A line whose amount is its quantity times its unit price."""
    return QuoteLine(
        meter=meter,
        description=description,
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        amount=Decimal(quantity) * Decimal(unit_price),
    )


QUOTE_LINES = [
    line("jobs", "1 job at 0.50 USD", "1", "0.50"),
    line("model.cost", "model calls at cost, at most", "0.05", "1"),
]
CHARGE_LINES = [
    line("jobs", "1 job at 0.50 USD", "1", "0.50"),
    line("model.cost", "model calls at cost", "0.0125", "1"),
]
QUOTE = Quote(
    price_version=PRICE_VERSION,
    basis="job",
    lines=QUOTE_LINES,
    amount=QUOTED,
    policy="Charged per job; a partial delivery by what was delivered; nothing when the run fails.",
    estimates=ESTIMATES,
)
EXPLANATION = (
    "0.5125 USD charged of 0.55 USD quoted: delivered in full (jobs: 1, model.cost: 0.0125 of 0.05 quoted);"
    " 0.0375 USD went back to the account."
)

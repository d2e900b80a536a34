"""Use case of receipts: what was quoted, held, charged and given back for a run, and why they differ."""

from agora_contracts.billing import GetReceipt, Receipt
from agora_contracts.money import format_amount
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.charges import model, store
from agora_billing.charges.differences import differences
from agora_billing.holds import store as holds
from agora_billing.holds.service import no_run
from agora_billing.prices.service import Prices


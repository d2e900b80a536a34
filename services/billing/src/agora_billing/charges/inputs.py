"""What a charge was rated from, kept with it so that anybody can rate it again."""

import msgspec
from agora_contracts.metering import RunUsageClosed

from agora_billing.periods.model import Standing


class ChargeInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that rating takes beside what never changes: the price version, and the quote of the run's hold.

    `windows` has how the month of each meter stood that is priced by the month.
    """

    usage: RunUsageClosed
    windows: dict[str, Standing] = {}

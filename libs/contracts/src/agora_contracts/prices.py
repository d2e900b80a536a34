"""Changes of prices, as they reach customers."""

from datetime import datetime

import msgspec


class PriceChangeScheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's prices change: from `at` on, `to` applies instead of `before`. Told once for each change.

    `rise` says that it could cost more for some usage; then `at` is not before the notice period is over.
    """

    deployment: str
    account: str
    package: str
    before: str
    to: str
    at: datetime
    rise: bool
    published_at: datetime

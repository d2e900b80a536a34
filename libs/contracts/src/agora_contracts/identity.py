"""Facts about tenants' keys, which the gateway keeps."""

from datetime import datetime

import msgspec


class KeyRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """An API key does not work any more. What it left behind that starts runs by itself is not to go on."""

    key: str
    at: datetime

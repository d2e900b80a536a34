"""Settings of the billing service, read from AGORA_<FIELD>."""

from agora_kit.settings import ServiceSettings


class BillingSettings(ServiceSettings, frozen=True, kw_only=True):
    """What billing needs beside what every service needs."""

    hold_lapse_seconds: float = 120.0
    """How long a tentative hold waits for its confirmation."""
    hold_sweep_seconds: float = 5.0
    """How often lapsed holds give their credit back."""
    promotion_sweep_seconds: float = 60.0
    """How often grants expire whose time is over; nobody spends of them before that either."""
    window_sweep_seconds: float = 5.0
    """How often those who wait are told of days and months that are over in which a budget refused something."""
    seal_sweep_seconds: float = 5.0
    """How often new postings are sealed into their account's chain of hashes."""

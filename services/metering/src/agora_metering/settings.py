"""Settings of metering, from the environment."""

from agora_kit.settings import ServiceSettings


class MeteringSettings(ServiceSettings, frozen=True, kw_only=True):
    """What metering needs to start.

    `usage_batch_max` is the most usage events in a transaction. A run whose usage is not complete
    `incomplete_after_seconds` after its end was heard of is looked into, by a sweep every
    `incomplete_sweep_seconds`, and again after as long while it stays so.
    """

    usage_batch_max: int = 2000
    incomplete_after_seconds: float = 30.0
    incomplete_sweep_seconds: float = 5.0

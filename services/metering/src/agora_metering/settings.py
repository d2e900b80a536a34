"""Settings of metering, from the environment."""

from agora_kit.settings import ServiceSettings


class MeteringSettings(ServiceSettings, frozen=True, kw_only=True):
    """What metering needs to start.

    `usage_batch_max` is the most usage events in a transaction. A run whose usage is not complete
    `incomplete_after_seconds` after its end was heard of is looked into, by a sweep every
    `incomplete_sweep_seconds`, and again after as long while it stays so. What was counted is moved into the totals
    every `roll_seconds`; until then queries add it themselves. A deployment's month is told again when it changed, at
    most every `period_seconds`; the time of a rental, every `rental_seconds` and at its end. Stored events and totals by
    minute are kept for `usage_retention_months` whole
    months (at least 4, so that no duplicate is missed), or for ever without it. Every `check_seconds` yesterday's
    totals are recomputed from its events. What was refused of outside reports is kept for `refused_retention_days`.
    Exports are looked for every `export_sweep_seconds`; their files go into the object store below `objects_folder`
    and are kept for `export_retention_days`. Everything is reconciled every
    `reconcile_seconds`, but what is newer than `reconcile_grace_seconds`, which may be on its way.
    """

    objects_folder: str

    usage_batch_max: int = 2000
    incomplete_after_seconds: float = 30.0
    incomplete_sweep_seconds: float = 5.0
    roll_seconds: float = 1.0
    period_seconds: float = 5.0
    rental_seconds: float = 300.0
    build_sweep_seconds: float = 2.0
    partition_sweep_seconds: float = 60.0
    usage_retention_months: int | None = None
    check_seconds: float = 6 * 3600.0
    reconcile_seconds: float = 3600.0
    reconcile_grace_seconds: float = 300.0
    refused_retention_days: int = 90
    export_sweep_seconds: float = 1.0
    export_retention_days: int = 7

"""Examples of schedules."""

from datetime import timedelta

import msgspec

from agora_contracts import schedules
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.runs import RunError

SCHEDULE_ID = derived("sch", story.TENANT, "orders-every-morning")
FIRST = story.ACCEPTED_AT.replace(microsecond=0)
REASON = RunError(code="insufficient_credit", detail="0.55 USD are needed and 0.20 USD are available")
PAUSED_FOR = RunError(code="failures_in_a_row", detail="5 failures in a row; the last one: not enough credit")
FIRE_ID = derived("fire", SCHEDULE_ID, FIRST.isoformat())

SCHEDULE = schedules.Schedule(
    id=SCHEDULE_ID,
    tenant=story.TENANT,
    name="Orders, every morning",
    state="paused",
    package=story.PACKAGE,
    version=story.VERSION,
    deployment=story.DEPLOYMENT,
    input=story.INPUT,
    cron="15 9 * * 1-5",
    at=FIRST,
    time_zone="Europe/Berlin",
    overlap="buffer_one",
    failures_max=5,
    failures=5,
    max_cost=Money(amount=600_000),
    next_times=[FIRST + timedelta(days=1), FIRST + timedelta(days=2)],
    created_at=story.ACCEPTED_AT,
    paused_for=PAUSED_FOR,
    last_fired_at=FIRST,
)
FIRE = schedules.Fire(
    id=FIRE_ID,
    schedule=SCHEDULE_ID,
    scheduled_for=FIRST,
    at=story.ACCEPTED_AT,
    state="refused",
    manual=True,
    run=story.RUN,
    reason=REASON,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    schedules.CreateSchedule(
        schedule=SCHEDULE_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        input=story.INPUT,
        package=story.PACKAGE,
        version=story.VERSION,
        cron="15 9 * * 1-5",
        time_zone="Europe/Berlin",
        overlap="buffer_one",
        failures_max=3,
        max_cost=Money(amount=600_000),
        name="Orders, every morning",
        requested_by=story.KEY,
        key_expires_at=FIRST + timedelta(days=90),
    ),
    schedules.CreateSchedule(
        schedule=SCHEDULE_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        input=story.INPUT,
        deployment=story.DEPLOYMENT,
        at=FIRST,
    ),
    SCHEDULE,
    schedules.GetSchedule(schedule=SCHEDULE_ID, tenant=story.TENANT),
    schedules.ListSchedules(tenant=story.TENANT, state="paused", cursor=story.CURSOR, limit=20),
    schedules.SchedulePage(items=[SCHEDULE], next_cursor=story.CURSOR),
    schedules.ChangeSchedule(
        schedule=SCHEDULE_ID,
        tenant=story.TENANT,
        name="Orders",
        input=story.INPUT,
        cron="0 6 * * *",
        at=FIRST,
        time_zone="UTC",
        overlap="allow",
        failures_max=10,
        max_cost=Money(amount=700_000),
        version=story.VERSION,
        clear=("max_cost",),
    ),
    schedules.PauseSchedule(schedule=SCHEDULE_ID, tenant=story.TENANT, reason="stocktaking"),
    schedules.ResumeSchedule(
        schedule=SCHEDULE_ID,
        tenant=story.TENANT,
        requested_by=story.KEY,
        key_expires_at=FIRST + timedelta(days=90),
    ),
    schedules.DeleteSchedule(schedule=SCHEDULE_ID, tenant=story.TENANT),
    schedules.TriggerSchedule(
        schedule=SCHEDULE_ID,
        tenant=story.TENANT,
        trigger=derived("fire", SCHEDULE_ID, "by-hand"),
        requested_by=story.KEY,
    ),
    schedules.FireSchedule(schedule=SCHEDULE_ID, tenant=story.TENANT, scheduled_for=FIRST),
    FIRE,
    schedules.ListFires(schedule=SCHEDULE_ID, tenant=story.TENANT, cursor=story.CURSOR, limit=20),
    schedules.FirePage(items=[FIRE], next_cursor=story.CURSOR),
    schedules.SchedulePaused(
        schedule=SCHEDULE_ID,
        account=story.ACCOUNT,
        package=story.PACKAGE,
        deployment=story.DEPLOYMENT,
        reason=PAUSED_FOR,
        failures=5,
        at=story.SETTLED_AT,
        name="Orders, every morning",
    ),
)

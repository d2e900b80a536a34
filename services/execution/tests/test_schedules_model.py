"""The pure rules of schedules."""

from datetime import UTC, datetime, timedelta

import pytest
from agora_contracts.problems import AgoraError
from agora_execution.schedules.model import (
    Before,
    Timing,
    check_timing,
    decide,
    failures_in_row,
    fire_id,
    run_of,
    too_many_failures,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "cron", ["0 9 * * 1-5", "*/5 * * * *", "0 0 29 2 *", "@daily", "15,45 6-8 1 jan mon"]
)
def test_a_cron_expression_of_five_fields_can_be_read(cron: str) -> None:
    """
    Five fields or one of the short forms pass here; their numbers are Temporal's to judge.
    """
    check_timing(Timing(cron=cron, at=None, time_zone="UTC"), NOW)


@pytest.mark.parametrize(
    ("cron", "at", "slug"),
    [
        ("0 9 * *", None, "invalid_input"),
        ("0 0 9 * * 1 2026", None, "invalid_input"),
        ("@every 1s", None, "invalid_input"),
        ("CRON_TZ=UTC 0 9 * * 1", None, "invalid_input"),
        ("TZ=UTC 9 * * 1", None, "invalid_input"),
        ("0 9 * * 1\n", None, "invalid_input"),
        ("", None, "invalid_input"),
        (None, None, "invalid_input"),
        ("0 9 * * *", NOW + timedelta(days=1), "invalid_input"),
        (None, NOW, "schedule_never_fires"),
        (None, NOW - timedelta(days=1), "schedule_never_fires"),
    ],
)
def test_a_timing_that_cannot_be_kept_is_refused(cron: str | None, at: datetime | None, slug: str) -> None:
    """
    Too many fields or too few, seconds, a zone inside, none or both of cron and at, a moment that is over.
    """
    with pytest.raises(AgoraError) as refused:
        check_timing(Timing(cron=cron, at=at, time_zone="UTC"), NOW)

    assert slug == refused.value.slug


@pytest.mark.parametrize(
    ("overlap", "unfinished", "buffered", "state"),
    [
        ("skip", False, False, "starting"),
        ("skip", True, False, "skipped"),
        ("buffer_one", False, False, "starting"),
        ("buffer_one", True, False, "buffered"),
        ("buffer_one", True, True, "skipped"),
        ("buffer_one", False, True, "skipped"),
        ("allow", True, True, "starting"),
    ],
)
def test_overlap_decides_what_a_time_brings(overlap, unfinished: bool, buffered: bool, state: str) -> None:
    """
    Skip, wait (one at most) or start beside the run before; by hand it is always started.
    """
    before = Before(unfinished=unfinished, buffered=buffered)

    assert state == decide(overlap, before, manual=False)
    assert "starting" == decide(overlap, before, manual=True)


@given(st.lists(st.sampled_from(["good", "bad", "open"])))
def test_failures_are_counted_since_the_last_success(outcomes) -> None:
    """
    Only bad ones count, open ones neither count nor interrupt, and nothing before a good one counts.
    """
    newest = outcomes[: outcomes.index("good")] if "good" in outcomes else outcomes

    assert newest.count("bad") == failures_in_row(outcomes)


def test_ids_come_from_schedule_and_time() -> None:
    """
    The same time told twice is the same fire and the same run; another time or schedule is another.
    """
    ids = {fire_id(schedule, NOW + timedelta(minutes=n)) for schedule in ("sch_1", "sch_2") for n in (0, 1)}

    assert 4 == len(ids) == len({run_of(fire) for fire in ids})
    assert fire_id("sch_1", NOW) == fire_id("sch_1", NOW)


def test_a_pause_says_how_often_it_failed() -> None:
    """
    The reason names the number; a long detail is cut.
    """
    reason = too_many_failures(3, None)

    assert ("failures_in_a_row", "3 failures in a row") == (reason.code, reason.detail)

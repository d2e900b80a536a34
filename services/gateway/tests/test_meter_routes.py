"""Meters over HTTP: defined by a tenant or for all, and totals checked by the operator."""

from datetime import date

import httpx
import pytest
from agora_contracts.metering import QueryUsage, UsageReport
from agora_contracts.meters import (
    CheckTotals,
    CreateMeter,
    DeleteMeter,
    GetMeter,
    ListMeters,
    MeterList,
    RebuildMeter,
    TotalsCheck,
)
from agora_gateway.usage.meter_shapes import A_METER

from .conftest import Customer, Others

A_BODY = {"key": "users", "unit": "users", "aggregation": "unique_count", "event": "calls", "value": "user"}


async def test_a_tenant_defines_its_own_meters(customer: Customer, others: Others):
    """
    A meter is defined, shown, listed and deleted for the tenant of the key.
    """
    await others.answer(
        (CreateMeter, A_METER),
        (GetMeter, A_METER),
        (DeleteMeter, A_METER),
        (ListMeters, MeterList(items=[A_METER])),
    )
    made = await customer.http.post("/usage/meters", json=A_BODY)
    shown = await customer.http.get("/usage/meters/users")
    listed = await customer.http.get("/usage/meters")
    gone = await customer.http.delete("/usage/meters/users")

    assert [201, 200, 200, 200] == [one.status_code for one in (made, shown, listed, gone)]
    asked = [
        one for one in others.asked if isinstance(one, CreateMeter | GetMeter | ListMeters | DeleteMeter)
    ]
    assert CreateMeter(tenant=customer.id, **A_BODY) == asked[0]  # type: ignore[arg-type]
    assert ("active-users", 40) == (shown.json()["key"], shown.json()["progress_percent"])
    assert {customer.id} == {one.tenant for one in asked}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"key": "With Spaces"}, "/key"),
        ({"aggregation": "average"}, "/aggregation"),
        ({"dimensions": [str(number) for number in range(9)]}, "/dimensions"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_a_meter_that_cannot_be_is_refused(customer: Customer, changes: dict[str, object], field: str):
    """
    The refusal names the field.
    """
    answer = await customer.http.post("/usage/meters", json=A_BODY | changes)

    assert (422, field) == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_the_operator_defines_meters_of_all_and_checks_totals(
    operator: httpx.AsyncClient, others: Others
):
    """
    The platform's meters belong to its own tenant; a rebuild names whose totals are made; a check names the day.
    """
    await others.answer(
        (CreateMeter, A_METER),
        (RebuildMeter, A_METER),
        (DeleteMeter, A_METER),
        (ListMeters, MeterList(items=[A_METER])),
        (CheckTotals, TotalsCheck(day=date(2026, 1, 5), checked=3, differences=[])),
    )
    answers = [
        await operator.post("/operator/meters", json=A_BODY),
        await operator.get("/operator/meters"),
        await operator.post("/operator/meters/users/rebuild", params={"tenant_id": "ten_1"}),
        await operator.delete("/operator/meters/users"),
        await operator.get("/operator/usage/check", params={"day": "2026-01-05"}),
    ]

    assert [201, 200, 200, 200, 200] == [one.status_code for one in answers]
    assert ["platform", "platform", "ten_1", "platform", None] == [one.tenant for one in others.asked]
    assert {"day": "2026-01-05", "checked": 3, "differences": []} == answers[-1].json()


async def test_usage_is_asked_for_by_dimension_and_zone(customer: Customer, others: Others):
    """
    Dimensions are separated by commas, conditions given one by one; a value may hold a colon.
    """
    await others.answer((QueryUsage, UsageReport(items=[], next_cursor="abc", truncated=True)))
    params = {
        "group_by": "month",
        "time_zone": "Asia/Kolkata",
        "dimensions": "region,model",
        "where": ["region:eu", "model:a:b"],
        "cursor": "xyz",
    }
    answer = await customer.http.get("/usage", params=params)

    query = others.asked[-1]
    assert ("Asia/Kolkata", ["region", "model"], "xyz") == (query.time_zone, query.dimensions, query.cursor)
    assert {"region": "eu", "model": "a:b"} == query.where
    assert "abc" == answer.json()["next_cursor"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("where", "region"), ("where", ":eu"), ("dimensions", "a,,b"), ("dimensions", "a," * 9)],
)
async def test_conditions_that_make_no_sense_are_refused(customer: Customer, name: str, value: str):
    """
    The refusal names the parameter.
    """
    answer = await customer.http.get("/usage", params={name: value})

    assert (422, name) == (answer.status_code, answer.json()["errors"][0]["field"])

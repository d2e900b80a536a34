"""The routes that pass a command on and shape its reply: rentals, usage, account, operator."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
from agora_contracts.billing import (
    Balance,
    ChargeDifference,
    GetBalance,
    GetReceipt,
    GetStatement,
    ListOpenHolds,
    OpenHold,
    OpenHolds,
    Quote,
    Receipt,
    Statement,
    StatementLine,
    TopUp,
)
from agora_contracts.catalog import (
    GetPackage,
    ListCategories,
    Manifest,
    OfferedPrice,
    PackageDetail,
    PublishPackage,
    Schemas,
    SetListingState,
)
from agora_contracts.deployments import (
    ChangeDeploymentConfig,
    Deployment,
    DeploymentPage,
    EndDeployment,
    GetDeployment,
    ListDeployments,
    StartDeployment,
)
from agora_contracts.ids import derived
from agora_contracts.metering import QueryUsage, UsageReport, UsageRow
from agora_contracts.platform import DeadLetterPage, ListDeadLetters, ReplayDeadLetters, ReplayReport
from agora_contracts.runs import EstimateRun, RunEstimate
from agora_contracts.usage import Replayed, ReplayRunUsage
from agora_gateway.app import Gateway
from agora_gateway.packages.shapes import A_QUOTE, A_SUMMARY, CATEGORIES
from agora_kit.broker import Broker

from .conftest import Customer, Others

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DEPLOYMENT = f"dep_{'b' * 32}"
RUN = f"run_{'a' * 32}"
BALANCE = Balance(
    account="acc_1", currency="USD", credit=99_500_000, held=1, available=99_499_999, receivable=0
)
DETAIL = PackageDetail(
    summary=A_SUMMARY,
    manifest=Manifest(
        id="echo",
        version="1.0.0",
        title="Echo",
        summary="Returns the text it was given.",
        category="operations-automation",
        prices=[OfferedPrice(basis="task", unit_price=Decimal("0.5"), meter="tasks")],
    ),
    schemas=Schemas(input={"type": "object"}, output={}, config={}),
    versions=["1.0.0"],
    first_party=True,
)


def a_deployment(command: Any) -> Deployment:
    """The rental that a command is about."""
    given = msgspec.structs.asdict(command)
    return Deployment(
        id=given.get("deployment_id") or given.get("deployment") or DEPLOYMENT,
        tenant=command.tenant,
        name=given.get("name", ""),
        status="active",
        package="echo",
        version="1.0.0",
        basis="task",
        price_version="price_1",
        config=given.get("config", {}),
        config_revision=1,
        started_at=AT,
    )


async def answer_deployment(command: Any) -> Deployment:
    """Answer with the rental that a command is about."""
    return a_deployment(command)


async def list_one(query: ListDeployments) -> DeploymentPage:
    """A page with one rental."""
    return DeploymentPage(items=[a_deployment(query)], next_cursor="more")


async def test_a_package_is_hired_changed_and_ended(customer: Customer, others: Others):
    """
    Each route of a rental sends its one command, for the caller's tenant, and answers in public form.
    """
    await others.answer(
        (StartDeployment, answer_deployment),
        (GetDeployment, answer_deployment),
        (ChangeDeploymentConfig, answer_deployment),
        (EndDeployment, answer_deployment),
        (ListDeployments, list_one),
    )
    hire = {"package": "echo", "basis": "task", "name": "ours", "config": {"a": 1}}
    key = {"Idempotency-Key": "hire-1"}
    hired = await customer.http.post("/deployments", json=hire, headers=key)
    path = f"/deployments/{hired.json()['id']}"
    read = await customer.http.get(path)
    changed = await customer.http.patch(path, json={"config": {"a": 2}})
    ended = await customer.http.delete(path)
    listed = await customer.http.get("/deployments", params={"status": "active", "limit": 1})

    assert [201, 200, 200, 200, 200] == [
        answer.status_code for answer in (hired, read, changed, ended, listed)
    ]
    assert derived("dep", customer.id, "hire-1") == hired.json()["id"]
    assert ("ours", {"a": 1}) == (hired.json()["name"], hired.json()["config"])
    assert {"a": 2} == changed.json()["config"]
    assert ("more", 1) == (listed.json()["next_cursor"], len(listed.json()["items"]))
    assert not any("tenant" in answer.json() for answer in (hired, read, changed, ended))
    assert {customer.id} == {command.tenant for command in others.asked[1:]}


async def test_an_estimate_shows_quantities_and_price(customer: Customer, others: Others):
    """
    Packages and rentals are estimated alike, with the quote in public money.
    """
    estimate = RunEstimate(
        estimates=[],
        quote=msgspec.convert(
            msgspec.to_builtins(A_QUOTE) | {"amount": {"amount": 500_000, "currency": "USD"}},
            Quote,
        ),
    )
    await others.answer((EstimateRun, estimate))
    for path in ("/packages/echo", f"/deployments/{DEPLOYMENT}"):
        answer = await customer.http.post(f"{path}/estimate", json={"input": {"text": "hi"}})
        assert 200 == answer.status_code
        assert {"amount": "0.500000", "currency": "USD"} == answer.json()["quote"]["amount"]
    assert ["echo", None] == [query.package for query in others.asked[-2:]]


async def test_a_package_is_shown_whole(customer: Customer, others: Others):
    """
    A package's page is flat: summary, manifest and schemas in one object.
    """
    await others.answer((GetPackage, DETAIL), (ListCategories, CATEGORIES))
    package = (await customer.http.get("/packages/echo", params={"version": "1.0.0"})).json()
    categories = await customer.http.get("/categories")
    nonsense = await customer.http.get("/packages/No%20Such")

    assert ("echo", "1.0.0", {"type": "object"}) == (
        package["id"],
        package["version"],
        package["input_schema"],
    )
    assert "0.5" == package["prices"][0]["unit_price"]
    assert 1 == len(categories.json()["items"])
    assert 404 == nonsense.status_code


async def test_usage_is_asked_for_in_utc(customer: Customer, others: Others):
    """
    Times are taken in any zone and asked for in UTC; groups are separated by commas.
    """
    report = UsageReport(items=[UsageRow(quantity=Decimal("1.50"), events=3, meter="tasks", time=AT)])
    await others.answer((QueryUsage, report))
    params = {"from": "2026-01-05T10:00:00+01:00", "to": "2026-01-06T00:00:00Z", "group_by": "meter,hour"}
    answer = await customer.http.get("/usage", params=params)

    query = others.asked[-1]
    assert (AT, ["meter", "hour"]) == (query.start, query.group_by)
    assert ("1.50", False) == (answer.json()["items"][0]["quantity"], answer.json()["truncated"])


async def test_usage_with_bad_parameters_is_refused(customer: Customer):
    """
    A time without zone, nonsense for a time, an unknown group: each is named.
    """
    bad = (("from", "2026-01-05T10:00:00"), ("to", "yesterday"), ("to", ""), ("to", "2026-01-05T10:00:00"))
    for name, value in (*bad, ("group_by", "meter,colour")):
        answer = await customer.http.get("/usage", params={name: value})
        assert (422, name) == (answer.status_code, answer.json()["errors"][0]["field"])
        assert "end" not in answer.json()["detail"].split()


async def test_the_account_is_shown_in_public_money(customer: Customer, others: Others):
    """
    Balance, statement and receipt show decimal strings, signs included, and the sum of the entries.
    """
    line = StatementLine(
        posting="post_1",
        at=AT,
        kind="charge",
        cause=RUN,
        description="echo",
        run=RUN,
        amount=-500_000,
        balance=99_500_000,
    )
    statement = Statement(
        account="acc_1",
        currency="USD",
        balance=BALANCE,
        entries_sum=99_500_000,
        items=[line],
        next_cursor="c",
    )
    receipt = Receipt(
        run=RUN,
        state="settled",
        price_version="price_1",
        basis="task",
        currency="USD",
        quoted=500_000,
        held=500_000,
        charged=1,
        released=499_999,
        revision=1,
        lines=[],
        quote_lines=[],
        explanation="one micro",
        settled_at=AT,
        differences=[
            ChargeDifference(
                meter="tasks", quoted=Decimal("0.5"), charged=Decimal("0.000001"), why="little used"
            )
        ],
    )
    await others.answer((GetBalance, BALANCE), (GetStatement, statement), (GetReceipt, receipt))
    balance = (await customer.http.get("/account")).json()
    shown = (await customer.http.get("/account/statement", params={"limit": 5})).json()
    paid = (await customer.http.get(f"/runs/{RUN}/receipt")).json()

    assert ("99.500000", "0.000001") == (balance["credit"]["amount"], balance["held"]["amount"])
    assert ("-0.500000", "99.500000", "c") == (
        shown["items"][0]["amount"]["amount"],
        shown["entries_sum"]["amount"],
        shown["next_cursor"],
    )
    assert ("0.000001", "0.499999") == (paid["charged"]["amount"], paid["released"]["amount"])
    assert [{"meter": "tasks", "quoted": "0.5", "charged": "0.000001", "why": "little used"}] == paid[
        "differences"
    ]
    assert customer.account == next(query.account for query in others.asked if isinstance(query, GetBalance))


async def test_credit_is_added_in_micro_units(
    customer: Customer, operator: httpx.AsyncClient, others: Others
):
    """
    A top-up reaches billing exact to the micro-unit; an amount that cannot be exact is refused.
    """
    await others.answer((TopUp, BALANCE))
    path = f"/operator/tenants/{customer.id}/top-ups"
    added = await operator.post(path, json={"amount": {"amount": "0.000001"}, "reference": "r"})

    assert (201, 1) == (added.status_code, others.asked[-1].amount.amount)
    for amount in ("1.0000001", "1e5", "ten", "", "99999999999999"):
        answer = await operator.post(path, json={"amount": {"amount": amount}, "reference": "r"})
        assert (422, "/amount/amount") == (answer.status_code, answer.json()["errors"][0]["field"])
    as_number = await operator.post(path, json={"amount": {"amount": 5}, "reference": "r"})
    nobody = await operator.post(
        f"/operator/tenants/ten_{'0' * 32}/top-ups", json={"amount": {"amount": "1"}, "reference": "r"}
    )
    assert [422, 404] == [as_number.status_code, nobody.status_code]


async def test_packages_are_published_by_the_operator(
    customer: Customer, operator: httpx.AsyncClient, others: Others
):
    """
    A manifest goes to the catalogue as it is; one that does not fit names the place.
    """
    await others.answer((PublishPackage, DETAIL), (SetListingState, DETAIL))
    body = {
        "manifest": msgspec.to_builtins(DETAIL.manifest),
        "schemas": {"input": {}, "output": {}, "config": {}},
        "first_party": True,
    }
    published = await operator.post("/operator/packages", json=body)
    moved = await operator.post("/operator/packages/echo/versions/1.0.0/state", json={"state": "retired"})
    body["manifest"]["prices"][0]["unit_price"] = "cheap"
    refused = await operator.post("/operator/packages", json=body)

    assert [201, 200, 422] == [answer.status_code for answer in (published, moved, refused)]
    assert (DETAIL.manifest, True) == (others.asked[-2].manifest, others.asked[-2].first_party)
    assert "invalid_manifest" == refused.json()["type"].rsplit("/", 1)[1]
    assert "/prices/0/unit_price" == refused.json()["errors"][0]["field"]


async def test_dead_letters_are_listed_and_replayed(operator: httpx.AsyncClient, nats_url: str):
    """
    The operator asks one service for what it refused and has it tried again; an unknown service is named.
    """
    metering = Broker(nats_url, "metering")

    async def page(_: ListDeadLetters) -> DeadLetterPage:
        return DeadLetterPage(items=[])

    async def replay(command: ReplayDeadLetters) -> ReplayReport:
        return ReplayReport(accepted=len(command.ids), refused=[])

    metering.answer_shared(ListDeadLetters, page)
    metering.answer_shared(ReplayDeadLetters, replay)
    await metering.start()
    try:
        listed = await operator.get("/operator/dead-letters", params={"service": "metering"})
        replayed = await operator.post(
            "/operator/dead-letters/replay", json={"service": "metering", "ids": [1, 2]}
        )
    finally:
        await metering.stop()
    unknown = await operator.get("/operator/dead-letters", params={"service": "weather"})
    missing = await operator.get("/operator/dead-letters")

    assert ([], 2) == (listed.json()["items"], replayed.json()["accepted"])
    assert [422, 422] == [unknown.status_code, missing.status_code]
    assert ["service", "service"] == [answer.json()["errors"][0]["field"] for answer in (unknown, missing)]


async def test_the_operator_sees_holds_and_replays_usage(operator: httpx.AsyncClient, others: Others):
    """
    Open holds come with their sum total; a run's usage is put back on its way.
    """
    hold = OpenHold(run=RUN, tenant="ten_1", account="acc_1", state="firm", amount=5, placed_at=AT)
    await others.answer(
        (ListOpenHolds, OpenHolds(items=[hold], total=1)), (ReplayRunUsage, Replayed(count=3))
    )
    holds = (await operator.get("/operator/holds")).json()
    replayed = await operator.post(f"/operator/runs/{RUN}/replay-usage")

    assert ("0.000005", 1) == (holds["items"][0]["amount"]["amount"], holds["total"])
    assert {"count": 3} == replayed.json()


async def test_a_gateway_without_its_http_server_is_not_ready(gateway: Gateway):
    """
    A server that ended by itself shows where only NATS can still ask.
    """
    assert "ready" == (await gateway.health.report()).status
    await gateway.server.stop(5)

    health = await gateway.health.report()
    assert ("degraded", "the HTTP server has ended") == (health.status, health.checks["http"])


async def test_the_platforms_health_names_who_is_silent(operator: httpx.AsyncClient):
    """
    Processes that do not answer are shown as such; the gateway answers for itself.
    """
    health = (await operator.get("/operator/health")).json()
    by_name = {process["service"]: process["status"] for process in health["processes"]}

    assert "degraded" == health["status"]
    assert ("ready", "degraded") == (by_name["gateway"], by_name["billing"])

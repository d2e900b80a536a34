"""Estimating and starting a run, the same for a package and for a rental: how it is documented, and what is done."""

from typing import Any, Protocol

import msgspec
from agora_contracts.runs import EstimateRun, StartRun
from agora_kit.broker import Broker
from litestar import Response, post

from agora_gateway.edge.headers import fingerprint, requested_id, wait_seconds
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import answers, header
from agora_gateway.edge.shapes import MoneyBody, read_max_cost
from agora_gateway.packages.shapes import AN_ESTIMATE, EstimateShape, estimate_shape
from agora_gateway.runs.service import start_run
from agora_gateway.runs.shapes import A_RUN, RunShape, started

_REFUSED = ("not_found", "not_executable", "malformed_request", "invalid_input", "payload_too_large")


class InputBody(Protocol):
    """A request's body that holds a run's input."""

    @property
    def input(self) -> dict[str, Any]:
        """The run's input."""
        ...


class RunBody(InputBody, Protocol):
    """A request's body that starts a run. The whole of it makes the request's fingerprint."""

    @property
    def max_cost(self) -> MoneyBody | None:
        """The run's own hard budget."""
        ...


class RunTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What runs: a package, in a version or the newest, or a rental."""

    package: str | None = None
    version: str | None = None
    deployment: str | None = None

    @property
    def name(self) -> str:
        """How the fingerprint of a request calls it."""
        return f"package:{self.package}" if self.deployment is None else f"deployment:{self.deployment}"


def estimates(path: str, *, summary: str, operation_id: str) -> post:
    """The declaration of a route that answers with `estimate`."""
    return post(
        path,
        status_code=200,
        guards=[requires("read")],
        summary=summary,
        operation_id=operation_id,
        responses=answers(AN_ESTIMATE, *_REFUSED),
    )


def executes(path: str, *, summary: str, operation_id: str) -> post:
    """The declaration of a route that answers with `execute`."""
    return post(
        path,
        status_code=202,
        guards=[requires("execute")],
        summary=summary,
        operation_id=operation_id,
        response_headers=[header("Location", "Where the run is followed.")],
        responses=answers(
            A_RUN,
            *_REFUSED,
            "insufficient_credit",
            "budget_exhausted",
            "account_closed",
            "currency_mismatch",
            "idempotency_conflict",
            status=(200, 202),
            description="The run: 202 while it goes on, 200 when it has ended within the wait.",
        ),
    )


async def estimate(broker: Broker, tenant: Tenant, target: RunTarget, body: InputBody) -> EstimateShape:
    """What a run on this input would cost at most."""
    query = EstimateRun(
        tenant=tenant.id,
        package=target.package,
        version=target.version,
        deployment=target.deployment,
        input=body.input,
        account=tenant.account,
    )
    return estimate_shape(await broker.ask(query))


async def execute(
    broker: Broker,
    tenant: Tenant,
    target: RunTarget,
    body: RunBody,
    idempotency_key: str | None,
    prefer: str | None,
) -> Response[RunShape]:
    """Start a run, once per Idempotency-Key, and wait for its end as long as the caller prefers."""
    command = StartRun(
        run_id=requested_id("run", tenant.id, idempotency_key),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("execute", target.name, body),
        requested_by=tenant.key,
        package=target.package,
        version=target.version,
        deployment=target.deployment,
        input=body.input,
        max_cost=read_max_cost(body.max_cost),
    )
    return started(await start_run(broker, command, wait_seconds(prefer)))

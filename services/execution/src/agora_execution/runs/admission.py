"""Admission: a request becomes a run exactly once, covered by a hold, with no transaction open across a call.

1. Known already: the same fingerprint gets that run, another one a conflict.
2. Billing sets the quote aside as a tentative hold. No funds: refused, nothing is stored.
3. One transaction writes the run and `RunAccepted`; a concurrent twin loses on the primary key.
4. The workflow starts under the run's id. What dies between these is healed by the sweep.
"""

from collections.abc import Awaitable, Callable
from copy import replace
from typing import Any, Protocol

import msgspec
import stamina
from agora_contracts.billing import Hold, PlaceHold, QuoteRun
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import EstimateRun, Run, RunEstimate, StartRun
from agora_contracts.steering import RerunRun
from agora_kit import deadlines
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_execution.deployments.model import Target
from agora_execution.deployments.service import Deployments
from agora_execution.files.service import Files
from agora_execution.packages import model as packages_model
from agora_execution.packages.service import Packages, weigh
from agora_execution.runs import queries
from agora_execution.runs.describing import Order
from agora_execution.runs.model import NewRun
from agora_execution.runs.queries import Origin
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter, written_task
from agora_execution.runs.tasks import RunTask

INPUT_BYTES_MAX = 512 * 1024

CALL_DEPTH_MAX = 3
"""How deep agents may call each other: a run that a customer starts is at depth 0."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The run that calls another: its step, how it names the call, the packages above, and which it may call."""

    run: str
    step: str
    title: str
    path: list[str]
    may_call: list[str]


type Accept = Callable[[NewRun], Awaitable[Run]]
"""Writes an accepted run, or returns the one that has its id already."""


class Asked(Protocol):
    """What names a package, in a version or the newest, or a deployment of a tenant."""

    @property
    def tenant(self) -> str:
        """Whose deployment it would be."""
        ...

    @property
    def package(self) -> str | None:
        """The package, where no deployment is named."""
        ...

    @property
    def version(self) -> str | None:
        """The package's version; the newest without it."""
        ...

    @property
    def deployment(self) -> str | None:
        """The deployment, where no package is named."""
        ...


class Admission:
    """Accepts runs and prices them beforehand."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        recorder: Recorder,
        packages: Packages,
        deployments: Deployments,
        files: Files,
        starter: Starter,
        *,
        models_configured: Callable[[], bool],
    ) -> None:
        self._database = database
        self._broker = broker
        self._recorder = recorder
        self._packages = packages
        self._deployments = deployments
        self._files = files
        self._starter = starter
        self._models_configured = models_configured

    async def start(self, command: StartRun, *, accept: Accept | None = None) -> Run:
        """Accept a run, or return the one that this command was accepted as before.

        With `accept` it is written by that, together with what else belongs into the same transaction.

        Raises:
            AgoraError: `idempotency_conflict`, `invalid_input`, `not_found`, `not_executable`,
                `insufficient_credit`, `budget_exhausted`, or that billing does not answer. Nothing is stored then.
        """
        async with self._database.autocommit() as connection:
            known = await queries.run_with_fingerprint(connection, command.run_id)
        if known is not None:
            return _same(command, known)
        target = await self.target(command)
        weights = await self._check_input(target, command.tenant, command.input)
        hold = await self._hold(command, target, weights)
        # A run that its customer was told could not be had must not come about behind their back.
        deadlines.require_time_left()
        run = await (accept or self._recorder.accept)(_new_run(command, target, hold))
        if run.status == "accepted":
            await self._starter.start(_task(command, target), _order(command, hold))
        return run

    async def accept_called(self, command: StartRun, caller: Caller) -> tuple[RunTask, Run]:
        """Accept a run that another run calls, inside the caller's hold; its workflow is the caller's to start.

        Raises:
            AgoraError: as for `start`; `forbidden`, `cyclic_call` or `call_too_deep`, when it may not be called.
        """
        async with self._database.system() as connection:
            known = await queries.run_with_fingerprint(connection, command.run_id)
            written = None if known is None else await written_task(connection, command.run_id)
        if known is not None and written is not None:
            # As it was accepted: a new version may have been published since.
            return written.task, _same(command, known)
        target = await self.target(command)
        _require_callable(caller, target.package.package)
        weights = await self._check_input(target, command.tenant, command.input)
        hold = await self._hold(command, target, weights, parent=caller.run)
        run = await self._recorder.accept(_new_run(command, target, hold, caller))
        return _task(command, target, caller.path), run

    async def rerun(self, command: RerunRun) -> Run:
        """Accept a run that takes another one's recorded steps over, or return the one accepted before.

        Raises:
            AgoraError: `not_found` for the run or the step; `conflict`, when there is nothing to do again; and as for
                `start`.
        """
        async with self._database.autocommit() as connection:
            known = await queries.run_with_fingerprint(connection, command.run_id)
        if known is not None:
            return _same(command, known)
        async with self._database.transaction(command.tenant) as connection:
            origin = await queries.origin(connection, command.origin, command.before)
        _require_rerunnable(command, origin)
        assert origin is not None
        start = StartRun(
            run_id=command.run_id,
            tenant=command.tenant,
            account=command.account,
            fingerprint=command.fingerprint,
            requested_by=command.requested_by,
            input=origin.input,
            package=origin.package if origin.deployment is None else None,
            version=origin.version if origin.deployment is None else None,
            deployment=origin.deployment,
            max_cost=command.max_cost,
        )
        target = await self.target(start)
        if target.package.version != origin.version:
            raise AgoraError(
                "conflict",
                f"the run was of {origin.package} {origin.version}, which the deployment no longer has; start a new run",
            )
        # What was prepared then is what its steps were taken with.
        target = replace(target, config=origin.config, artifact=origin.artifact)
        weights = await self._check_input(target, command.tenant, origin.input)
        hold = await self._hold(start, target, weights)
        deadlines.require_time_left()
        new = _new_run(start, target, hold)
        run = await self._recorder.accept(
            msgspec.structs.replace(new, origin_id=command.origin, origin_seq=origin.before_seq)
        )
        if run.status == "accepted":
            task = _task(start, target)
            await self._starter.start(
                msgspec.structs.replace(task, origin=command.origin, origin_seq=origin.before_seq),
                _order(start, hold),
            )
        return run

    async def estimate(self, query: EstimateRun) -> RunEstimate:
        """Price a run before it; nothing is set aside and nothing stored.

        Raises:
            AgoraError: as for `start`.
        """
        target = await self.target(query)
        weights = await self._check_input(target, query.tenant, query.input)
        estimates = packages_model.estimate(
            target.package, target.basis, query.input, models=self._models_configured(), weights=weights
        )
        quote = await self._broker.ask(
            QuoteRun(
                tenant=query.tenant,
                price_version=target.price_version,
                basis=target.basis,
                estimates=estimates,
                account=query.account,
                deployment=query.deployment,
            )
        )
        return RunEstimate(estimates=estimates, quote=quote)

    async def check(self, asked: Asked, document: dict[str, Any]) -> Target:
        """What a run on this input would run on; nothing is set aside and nothing stored.

        Raises:
            AgoraError: `not_found`, `not_executable`, `basis_not_rated`, `invalid_input`, `payload_too_large`.
        """
        target = await self.target(asked)
        await self._check_input(target, asked.tenant, document)
        return target

    async def check_beside(self, target: Target, tenant: str, document: dict[str, Any], field: str) -> None:
        """Refuse an input that cannot run whatever its `field`, which is still to be filled, will hold.

        Raises:
            AgoraError: `invalid_input`, `payload_too_large`.
        """
        _check_size(document)
        self._packages.check_beside(target.package, document, field)
        await self._files_of(target, tenant, document)

    async def target(self, asked: Asked) -> Target:
        """What a run of a package or a deployment runs on.

        Raises:
            AgoraError: `not_found`, `not_executable`, `basis_not_rated`; `invalid_input`, unless exactly one is named.
        """
        if (asked.package is None) == (asked.deployment is None):
            raise AgoraError("invalid_input", "exactly one of package and deployment is needed")
        if asked.deployment is not None:
            return await self._deployments.target(asked.tenant, asked.deployment)
        package = await self._packages.find(asked.package or "", asked.version)
        packages_model.require_executable(package)
        return Target(
            package=package,
            basis=packages_model.per_unit_basis(package),
            price_version=package.price_version,
        )

    async def _check_input(self, target: Target, tenant: str, document: dict[str, Any]) -> dict[str, int]:
        """Refuse an input that cannot run; the bytes of the files that its estimate weighs, by pointer."""
        _check_size(document)
        self._packages.check(target.package, "input", document)
        return weigh(target.package, document, await self._files_of(target, tenant, document))

    async def _files_of(self, target: Target, tenant: str, document: dict[str, Any]) -> dict[str, int]:
        """The bytes of the files that an input names; one that is not there is refused."""
        named = await self._files.named(tenant, target.package.schemas.input, document)
        missing = [ref for ref, file in named.items() if file is None]
        if missing:
            raise AgoraError(
                "invalid_input",
                "the input names files that are not there; upload them first",
                errors=[FieldError(field=ref, detail="no such file") for ref in missing],
            )
        return {ref: file.size for ref, file in named.items() if file is not None}

    async def _hold(
        self, command: StartRun, target: Target, weights: dict[str, int], *, parent: str | None = None
    ) -> Hold:
        estimates = packages_model.estimate(
            target.package, target.basis, command.input, models=self._models_configured(), weights=weights
        )
        place = PlaceHold(
            run=command.run_id,
            fingerprint=command.fingerprint,
            tenant=command.tenant,
            account=command.account,
            price_version=target.price_version,
            basis=target.basis,
            estimates=estimates,
            deployment=command.deployment,
            api_key=command.requested_by or None,
            run_limit=command.max_cost,
            parent=parent,
        )
        # A price version that was published a moment ago may not have reached billing yet.
        async for attempt in stamina.retry_context(
            on=lambda error: isinstance(error, AgoraError) and error.slug == "unavailable",
            attempts=4,
            timeout=6.0,
            wait_initial=0.2,
        ):
            with attempt:
                hold: Hold = await self._broker.ask(place)
                return hold
        raise AssertionError("a retry ends by returning or raising")


def _check_size(document: dict[str, Any]) -> None:
    if len(msgspec.json.encode(document)) > INPUT_BYTES_MAX:
        raise AgoraError(
            "payload_too_large", f"the input is larger than {INPUT_BYTES_MAX} bytes; upload it as a file"
        )


def _require_rerunnable(command: RerunRun, origin: Origin | None) -> None:
    if origin is None:
        raise AgoraError("not_found", f"no run {command.origin}")
    if command.before is not None and not origin.has_step:
        raise AgoraError("not_found", f"the run {command.origin} has no step {command.before}")
    if command.before is None and origin.status not in ("failed", "timed_out", "cancelled"):
        raise AgoraError(
            "conflict",
            f"the run {origin.status.replace('_', ' ')}: only one that failed, timed out or was cancelled is tried "
            "again; to go another way from one of its steps, fork it there",
        )


def _same(command: StartRun | RerunRun, known: tuple[Run, str]) -> Run:
    run, fingerprint = known
    if run.tenant != command.tenant or fingerprint != command.fingerprint:
        raise AgoraError(
            "idempotency_conflict", "this Idempotency-Key was used for another request; use a new key"
        )
    return run


def _require_callable(caller: Caller, package: str) -> None:
    if "*" not in caller.may_call and package not in caller.may_call:
        raise AgoraError("forbidden", f"the calling agent's manifest does not ask to call {package}")
    if package in caller.path:
        raise AgoraError(
            "cyclic_call", f"agents call each other in a circle: {' > '.join([*caller.path, package])}"
        )
    if len(caller.path) > CALL_DEPTH_MAX:
        raise AgoraError(
            "call_too_deep",
            f"agents may call each other {CALL_DEPTH_MAX} deep: {' > '.join([*caller.path, package])}",
        )


def _new_run(command: StartRun, target: Target, hold: Hold, caller: Caller | None = None) -> NewRun:
    model_cost = sum(
        (int(line.amount * 1_000_000) for line in hold.quote.lines if line.meter == "model.cost"), start=0
    )
    return NewRun(
        id=command.run_id,
        tenant=command.tenant,
        account=command.account,
        fingerprint=command.fingerprint,
        requested_by=command.requested_by,
        input=command.input,
        package=target.package.package,
        version=target.package.version,
        # Billing says which of the price book is in force for this run.
        price_version=hold.quote.price_version,
        basis=target.basis,
        quoted=hold.amount.amount,
        currency=hold.amount.currency,
        hold_epoch=hold.epoch,
        timeout_seconds=target.package.manifest.limits.timeout_seconds,
        model_cost=model_cost,
        accepted_at=utc_now(),
        deployment=command.deployment,
        config=target.config,
        artifact=target.artifact,
        max_cost=None if command.max_cost is None else command.max_cost.amount,
        parent_id=None if caller is None else caller.run,
        parent_step=None if caller is None else caller.step,
        title="" if caller is None else caller.title[:200],
        call_path=[] if caller is None else caller.path,
    )


def _order(command: StartRun, hold: Hold) -> Order:
    return Order(quoted=hold.amount, requested_by=command.requested_by)


def _task(command: StartRun, target: Target, path: list[str] | None = None) -> RunTask:
    return RunTask(
        run=command.run_id,
        tenant=command.tenant,
        package=target.package.package,
        version=target.package.version,
        input=command.input,
        timeout_seconds=target.package.manifest.limits.timeout_seconds,
        config=target.config,
        artifact=target.artifact,
        deployment=command.deployment,
        path=path or [],
        over_budget=target.package.manifest.limits.over_budget,
        package_class=target.package.manifest.limits.served_as,
    )

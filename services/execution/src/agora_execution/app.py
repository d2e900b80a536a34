"""Composition of the execution service: the one place that builds its parts and wires them."""

from agora_kit.objects import FolderObjects
from agora_kit.service import Service
from agora_kit.settings import load_settings
from temporalio.client import Client

from agora_execution import temporal
from agora_execution.approvals import handlers as approval_handlers
from agora_execution.approvals.service import Approvals
from agora_execution.blackboard import handlers as blackboard_handlers
from agora_execution.blackboard.service import Blackboards
from agora_execution.conversations import handlers as conversation_handlers
from agora_execution.conversations.service import Conversations
from agora_execution.deployments import handlers as deployment_handlers
from agora_execution.deployments.removing import ArtifactSweep
from agora_execution.deployments.service import Deployments
from agora_execution.files import handlers as file_handlers
from agora_execution.files.service import Files
from agora_execution.health import handlers as health_handlers
from agora_execution.health.service import PackageHealths
from agora_execution.memory import handlers as memory_handlers
from agora_execution.memory.service import Memories
from agora_execution.model_prices import handlers as price_handlers
from agora_execution.model_prices.service import ModelPrices
from agora_execution.models import handlers as model_handlers
from agora_execution.models.access import KEPT_SECONDS
from agora_execution.models.queries import ModelQueries
from agora_execution.models.service import ModelCalls
from agora_execution.packages import handlers as package_handlers
from agora_execution.packages.service import Packages
from agora_execution.provider_keys import handlers as key_handlers
from agora_execution.provider_keys.sealing import KeyRing
from agora_execution.provider_keys.service import ProviderKeys
from agora_execution.reconciliation import handlers as reconciliation_handlers
from agora_execution.runs import handlers as run_handlers
from agora_execution.runs.admission import Admission
from agora_execution.runs.recording import Recorder
from agora_execution.runs.service import Runs
from agora_execution.runs.starting import Starter
from agora_execution.runs.steering import Steering
from agora_execution.runs.sweeps import RunSweep
from agora_execution.schedules import handlers as schedule_handlers
from agora_execution.schedules.firing import Firing
from agora_execution.schedules.service import Schedules
from agora_execution.schedules.timing import Clock
from agora_execution.settings import ExecutionSettings
from agora_execution.versions import versions_of

_UNFINISHED_SECONDS = 86_400
"""How long after its last byte an upload that was never finished is taken for dead."""


async def build(settings: ExecutionSettings | None = None) -> Service:
    """The execution service, ready to run."""
    settings = settings or load_settings(ExecutionSettings)
    service = Service("execution", settings, package="agora_execution")
    client = await temporal.connect(settings.temporal_address, settings.temporal_namespace)
    service.health.add("temporal", lambda: temporal.check(client))
    wire(service, settings, client)
    service.on_stop(temporal.settle)
    return service


def wire(service: Service, settings: ExecutionSettings, client: Client) -> None:
    """Build the capabilities and register what they answer and consume."""
    database, broker = service.database, service.broker
    recorder = Recorder(database)
    starter = Starter(client, database, settings.task_queues, versions_of(client, settings))
    objects = FolderObjects(settings.objects_folder)
    files = Files(
        database,
        objects,
        quota_bytes=settings.file_quota_bytes,
        retention_days=settings.file_retention_days,
    )
    ring = KeyRing.read(settings.key_encryption_keys)
    model_calls = ModelCalls(database, ring=ring)
    prices = ModelPrices(database)
    packages = Packages(database)
    deployments = Deployments(database, service.broker, packages, files, client, settings.task_queues)
    admission = Admission(
        database,
        broker,
        recorder,
        packages,
        deployments,
        files,
        starter,
        models_configured=lambda: model_calls.configured,
    )
    sweep = RunSweep(database, recorder, starter)
    artifacts = ArtifactSweep(database, broker, objects)
    blackboards = Blackboards(database, retention_days=settings.finding_retention_days)
    package_handlers.register(service, packages)
    deployment_handlers.register(service, deployments)
    file_handlers.register(service, files)
    runs = Runs(database, starter)
    run_handlers.register(service, admission, runs, Steering(database, starter))
    approval_handlers.register(service, Approvals(database, broker, starter))
    conversation_handlers.register(service, Conversations(database, admission, runs))
    memories = Memories(database, broker, retention_days=settings.memory_retention_days)
    memory_handlers.register(service, memories)
    clock = Clock(client, settings.task_queues)
    schedules = Schedules(database, admission, clock)
    firing = Firing(database, admission, schedules, clock)
    schedule_handlers.register(service, schedules, firing)
    blackboard_handlers.register(service, blackboards)
    reconciliation_handlers.register(service)
    healths = PackageHealths(database, packages, client, settings.task_queues, model_calls)
    health_handlers.register(service, healths)
    key_handlers.register(service, ProviderKeys(database, ring))
    price_handlers.register(service, prices)
    model_handlers.register(service, ModelQueries(database, model_calls))

    async def sweep_runs() -> None:
        await sweep.sweep()

    async def drop_unfinished() -> None:
        await objects.drop_unfinished(_UNFINISHED_SECONDS)

    service.every(settings.sweep_seconds, "runs", sweep_runs)
    service.every(5 * settings.sweep_seconds, "deployments", deployments.sweep)
    service.every(settings.sweep_seconds, "memory", memories.sweep)
    service.every(3600, "expiring memory", memories.expire)
    service.every(settings.sweep_seconds, "schedules", firing.sweep)
    service.every(60, "schedules on Temporal", firing.verify)
    service.every(3600, "expiring fires", firing.expire)
    service.on_start(model_calls.refresh)
    service.every(KEPT_SECONDS, "platform keys", model_calls.refresh)
    service.every(30, "model calls", model_calls.sweep)

    async def expire_model_calls() -> None:
        await model_calls.expire(settings.model_call_retention_days)

    service.every(3600, "expiring model calls", expire_model_calls)

    async def sweep_artifacts() -> None:
        await artifacts.sweep()

    service.every(600, "files", files.expire)
    service.every(3600, "artifacts", sweep_artifacts)
    service.every(3600, "unfinished uploads", drop_unfinished)
    service.every(3600, "findings", blackboards.forget)


async def main() -> None:
    """Run the service until it is asked to stop."""
    service = await build()
    await service.run()

"""What a step reaches on the platform: its run's configuration, files, knowledge and models."""

from collections import OrderedDict
from typing import Any

from agora import Agent, Context, Models
from agora.memory import NoMemory, StepMemory
from agora.permissions import NoModels, granted
from agora.suspension import Answer
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import ObjectStore

from agora_execution.blackboard.service import RunBlackboard
from agora_execution.conversations.port import RunConversation
from agora_execution.deployments.artifacts import Artifacts
from agora_execution.files.port import RunFiles
from agora_execution.files.service import Files
from agora_execution.knowledge.port import TenantKnowledge
from agora_execution.memory.port import TenantMemory
from agora_execution.models.port import RunModels
from agora_execution.models.service import ModelCalls
from agora_execution.runs import call_results, store
from agora_execution.runs.model import StepResult
from agora_execution.runs.tasks import ChildrenEnded, StepAnswer, StepTask

_SEEN_MAX = 10_000


class StepPorts:
    """Builds the context of a step's attempt."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        objects: ObjectStore,
        files: Files,
        artifacts: Artifacts,
        model_calls: ModelCalls,
    ) -> None:
        self._database = database
        self._broker = broker
        self._objects = objects
        self._files = files
        self._artifacts = artifacts
        self._model_calls = model_calls
        self._begun_here: OrderedDict[str, set[str]] = OrderedDict()

    def begun(self, run: str) -> None:
        """This worker is the first to take the run up: no step of it can be recorded elsewhere yet."""
        self._begun_here[run] = set()
        while len(self._begun_here) > _SEEN_MAX:
            self._begun_here.popitem(last=False)

    async def known_result(self, run: str, step: str) -> tuple[bytes | None, bool]:
        """The recorded result of a step, if it may have one, and whether the run is known to have to stop.

        A step that this worker sees for the first time, of a run that it was the first to begin, cannot have
        been recorded: the database is not asked.
        """
        tried = self._begun_here.get(run)
        if tried is not None and step not in tried:
            tried.add(step)
            return None, False
        async with self._database.system() as connection:
            return await store.step_result(connection, run, step)

    async def carried(self, step: StepTask) -> StepResult | None:
        """The step as the run's origin recorded it, to be taken over; None where it is to be taken anew."""
        if step.task.origin is None:
            return None
        async with self._database.system() as connection:
            return await store.carried_step(connection, step)

    async def context(self, agent: Agent, step: StepTask, attempt: int) -> Context:
        """The context of one attempt at a step."""
        task = step.task
        config: Any = agent.read_config(task.config)
        files, knowledge, models = granted(
            agent.manifest.permissions,
            RunFiles(self._files, self._objects, task.tenant, run=task.run, step=step.step),
            TenantKnowledge(self._broker, task.tenant),
            await self._models(agent, step, attempt),
        )
        memory = TenantMemory(self._database, self._broker, task.tenant, task.package)
        prepared = await self._artifacts.loaded(agent, config, task.tenant, task.artifact)
        context = Context(
            run_id=task.run,
            step_id=step.step,
            attempt=attempt,
            config=config,
            prepared=prepared,
            files=files,
            knowledge=knowledge,
            models=models,
            answers=[await self._resolved(answer) for answer in step.answers],
            callable_agents=agent.manifest.permissions.agents,
            memory=StepMemory(memory, step.step) if agent.manifest.permissions.memory else NoMemory(),
            conversation=RunConversation(self._database, task.tenant, task.run),
            blackboard=RunBlackboard(self._database, task.tenant, task.run, step.step),
        )
        if isinstance(models, RunModels):
            models.report_to(context)
        return context

    async def _resolved(self, answer: StepAnswer) -> Answer:
        if isinstance(answer, ChildrenEnded):
            return await call_results.read(self._database, answer)
        return answer

    async def _models(self, agent: Agent, step: StepTask, attempt: int) -> Models:
        if not agent.manifest.permissions.models:
            # Most agents: their steps need not know whose keys there are.
            return NoModels()
        task = step.task
        access = await self._model_calls.access(task.tenant)
        return RunModels(
            self._model_calls,
            task.run,
            task.tenant,
            step.step,
            attempt,
            access=access,
            may_wait=task.over_budget == "pause" and not step.budget_refused,
        )

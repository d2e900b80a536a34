"""Use cases of model calls: reserve, ask, settle. A run's calls can never cost more than its hold has for them.

Each try at a model is a row with its step and attempt. A step's usage is billed from the attempt that is recorded;
what other attempts spent stands in their rows and is platform cost. The reply of a call is kept in its row: a step
that is called again, by a retry or after it was suspended, gets it from there and pays nothing twice.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from agora import Message, ModelBudgetSpent, ModelReply, ModelUnavailable
from agora.messages import Capability, Embedded, OnText, Policy
from agora.models import asking, attachments, embedding, routing
from agora.models.asking import Question
from agora.models.attachments import ReadableFiles
from agora.models.breaker import Breakers
from agora.models.clients import Clients
from agora.models.faults import VendorFault
from agora.models.offering import offers_of
from agora.models.pricing import ModelPrice, UnknownModelPrice
from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_kit.database import Database
from agora_kit.outbox import new_event_id

from agora_execution.models import store
from agora_execution.models.access import Access, Accesses
from agora_execution.models.answers import again, encoded, refused
from agora_execution.models.cache import ResponseCache
from agora_execution.models.ledger import CallLedger
from agora_execution.models.model import CallPlace, Opened, Opening, Settlement, digest_of
from agora_execution.models.trying import Tries
from agora_execution.patience import patiently
from agora_execution.provider_keys.sealing import KeyRing

log = structlog.get_logger()

TIMEOUT_SECONDS = 60.0
WAIT_SECONDS = 60.0
LOST_SECONDS = 180.0
"""What is not settled after so long never will be: who made the call has died."""
REPLIES_KEPT_DAYS = 1
"""How long after a run's end replies are kept; nothing asks for them then but who looks into a failure."""


_EXPIRE_BATCH = 5_000


class Caller(Protocol):
    """The attempt at a step that makes calls."""

    @property
    def run(self) -> str:
        """Its run."""
        ...

    @property
    def tenant(self) -> str:
        """Its tenant."""
        ...

    def place(self, digest: str) -> CallPlace:
        """Where its next call that asks this is made."""
        ...


class ModelCalls:
    """Asks vendors on behalf of runs, with the platform's keys or the tenant's.

    Args:
        environment: keys, addresses and overrides by name; the process's own by default.
        ring: opens the keys that are stored.
        timeout_seconds: the most that one try may take.
        wait_seconds: the longest that a call waits for room that others of its run will leave.
    """

    def __init__(
        self,
        database: Database,
        environment: Mapping[str, str] | None = None,
        *,
        ring: KeyRing | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
        cache: ResponseCache | None = None,
    ) -> None:
        self._database = database
        self._accesses = Accesses(database, ring or KeyRing({}), environment)
        self._timeout_seconds = timeout_seconds
        self._ledger = CallLedger(database, wait_seconds=wait_seconds)
        self._cache = cache or ResponseCache(database)
        self._clients = Clients()
        self._breakers = Breakers(time.monotonic)
        self._latencies = routing.Latencies()

    @property
    def configured(self) -> bool:
        """Whether the platform itself has a key of any vendor: then runs set money aside for models."""
        return self._accesses.platform_configured

    async def refresh(self) -> None:
        """Look up whether keys have been stored or deleted since."""
        await self._accesses.refresh()

    def waiting(self, run: str) -> int:
        """How many of a run's calls wait for room, in this process."""
        return self._ledger.waiting(run)

    async def access(self, tenant: str) -> Access:
        """What a tenant's runs may call."""
        return await self._accesses.of(tenant)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        caller: Caller,
        max_tokens: int,
        capability: Capability = "fast",
        model: str | Sequence[str] | None = None,
        policy: Policy | None = None,
        schema: type[msgspec.Struct] | None = None,
        tools: Sequence[Any] = (),
        on_text: OnText | None = None,
        cache: bool = False,
        files: ReadableFiles | None = None,
    ) -> ModelReply:
        """Ask a model, within what the run's hold has left for models; see `agora.ports.Models.chat`.

        Raises:
            ModelBudgetSpent: the hold has no room for the worst case.
            ModelUnavailable: no key, no price for the model, or no usable answer. What the vendor may have charged
                is kept either way.
        """
        access = await patiently(self._accesses.of, caller.tenant)
        models = routing.taking(routing.eligible(capability, model, access.environment), messages)
        question = Question(
            messages=messages,
            max_tokens=max_tokens,
            schema=schema,
            offered=offers_of(tools),
            attachments=await attachments.read(messages, files),
        )
        asked = {
            "messages": question.sent, "tools": question.tools, "max_tokens": max_tokens,
            "capability": capability, "model": model, "policy": policy,
        }  # fmt: skip
        place = caller.place(digest_of("chat", asked))
        models, prices = _priced(models, access)
        worst = {one: question.worst_case(prices[one]) for one in models}
        models = routing.ordered(
            models,
            policy or _default_policy(access),
            worst_case=lambda one: worst[one].amount,
            latencies=self._latencies,
        )

        async def ask(one: str) -> ModelReply:
            return await asking.ask(
                one,
                question,
                clients=self._clients,
                environment=access.environment,
                price=prices[one],
                timeout_seconds=self._timeout_seconds,
                on_text=on_text,
            )

        async def call() -> ModelReply:
            return await self._call(place, models, access, worst, ask, ModelReply, on_text)

        if not cache:
            return asking.read(await call(), question)
        # What does not fit the question is no answer to keep.
        checked = await self._cached(place, models, call, lambda one: asking.read(one, question), on_text)
        return asking.read(checked, question)

    async def embed(self, texts: Sequence[str], *, caller: Caller, model: str | None = None) -> Embedded:
        """Texts as vectors, within what the run's hold has left for models; see `agora.ports.Models.embed`.

        Raises:
            ModelBudgetSpent, ModelUnavailable: as `chat`.
        """
        embedding.require_texts(texts)
        access = await patiently(self._accesses.of, caller.tenant)
        # Vectors of different models cannot be compared: there is no failover to another.
        models, prices = _priced(routing.eligible("embed", model, access.environment)[:1], access)
        place = caller.place(digest_of("embed", {"texts": texts, "models": models}))

        async def ask(one: str) -> Embedded:
            return await embedding.embed(
                one,
                texts,
                clients=self._clients,
                environment=access.environment,
                price=prices[one],
                timeout_seconds=self._timeout_seconds,
            )

        worst = {one: embedding.worst_case(prices[one], texts) for one in models}
        return await self._call(place, models, access, worst, ask, Embedded)

    async def sweep(self) -> None:
        """Settle what nobody will settle any more, at its worst case; drop replies and cached answers that are old."""
        async with self._database.system() as connection:
            lost = await store.lost_calls(connection, LOST_SECONDS)
            if lost:
                log.warning("model calls lost", count=len(lost))
                await store.settle(
                    connection,
                    [
                        Settlement(
                            id=call, spent=reserved, cost=reserved, failure="nobody was there for its answer"
                        )
                        for call, reserved in lost
                    ],
                )
            await store.forget_replies(connection, REPLIES_KEPT_DAYS)
        await self._cache.drop_old()

    async def expire(self, retention_days: int) -> None:
        """Delete the calls of ended runs that are older than this, in batches."""
        gone = _EXPIRE_BATCH
        while gone == _EXPIRE_BATCH:
            async with self._database.system() as connection:
                gone = await store.expire(connection, retention_days, _EXPIRE_BATCH)

    async def _call[R: (ModelReply, Embedded)](
        self,
        place: CallPlace,
        models: Sequence[str],
        access: Access,
        worst: Mapping[str, Money],
        ask: Callable[[str], Awaitable[R]],
        kind: type[R],
        on_text: OnText | None = None,
    ) -> R:
        """Try the models in turn, each reserved before and settled after it, until one answers."""
        tries = Tries(models, access, self._breakers)
        retry = False
        note = ""
        short: ModelBudgetSpent | None = None
        async for model in tries:
            try:
                opening, opened = await self._reserve(place, model, access, worst[model], retry)
            except BaseException:
                tries.withdrew(model)
                raise
            if opened.reply is not None:
                tries.withdrew(model)
                return again(msgspec.json.decode(opened.reply, type=kind, strict=False), on_text)
            if opened.refusal is not None:
                tries.withdrew(model)
                if opened.refusal == "no_retries":
                    note = "the run has used up what its calls may be tried again"
                    break
                why = refused(opened)
                if not isinstance(why, ModelBudgetSpent):
                    raise why
                # Another model may cost less.
                short = min(short or why, why, key=lambda one: one.missing)
                continue
            started = time.monotonic()
            try:
                reply = await ask(model)
            except VendorFault as fault:
                tries.failed(model, fault)
                await self._settle_fault(opening, worst[model], fault)
                retry = True
                continue
            except BaseException as error:
                # Cut off in the middle: the vendor may have worked and charged, and the worst case is what is known.
                tries.withdrew(model)
                await self._settle_unknown(opening, worst[model], error)
                raise
            tries.succeeded(model)
            self._latencies.took(model, time.monotonic() - started)
            return await self._settle_reply(opening, worst[model], reply)
        if short is not None and not retry:
            raise short
        raise tries.failure(note or (str(short) if short else ""))

    async def _reserve(
        self, place: CallPlace, model: str, access: Access, worst: Money, retry: bool
    ) -> tuple[Opening, Opened]:
        unknown: list[Opening] = []

        async def reserve() -> tuple[Opening, Opened]:
            # Under a new id each time: of one whose COMMIT was cut off it is not known what came of it.
            opening = Opening(
                id=new_event_id(),
                place=place,
                model=model,
                amount=0 if access.is_own(model) else worst.amount,
                own_key=access.is_own(model),
                retry=retry,
            )
            unknown.append(opening)
            opened = await self._ledger.open(opening)
            unknown.remove(opening)
            return opening, opened

        try:
            return await patiently(reserve)
        finally:
            for opening in unknown:
                self._ledger.withdraw(opening)

    async def _cached(
        self,
        place: CallPlace,
        models: Sequence[str],
        call: Callable[[], Awaitable[ModelReply]],
        check: Callable[[ModelReply], ModelReply],
        on_text: OnText | None,
    ) -> ModelReply:
        """The reply that an earlier attempt got here, else the cache's, else a model's, which the cache then keeps."""
        known = await patiently(self._ledger.reply, place)
        if known is not None:
            return again(msgspec.json.decode(known, type=ModelReply, strict=False), on_text)
        digest = digest_of("cache", {"asked": place.digest, "models": models})
        async with self._cache.entry(place.tenant, digest) as entry:
            if entry.found is None:
                reply = await call()
                check(reply)
                entry.reply = encoded(reply)
                return reply
        return again(await self._settle_hit(place, entry.found), on_text)

    async def _settle_hit(self, place: CallPlace, found: bytes) -> ModelReply:
        """Keep that the cache has answered, so that a step that is called again is answered the same."""
        kept = msgspec.json.decode(found, type=ModelReply, strict=False)
        reply = msgspec.structs.replace(kept, cached=True, cost=Money(amount=0), own_key=False)
        opening = Opening(id=new_event_id(), place=place, model=reply.model, amount=0)
        opened = await self._ledger.open(opening)
        if opened.refusal is not None:
            raise refused(opened)
        if opened.reply is None:
            settlement = Settlement(
                id=opening.id, spent=0, cost=0, reconciled=True, cached=True, reply=encoded(reply)
            )
            await self._ledger.settle(settlement, run=place.run, reserved=0)
        return reply

    async def _settle_reply[R: (ModelReply, Embedded)](self, opening: Opening, worst: Money, reply: R) -> R:
        cost = reply.cost if reply.cost is not None and reply.reconciled else worst
        if cost.amount > worst.amount:
            # The bound of the tokens is wrong for this vendor, or the price is: the hold may be overdrawn.
            log.error(
                "a model call cost more than its worst case",
                call=opening.id, model=opening.model, worst_micros=worst.amount, cost_micros=cost.amount,
            )  # fmt: skip
        reply = msgspec.structs.replace(reply, cost=cost, own_key=opening.own_key)
        settlement = Settlement(
            id=opening.id,
            spent=0 if opening.own_key else cost.amount,
            cost=cost.amount,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens if isinstance(reply, ModelReply) else 0,
            reconciled=reply.reconciled,
            reply=encoded(reply),
        )
        await self._ledger.settle(settlement, run=opening.place.run, reserved=opening.amount)
        return reply

    async def _settle_fault(self, opening: Opening, worst: Money, fault: VendorFault) -> None:
        """What a vendor refused outright costs nothing; where it may have worked, the worst case is what is known."""
        cost = worst.amount if fault.may_cost else 0
        settlement = Settlement(
            id=opening.id, spent=min(cost, opening.amount), cost=cost, failure=str(fault)[:500]
        )
        await self._ledger.settle(settlement, run=opening.place.run, reserved=opening.amount)

    async def _settle_unknown(self, opening: Opening, worst: Money, error: BaseException) -> None:
        settlement = Settlement(
            id=opening.id, spent=opening.amount, cost=worst.amount, failure=repr(error)[:500]
        )
        await self._ledger.settle(settlement, run=opening.place.run, reserved=opening.amount)


def _priced(models: Sequence[str], access: Access) -> tuple[list[str], dict[str, ModelPrice]]:
    """The models that have a price now, and their prices.

    Raises:
        UnknownModelPrice: none has.
    """
    at = utc_now()
    prices: dict[str, ModelPrice] = {}
    unknown: UnknownModelPrice | None = None
    for model in models:
        try:
            prices[model] = access.price_of(model, at)
        except UnknownModelPrice as error:
            unknown = error
    if not prices and unknown is not None:
        raise unknown
    return list(prices), prices


def _default_policy(access: Access) -> Policy:
    asked = access.environment.get("AGORA_MODEL_POLICY", "fixed")
    try:
        policy: Policy = msgspec.convert(asked, Policy)
    except msgspec.ValidationError:
        raise ModelUnavailable(
            f"AGORA_MODEL_POLICY is {asked!r}; it must be fixed, cheapest, fastest or best."
        ) from None
    return policy

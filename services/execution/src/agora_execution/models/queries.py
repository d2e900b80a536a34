"""What customers see of models: those that can answer them, and the calls that a run made."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from agora import ModelUnavailable
from agora.messages import Capability
from agora.models.vendors import candidates
from agora_contracts.envelope import utc_now
from agora_contracts.models import (
    ListModelCalls,
    ListModels,
    ModelCall,
    ModelCallPage,
    ModelOffer,
    ModelOfferList,
    TokenPrices,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from sqlalchemy import Row, text

from agora_execution.model_prices.service import token_prices
from agora_execution.models.access import Access
from agora_execution.models.service import ModelCalls

_CALLS = text("""
    SELECT id, step_id, attempt, model, spent, reserved, cost, input_tokens, output_tokens, reconciled, failure, at,
        own_key, cached
    FROM model_calls WHERE run_id = :run AND (at, id) > (:after_at, :after) ORDER BY at, id LIMIT :limit
""")

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class ModelQueries:
    """Reads about models."""

    def __init__(self, database: Database, calls: ModelCalls) -> None:
        self._database = database
        self._calls = calls

    async def offers(self, query: ListModels) -> ModelOfferList:
        """The models that a tenant's runs can be answered by."""
        access = await self._calls.access(query.tenant)
        found: dict[str, list[str]] = {}
        for capability in get_args(Capability):
            try:
                models: Sequence[str] = candidates(capability, access.environment)
            except ModelUnavailable:
                # The operator's choice for it names what is not configured; runs are told so when they ask.
                continue
            for model in models:
                found.setdefault(model, []).append(capability)
        return ModelOfferList(
            items=[
                ModelOffer(
                    model=model,
                    capabilities=capabilities,
                    key="own" if access.is_own(model) else "platform",
                    prices=_prices(access, model),
                )
                for model, capabilities in found.items()
            ]
        )

    async def calls(self, query: ListModelCalls) -> ModelCallPage:
        """The calls of a run, the first one first.

        Raises:
            AgoraError: `not_found`, or `invalid_cursor`.
        """
        after_at, after = (
            decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else (_BEGINNING, "")
        )
        async with self._database.transaction(query.tenant) as connection:
            known = await connection.execute(
                text("SELECT currency FROM runs WHERE id = :run"), {"run": query.run}
            )
            if (currency := known.scalar_one_or_none()) is None:
                raise AgoraError("not_found", f"there is no run {query.run}")
            values = {"run": query.run, "after_at": after_at, "after": after, "limit": query.limit + 1}
            rows = (await connection.execute(_CALLS, values)).all()
        shown = rows[: query.limit]
        return ModelCallPage(
            items=[_call(row, currency) for row in shown],
            next_cursor=encode_cursor(shown[-1].at.isoformat(), shown[-1].id)
            if len(rows) > query.limit
            else None,
        )


def _prices(access: Access, model: str) -> TokenPrices | None:
    found = access.prices.find(model, utc_now())
    return None if found is None else token_prices(found.price)


def _call(row: Row[tuple[object, ...]], currency: str) -> ModelCall:
    if row.spent is None:
        state = "running"
    elif row.failure is not None:
        state = "failed"
    else:
        state = "cached" if row.cached else "answered"
    cost = row.cost if row.cost is not None else row.spent if row.spent is not None else row.reserved
    return ModelCall(
        id=row.id,
        step=row.step_id,
        attempt=row.attempt,
        model=row.model,
        state=state,  # type: ignore[arg-type]
        at=row.at,
        key="own" if row.own_key else "platform",
        cost=Money(amount=cost, currency=currency),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        reconciled=row.reconciled,
        failure=row.failure,
    )

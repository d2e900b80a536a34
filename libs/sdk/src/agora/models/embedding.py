"""Texts to vectors through a vendor, with the usage that it reports where its package lets it be seen."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agora_contracts.money import Money

from agora.errors import ModelUnavailable
from agora.messages import Embedded, Message
from agora.models import pricing
from agora.models.clients import Clients
from agora.models.faults import VendorFault, fault_of
from agora.models.pricing import ModelPrice
from agora.models.vendors import vendor_of

TEXTS_MAX = 2048


def tokens_at_most(texts: Sequence[str]) -> int:
    """An upper bound of the tokens in texts."""
    return pricing.tokens_at_most([Message(role="user", content=text) for text in texts])


def worst_case(price: ModelPrice, texts: Sequence[str]) -> Money:
    """The most that embedding texts can cost."""
    return pricing.worst_case(price, tokens_at_most(texts), 0)


def require_texts(texts: Sequence[str]) -> None:
    """Raise `ModelUnavailable` for no texts, an empty one, or more than one call takes."""
    if not texts or not all(text.strip() for text in texts):
        raise ModelUnavailable("There must be texts to embed, and none of them empty.")
    if len(texts) > TEXTS_MAX:
        raise ModelUnavailable(f"At most {TEXTS_MAX} texts are embedded in one call, not {len(texts)}.")


async def embed(
    model: str,
    texts: Sequence[str],
    *,
    clients: Clients,
    environment: Mapping[str, str],
    price: ModelPrice | None,
    timeout_seconds: float,
) -> Embedded:
    """Embed texts once with `vendor:model`; usage that is not reported is taken at the worst case.

    Raises:
        VendorFault: it is not set up, has no vectors, did not answer in time, refused, or answered too few.
    """
    require_texts(texts)
    client = await clients.embeddings(model, timeout_seconds=timeout_seconds, environment=environment)
    try:
        async with asyncio.timeout(timeout_seconds):
            vectors, tokens = await _vectors(model, client, list(texts))
    except TimeoutError as error:
        raise VendorFault(model, "timed_out", f"did not answer within {timeout_seconds:g} seconds") from error
    except Exception as error:
        raise fault_of(model, error) from error
    if len(vectors) != len(texts):
        raise VendorFault(model, "garbled", f"gave {len(vectors)} vectors for {len(texts)} texts")
    reconciled = tokens > 0
    counted = tokens if reconciled else tokens_at_most(texts)
    return Embedded(
        vectors=vectors,
        input_tokens=counted,
        model=model,
        cost=None if price is None else pricing.cost(price, counted, 0),
        reconciled=reconciled,
    )


async def _vectors(model: str, client: Any, texts: list[str]) -> tuple[list[list[float]], int]:
    """Vectors in the order of the texts, and the tokens that the vendor reports, else 0."""
    match vendor_of(model).embedding_class:
        case "OpenAIEmbeddings":
            # langchain's own call drops the usage; this is the client below it.
            answer = await client.async_client.create(
                input=texts, model=model.partition(":")[2], encoding_format="float"
            )
            placed = sorted(answer.data, key=lambda one: one.index)
            return [list(one.embedding) for one in placed], getattr(answer.usage, "prompt_tokens", 0) or 0
        case _:
            return await client.aembed_documents(texts), 0

"""Quotes, each stored once per tenant under the hash of its contents. Never commits.

A stored quote never changes, so a process may remember those that it has read.
"""

import hashlib
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import asyncpg
import msgspec
from agora_contracts.billing import Quote
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncConnection

_REMEMBERED_MAX = 10_000

_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Quote)

_READ = "SELECT quote_id, quote::text AS quote FROM quotes WHERE quote_id = ANY($1)"

# In order of the ids, so that two writers never wait for each other crosswise.
_INSERT = """
    INSERT INTO quotes (quote_id, tenant_id, quote)
    SELECT n.id, n.tenant, n.quote::jsonb FROM unnest($1::text[], $2::text[], $3::text[]) AS n (id, tenant, quote)
    ORDER BY n.id ON CONFLICT DO NOTHING
"""


class QuoteBook:
    """The quotes of one database."""

    def __init__(self) -> None:
        self._known: dict[str, Quote] = {}
        # By the quote's own address, which nothing else gets as long as the quote is kept beside it.
        self._ids: dict[tuple[str, int], tuple[Quote, str]] = {}

    async def read(self, connection: asyncpg.Connection, ids: Iterable[str]) -> dict[str, Quote]:
        """Quotes by their ids."""
        wanted = set(ids)
        missing = wanted - self._known.keys()
        if missing:
            if len(self._known) > _REMEMBERED_MAX:
                self._known.clear()
                missing = wanted
            rows = await connection.fetch(_READ, sorted(missing))
            self._known.update({row["quote_id"]: _decoder.decode(row["quote"]) for row in rows})
        return {one: self._known[one] for one in wanted}

    async def write(self, connection: asyncpg.Connection, quotes: Sequence[tuple[str, Quote]]) -> list[str]:
        """Store quotes of tenants, those that are there already without effect; their ids in order."""
        ids: list[str] = []
        new: dict[str, tuple[str, bytes]] = {}
        for tenant, quote in quotes:
            named = self._ids.get((tenant, id(quote)))
            quote_id = named[1] if named else self._name(tenant, quote)
            ids.append(quote_id)
            # Only what was read is known to be committed.
            if quote_id not in self._known and quote_id not in new:
                new[quote_id] = (tenant, _encoder.encode(quote))
        if new:
            await connection.execute(
                _INSERT,
                list(new),
                [tenant for tenant, _ in new.values()],
                [body.decode() for _, body in new.values()],
            )
        return ids

    def _name(self, tenant: str, quote: Quote) -> str:
        digest = hashlib.sha256(tenant.encode() + b"\0" + _encoder.encode(quote)).hexdigest()
        if len(self._ids) > _REMEMBERED_MAX:
            self._ids.clear()
        quote_id = f"quote_{digest[:32]}"
        self._ids[tenant, id(quote)] = (quote, quote_id)
        return quote_id


_books: WeakKeyDictionary[Engine, QuoteBook] = WeakKeyDictionary()


def book_of(connection: AsyncConnection) -> QuoteBook:
    """The quotes of the database that a connection leads to."""
    engine = connection.engine.sync_engine
    book = _books.get(engine)
    if book is None:
        book = _books[engine] = QuoteBook()
    return book

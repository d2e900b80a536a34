"""Use cases of the price book. One call is one transaction, opened and committed by the caller."""

from collections.abc import Sequence
from datetime import UTC, datetime

from agora_contracts.catalog import (
    ChargePolicy,
    ListPrices,
    Manifest,
    PriceBook,
    PriceEntry,
    PriceVersionPublished,
    PublishPrices,
)
from agora_contracts.envelope import utc_now
from agora_contracts.ids import derived, is_slug
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_catalog.listings import model as listings_model
from agora_catalog.listings import store as listings
from agora_catalog.listings.store import StoredVersion
from agora_catalog.prices import model, store

_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


async def publish_prices(connection: AsyncConnection, asked: PublishPrices) -> PriceBook:
    """Revise the prices of a package, once per price version.

    Raises:
        AgoraError: `not_found`; `invalid_manifest` with every field at fault; `idempotency_conflict` when the
            price version stands for other prices.
    """
    if not is_slug(asked.package):
        raise _not_found(asked.package)
    await listings.lock_package_if_there(connection, asked.package)
    shown = await listings.find_version(connection, asked.package)
    if shown is None:
        raise _not_found(asked.package)
    entries = await store.book(connection, asked.package, _END_OF_TIME)
    charges = asked.charges or _charges_now(entries, shown)
    known = await store.find(connection, asked.price_version)
    if known is not None:
        if known[0] != asked.package or not model.same(known[1], asked, asked.charges or known[1].charges):
            raise AgoraError(
                "idempotency_conflict",
                "other prices were published under this Idempotency-Key; use a new one for these",
            )
        return await prices_of(connection, ListPrices(package=asked.package))
    now = utc_now()
    if faults := list(model.faults(asked, shown.manifest, now)):
        what = f"the prices of {asked.package} cannot be published: {len(faults)} field(s) must change"
        raise AgoraError("invalid_manifest", what, errors=faults)
    entry = PriceEntry(
        price_version=asked.price_version,
        number=await store.next_number(connection, asked.package),
        version=None,
        prices=asked.prices,
        charges=charges,
        published_at=now,
        effective_at=asked.effective_at or now,
        notice_days=asked.notice_days,
    )
    await store.add(connection, asked.package, entry)
    await emit(connection, [published(shown.manifest, entry)])
    return await prices_of(connection, ListPrices(package=asked.package))


def _charges_now(entries: Sequence[PriceEntry], shown: StoredVersion) -> ChargePolicy:
    """The charge policy that the newest entry for the shown version has."""
    own = next((one.number for one in entries if one.version == shown.manifest.version), 0)
    newest = next((one for one in entries if one.version is None and one.number > own), None)
    return shown.manifest.charges if newest is None else newest.charges


def published(manifest: Manifest, entry: PriceEntry) -> Event:
    """The event that tells of an entry; whoever earns is who the manifest says."""
    fact = PriceVersionPublished(
        price_version=entry.price_version,
        package=manifest.id,
        version=manifest.version,
        currency=listings_model.CURRENCY,
        prices=entry.prices,
        charges=entry.charges,
        model_cost_limit=manifest.limits.model_cost,
        author=manifest.author.id if manifest.author else None,
        author_share=manifest.author.share if manifest.author else listings_model.NO_SHARE,
        number=entry.number,
        revises=entry.version is None,
        effective_at=entry.effective_at,
        notice_days=entry.notice_days,
        own_key_fee=manifest.own_key_fee,
    )
    return Event(
        tenant=PLATFORM_TENANT,
        entity=manifest.id,
        data=fact,
        id=derived("evt", "PriceVersionPublished", entry.price_version),
        at=entry.published_at,
    )


async def prices_of(connection: AsyncConnection, query: ListPrices) -> PriceBook:
    """Read a price book, and what a new customer of the shown version takes at a moment.

    Raises:
        AgoraError: `not_found`, `invalid_input` for a moment without its offset from UTC.
    """
    shown = await listings.find_version(connection, query.package) if is_slug(query.package) else None
    if shown is None or shown.state not in listings_model.VISIBLE:
        raise _not_found(query.package)
    if query.at is not None and query.at.tzinfo is None:
        raise AgoraError("invalid_input", "a moment needs its offset from UTC, such as 2026-01-01T00:00:00Z")
    at = query.at or utc_now()
    entries = await store.book(connection, query.package, _END_OF_TIME)
    return PriceBook(package=query.package, items=entries, in_force=_in_force(entries, shown, at))


def _in_force(entries: Sequence[PriceEntry], shown: StoredVersion, at: datetime) -> str | None:
    own = next((one for one in entries if one.version == shown.manifest.version), None)
    if own is None or own.published_at > at:
        return None
    later = (one for one in entries if one.version is None and one.number > own.number)
    return next((one.price_version for one in later if one.effective_at <= at), own.price_version)


def _not_found(package: str) -> AgoraError:
    return AgoraError("not_found", f"there is no package {package[:64]!r}; GET /packages lists what there is")

"""Use cases of listings. One call is one transaction, opened and committed by the caller."""

from typing import Annotated, Any, get_args

import structlog
from agora_contracts import catalog as contracts
from agora_contracts.envelope import utc_now
from agora_contracts.ids import derived, is_slug
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_catalog.announced import announced_packages
from agora_catalog.listings import model, store
from agora_catalog.listings.schema_rules import schema_faults
from agora_catalog.prices import service as prices
from agora_catalog.prices import store as book

log = structlog.get_logger()

_Rank = Annotated[int, Meta(ge=0, le=2**63 - 1)]


async def publish_package(
    connection: AsyncConnection, package: contracts.PublishPackage
) -> contracts.PackageDetail:
    """Publish one version, once: the same contents again get the same answer and announce nothing.

    Raises:
        AgoraError: `invalid_manifest` with every field at fault; `version_exists` when other contents stand
            under this version.
    """
    manifest = package.manifest
    if faults := [
        *model.manifest_faults(manifest),
        *model.author_faults(package),
        *schema_faults(manifest, package.schemas),
    ]:
        what = f"{manifest.id} {manifest.version} cannot be published: {len(faults)} field(s) must change"
        raise AgoraError("invalid_manifest", what, errors=faults)
    await store.lock_package(connection, manifest.id)
    published = await store.find_version(connection, manifest.id, manifest.version)
    contents_hash = model.contents_hash(package)
    if published is not None:
        if published.contents_hash != contents_hash:
            raise _version_exists(published.contents, package)
        return await _detail(connection, published)
    version = store.StoredVersion(
        manifest=manifest,
        schemas=package.schemas,
        state=manifest.state,
        state_revision=0,
        first_party=package.first_party,
        contents_hash=contents_hash,
        price_version=model.price_version_id(package),
        published_at=utc_now(),
    )
    await store.add_version(connection, version)
    await _choose_shown(connection, manifest.id)
    entry = contracts.PriceEntry(
        price_version=version.price_version,
        number=await book.next_number(connection, manifest.id),
        version=manifest.version,
        prices=manifest.prices,
        charges=manifest.charges,
        published_at=version.published_at,
        effective_at=version.published_at,
        notice_days=contracts.NOTICE_DAYS,
    )
    await book.add(connection, manifest.id, entry)
    await emit(connection, [_published_event(version), prices.published(manifest, entry)])
    return await _detail(connection, version)


def _version_exists(published: contracts.PublishPackage, offered: contracts.PublishPackage) -> AgoraError:
    manifest = offered.manifest
    return AgoraError(
        "version_exists",
        f"{manifest.id} {manifest.version} is published with other contents and never changes;"
        " publish under a higher version",
        errors=model.differences(published, offered),
    )


def _published_event(version: store.StoredVersion) -> Event:
    manifest = version.manifest
    fact = contracts.PackagePublished(
        package=manifest.id,
        version=manifest.version,
        manifest=manifest,
        schemas=version.schemas,
        price_version=version.price_version,
        first_party=version.first_party,
    )
    return Event(
        tenant=PLATFORM_TENANT,
        entity=manifest.id,
        data=fact,
        id=derived("evt", "PackagePublished", version.price_version),
        at=version.published_at,
    )


async def set_listing_state(
    connection: AsyncConnection, command: contracts.SetListingState
) -> contracts.PackageDetail:
    """Move a version to another state; asking for the state it has changes nothing.

    Raises:
        AgoraError: `not_found`; `conflict` when the state cannot be reached from where the version stands.
    """
    _require_readable(command.package, command.version)
    await store.lock_package_if_there(connection, command.package)
    current = await store.find_version(connection, command.package, command.version)
    if current is None:
        raise _not_found(command.package, command.version)
    if current.state == command.state:
        return await _detail(connection, current)
    if not model.may_move(current.state, command.state):
        possible = ", ".join(model.next_states(current.state)) or "no other"
        raise AgoraError(
            "conflict",
            f"{command.package} {command.version} is {current.state} and cannot become {command.state};"
            f" from there it can go to: {possible}",
        )
    revision = await store.move_state(connection, command.package, command.version, command.state)
    await _choose_shown(connection, command.package)
    fact = contracts.ListingStateChanged(
        package=command.package, version=command.version, state=command.state
    )
    event_id = derived("evt", "ListingStateChanged", current.price_version, str(revision))
    await emit(
        connection,
        [Event(tenant=PLATFORM_TENANT, entity=command.package, data=fact, id=event_id, sequence=revision)],
    )
    moved = await store.find_version(connection, command.package, command.version)
    assert moved is not None  # Locked above.
    return await _detail(connection, moved)


async def _choose_shown(connection: AsyncConnection, package: str) -> None:
    versions = await store.list_versions(connection, package)
    await store.show_version(connection, package, model.shown_version(versions))


async def _detail(connection: AsyncConnection, version: store.StoredVersion) -> contracts.PackageDetail:
    versions = model.newest_first(await store.list_versions(connection, version.manifest.id))
    return contracts.PackageDetail(
        summary=version.summary,
        manifest=version.manifest,
        schemas=version.schemas,
        versions=[one.version for one in versions if one.state in model.VISIBLE],
        first_party=version.first_party,
    )


# --- reading -------------------------------------------------------------------------------------


async def get_package(connection: AsyncConnection, query: contracts.GetPackage) -> contracts.PackageDetail:
    """Read a visible version, or the one that stands for the package.

    Raises:
        AgoraError: `not_found`, also for a version that is a draft or retired.
    """
    _require_readable(query.package, query.version)
    version = await store.find_version(connection, query.package, query.version)
    if version is None or version.state not in model.VISIBLE:
        raise _not_found(query.package, query.version)
    return await _detail(connection, version)


async def list_packages(connection: AsyncConnection, query: contracts.ListPackages) -> contracts.PackagePage:
    """List visible packages by id, or, with a search, by how well they match.

    Raises:
        AgoraError: `invalid_cursor`; `malformed_request` for an unknown category or too long a search.
    """
    _require_category(query.category)
    search = _read_search(query.search)
    if search is None:
        (after,) = decode_cursor(query.cursor, tuple[str]) if query.cursor else ("",)
        found = await store.list_shown(
            connection, category=query.category, after=_plain(after), limit=query.limit + 1
        )
    else:
        position = decode_cursor(query.cursor, tuple[_Rank, str]) if query.cursor else None
        found = await store.search_shown(
            connection,
            search,
            category=query.category,
            after=None if position is None else (position[0], _plain(position[1])),
            limit=query.limit + 1,
        )
    shown = found[: query.limit]
    next_cursor = None
    if len(found) > query.limit:
        last = shown[-1]
        place: tuple[Any, ...] = (last.summary.id,) if search is None else (last.rank, last.summary.id)
        next_cursor = encode_cursor(*place)
    return contracts.PackagePage(items=[one.summary for one in shown], next_cursor=next_cursor)


async def list_categories(connection: AsyncConnection) -> contracts.CategoryList:
    """The fixed categories with how many visible packages each holds."""
    counts = await store.count_by_category(connection)
    return contracts.CategoryList(
        items=[
            contracts.CategoryCount(id=category, title=title, packages=counts.get(category, 0))
            for category, title in model.CATEGORIES.items()
        ]
    )


def _read_search(text: str | None) -> model.Search | None:
    try:
        return None if text is None else model.read_search(text)
    except ValueError as error:
        fault = FieldError(field="search", detail=str(error))
        raise AgoraError("invalid_input", "the search is too long", errors=[fault]) from error


def _require_category(category: str | None) -> None:
    if category is None or category in get_args(contracts.Category):
        return
    detail = f"must be one of {', '.join(model.CATEGORIES)}"
    raise AgoraError(
        "invalid_input",
        "there is no such category",
        errors=[FieldError(field="category", detail=detail)],
    )


def _require_readable(package: str, version: str | None) -> None:
    # Also keeps what no package could be called (a null character) away from the database.
    if not is_slug(package) or (version is not None and not version.replace(".", "").isalnum()):
        raise _not_found(package, version)


def _plain(position: str) -> str:
    if position and not is_slug(position):
        raise AgoraError("invalid_cursor", "the cursor is not one of ours; take next_cursor, unchanged")
    return position


def _not_found(package: str, version: str | None) -> AgoraError:
    what = f"package {package[:64]!r}" + (f" in version {version[:32]!r}" if version is not None else "")
    return AgoraError("not_found", f"there is no {what}; GET /packages lists what there is")


# --- start ---------------------------------------------------------------------------------------


async def publish_announced(database: Database) -> None:
    """Publish the packages that ship as announced; on a later start this changes nothing.

    One that was published before with other contents keeps them: a corrected manifest needs a new version.
    """
    for package in announced_packages():
        try:
            async with database.transaction(PLATFORM_TENANT) as connection:
                await publish_package(connection, package)
        except AgoraError as error:
            if error.slug != "version_exists":
                raise
            log.error("announced package not published", package=package.manifest.id, reason=str(error))

"""Listings through the running service: published once, found again, moved along their states."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import nats
import pytest
from agora_catalog.app import build
from agora_catalog.settings import CatalogSettings
from agora_contracts.catalog import (
    Author,
    Estimate,
    GetPackage,
    ListCategories,
    ListingStateChanged,
    ListPackages,
    Manifest,
    OfferedPrice,
    PackageDetail,
    PackagePublished,
    PriceVersionPublished,
    PublishPackage,
    Schemas,
    SetListingState,
)
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.pricing import GraduatedModel, Tier
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT, event_subject
from agora_kit.broker import Broker
from agora_kit.database import Database
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

AN_OBJECT: dict[str, Any] = {"type": "object"}


def a_package(id: str = "sorter", version: str = "1.0.0", **changes: Any) -> PublishPackage:
    """A sound package; `changes` replace fields of its manifest."""
    fields: dict[str, Any] = {
        "title": "Sorter",
        "summary": "Sorts what it is given.",
        "category": "operations-automation",
        "prices": [OfferedPrice(basis="task", meter="tasks", unit_price=Decimal("0.50"))],
        "estimate": {"tasks": Estimate(fixed=Decimal(1))},
    }
    return PublishPackage(
        manifest=Manifest(id=id, version=version, **(fields | changes)),
        schemas=Schemas(input=AN_OBJECT, output=AN_OBJECT, config=AN_OBJECT),
        first_party=True,
    )


async def events[Data: msgspec.Struct](nats_url: str, kind: type[Data], count: int) -> list[Envelope[Data]]:
    """The first `count` events of a kind on the stream, once they are there."""
    spec = EVENTS[kind]
    connection = await nats.connect(nats_url)
    try:
        subject = event_subject(PLATFORM_TENANT, spec.path)
        subscription = await connection.jetstream().subscribe(subject, ordered_consumer=True)
        decoder = msgspec.json.Decoder(Envelope[kind])  # type: ignore[valid-type]
        return [decoder.decode((await subscription.next_msg(timeout=10)).data) for _ in range(count)]
    finally:
        await connection.close()


async def count_events(database: Database) -> int:
    """How many events the outbox holds."""
    async with database.system() as connection:
        count: int = (await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one()
        return count


async def test_a_published_package_is_found_again(asker: Broker) -> None:
    """
    What was published is the answer to GetPackage, with and without its version.
    """
    published = await asker.ask(a_package())

    assert published == await asker.ask(GetPackage(package="sorter"))
    assert published == await asker.ask(GetPackage(package="sorter", version="1.0.0"))
    assert (published.summary.executable, published.versions) == (True, ["1.0.0"])


async def test_the_same_contents_again_change_nothing(asker: Broker, database: Database) -> None:
    """
    Publishing the same contents again, with a price written otherwise, is answered alike and not announced.
    """
    first = await asker.ask(a_package())
    price = OfferedPrice(basis="task", meter="tasks", unit_price=Decimal("0.5000"))
    again = await asker.ask(a_package(prices=[price]))

    assert first == again
    assert await count_events(database) == 2


async def test_other_contents_under_the_same_version_conflict(asker: Broker) -> None:
    """
    A published version never changes; the refusal names the fields that differ.
    """
    await asker.ask(a_package())
    with pytest.raises(AgoraError) as refused:
        await asker.ask(a_package(title="Better sorter", state="draft"))

    assert refused.value.slug == "version_exists"
    errors = {error.field: error.detail for error in refused.value.problem.errors}
    assert {"/manifest/title", "/manifest/state"} == errors.keys()
    assert "SetListingState" in errors["/manifest/state"]


async def test_many_publish_the_same_at_once(asker: Broker, database: Database) -> None:
    """
    Of ten who publish the same version at once every one gets the same answer; it is announced once.
    """
    answers = await asyncio.gather(*(asker.ask(a_package()) for _ in range(10)))

    assert all(answers[0] == answer for answer in answers)
    assert await count_events(database) == 2


async def test_one_of_many_rivals_wins(asker: Broker) -> None:
    """
    Of ten who publish different contents under one version at once exactly one succeeds.
    """
    rivals = (asker.ask(a_package(title=f"Sorter {number}")) for number in range(10))
    answers = await asyncio.gather(*rivals, return_exceptions=True)

    won = [answer for answer in answers if isinstance(answer, PackageDetail)]
    lost = [answer.slug for answer in answers if isinstance(answer, AgoraError)]
    assert (len(won), lost) == (1, ["version_exists"] * 9)
    assert won[0] == await asker.ask(GetPackage(package="sorter"))


async def test_versions_published_at_once_leave_the_newest_shown(asker: Broker) -> None:
    """
    Versions of one package that are published at once are all there, and the newest one is shown.
    """
    await asyncio.gather(*(asker.ask(a_package(version=f"1.{minor}.0")) for minor in range(12)))

    shown = await asker.ask(GetPackage(package="sorter"))
    assert shown.summary.version == "1.11.0"
    assert [f"1.{minor}.0" for minor in range(11, -1, -1)] == shown.versions


@pytest.mark.emits.with_args(PackagePublished)
@pytest.mark.emits.with_args(PriceVersionPublished)
async def test_publication_is_announced(asker: Broker, nats_url: str) -> None:
    """
    A publication is told to execution (manifest and schemas) and to billing (prices), under the same price
    version id.
    """
    detail = await asker.ask(a_package())

    (package,) = await events(nats_url, PackagePublished, 1)
    (price,) = await events(nats_url, PriceVersionPublished, 1)
    assert (package.tenant, package.subject) == (PLATFORM_TENANT, "sorter")
    assert detail.manifest == package.data.manifest
    assert detail.summary.price_version == package.data.price_version == price.data.price_version
    assert ("USD", Decimal("0.50")) == (price.data.currency, price.data.prices[0].unit_price)
    assert (None, Decimal(0)) == (price.data.author, price.data.author_share)


async def test_an_authors_share_reaches_billing(asker: Broker, nats_url: str) -> None:
    """
    The price version of a package from elsewhere says who earns which share of its charges.
    """
    authored = a_package(author=Author(id="acme-labs", share=Decimal("0.7")))
    await asker.ask(msgspec.structs.replace(authored, first_party=False))

    (price,) = await events(nats_url, PriceVersionPublished, 1)
    assert ("acme-labs", Decimal("0.7")) == (price.data.author, price.data.author_share)


async def test_a_charge_model_reaches_billing_as_it_was_published(asker: Broker, nats_url: str) -> None:
    """
    Tiers, window, free units and bounds come through the catalogue's database and the event as the author wrote
    them, to the twelfth decimal place.
    """
    tiers = [
        Tier(up_to=Decimal(10), unit_price=Decimal("0.000000000001"), flat=Decimal(2)),
        Tier(unit_price=Decimal("0.5")),
    ]
    price = OfferedPrice(
        basis="task", meter="tasks", model=GraduatedModel(tiers=tiers), window="month",
        free_units=Decimal("0.5"), minimum=Decimal(1), maximum=Decimal(9),
    )  # fmt: skip
    detail = await asker.ask(a_package(prices=[price]))

    (published,) = await events(nats_url, PriceVersionPublished, 1)
    assert [price] == detail.manifest.prices == published.data.prices


@pytest.mark.emits.with_args(ListingStateChanged)
async def test_a_version_moves_along_its_states(asker: Broker, nats_url: str) -> None:
    """
    Deprecated stays visible and executable, retired is gone; every move is announced once, in order.
    """
    await asker.ask(a_package())
    for state in ("deprecated", "deprecated", "published", "deprecated"):
        moved = await asker.ask(SetListingState(package="sorter", version="1.0.0", state=state))
    assert (moved.summary.state, moved.summary.executable) == ("deprecated", True)
    await asker.ask(SetListingState(package="sorter", version="1.0.0", state="retired"))

    with pytest.raises(AgoraError, match="there is no package 'sorter'"):
        await asker.ask(GetPackage(package="sorter"))
    assert (await asker.ask(ListPackages())).items == []
    told = await events(nats_url, ListingStateChanged, 4)
    assert [(event.data.state, event.sequence) for event in told] == [
        ("deprecated", 1),
        ("published", 2),
        ("deprecated", 3),
        ("retired", 4),
    ]


async def test_a_move_that_is_not_allowed_conflicts(asker: Broker) -> None:
    """
    Nothing comes back from retirement; the refusal says where the version can go.
    """
    await asker.ask(a_package())
    await asker.ask(SetListingState(package="sorter", version="1.0.0", state="retired"))
    with pytest.raises(AgoraError, match=r"is retired and cannot become published.*: no other") as refused:
        await asker.ask(SetListingState(package="sorter", version="1.0.0", state="published"))

    assert refused.value.slug == "conflict"


async def test_publishing_again_does_not_undo_a_move(asker: Broker) -> None:
    """
    The same contents published again (a restart does so) leave a retired version retired.
    """
    await asker.ask(a_package())
    await asker.ask(SetListingState(package="sorter", version="1.0.0", state="retired"))
    again = await asker.ask(a_package())

    assert again.summary.state == "retired"


async def test_drafts_are_invisible(asker: Broker) -> None:
    """
    A draft is in no list and cannot be read, by its version neither.
    """
    await asker.ask(a_package(state="draft"))

    assert (await asker.ask(ListPackages())).items == []
    for version in (None, "1.0.0"):
        with pytest.raises(AgoraError) as refused:
            await asker.ask(GetPackage(package="sorter", version=version))
        assert refused.value.slug == "not_found"


async def test_an_announced_version_does_not_hide_a_published_one(asker: Broker) -> None:
    """
    Announced is visible and not executable, and gives way to an older version that can be executed.
    """
    announced = await asker.ask(a_package(version="2.0.0", state="announced"))
    assert (announced.summary.version, announced.summary.executable) == ("2.0.0", False)
    await asker.ask(a_package(version="1.0.0"))

    shown = await asker.ask(GetPackage(package="sorter"))
    assert (shown.summary.version, shown.versions) == ("1.0.0", ["2.0.0", "1.0.0"])


async def test_packages_from_elsewhere_are_listed_but_not_executable(asker: Broker) -> None:
    """
    A package that is not first-party waits for the sandbox.
    """
    foreign = msgspec.structs.replace(a_package(), first_party=False)
    detail = await asker.ask(foreign)

    assert (detail.summary.state, detail.summary.executable) == ("published", False)


async def test_an_unsound_manifest_is_refused_whole(asker: Broker, database: Database) -> None:
    """
    Every field at fault is named at once, and nothing is stored or announced.
    """
    price = OfferedPrice(basis="hour", meter="tasks", unit_price=Decimal(5))
    with pytest.raises(AgoraError) as refused:
        await asker.ask(a_package(title=" ", prices=[price], state="retired"))

    assert refused.value.slug == "invalid_manifest"
    fields = {error.field for error in refused.value.problem.errors}
    assert {"/manifest/title", "/manifest/prices/0/meter", "/manifest/state"} == fields
    assert await count_events(database) == 0
    assert (await asker.ask(ListPackages())).items == []


@pytest.mark.parametrize(
    "query",
    [
        GetPackage(package="nothing"),
        GetPackage(package="a\x00b"),
        GetPackage(package="sorter", version="\x00"),
    ],
)
async def test_what_is_not_there_is_not_found(asker: Broker, query: GetPackage) -> None:
    """
    Unknown and unspeakable ids are answered alike.
    """
    await asker.ask(a_package())
    with pytest.raises(AgoraError) as refused:
        await asker.ask(query)

    assert refused.value.slug == "not_found"


async def test_a_list_is_read_page_by_page(asker: Broker) -> None:
    """
    Pages follow each other without gap or repetition, and the last one has no cursor.
    """
    for number in range(5):
        await asker.ask(a_package(id=f"sorter-{number}"))
    seen, cursor = [], None
    while True:
        page = await asker.ask(ListPackages(limit=2, cursor=cursor))
        seen.append([item.id for item in page.items])
        if (cursor := page.next_cursor) is None:
            break

    assert seen == [["sorter-0", "sorter-1"], ["sorter-2", "sorter-3"], ["sorter-4"]]


async def test_a_search_is_read_page_by_page_best_first(asker: Broker) -> None:
    """
    A match in the title ranks above one in the description; paging keeps the order and loses nothing.
    """
    await asker.ask(a_package(id="a-third", description="It knows some invoices."))
    await asker.ask(a_package(id="b-second", summary="Reads invoices."))
    await asker.ask(a_package(id="c-first", title="Invoices"))
    await asker.ask(a_package(id="d-none"))
    seen, cursor = [], None
    while True:
        page = await asker.ask(ListPackages(search="invoice", limit=1, cursor=cursor))
        seen += [item.id for item in page.items]
        if (cursor := page.next_cursor) is None:
            break

    assert seen == ["c-first", "b-second", "a-third"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("vulnerability", ["security-scanner"]),
        ("kuber", ["deployment-agent"]),
        ("remediati", ["incident-responder"]),
        ('"root cause"', ["incident-responder"]),
        ("reports -dataset", ["audit-agent"]),
        ("charts OR cvss", ["report-generator", "security-scanner"]),
        ("nothing-of-this-kind", []),
        ("'; DROP TABLE packages; --", []),
        ("a & | ! ( :*", []),
    ],
)
async def test_announced_packages_are_searched(database: Database, search: str, found: list[str]) -> None:
    """
    Words match in any inflection, single words also as beginnings, and quotes, OR and - mean what they mean
    on the web; whatever else is typed in is words, never syntax.
    """
    from agora_catalog.listings.service import list_packages, publish_announced

    await publish_announced(database)
    async with database.transaction(PLATFORM_TENANT) as connection:
        page = await list_packages(connection, ListPackages(search=search))

    assert found == sorted(item.id for item in page.items)


async def test_blank_search_lists_everything(asker: Broker) -> None:
    """
    Nothing but spaces is no search; control characters count as spaces.
    """
    await asker.ask(a_package())

    assert len((await asker.ask(ListPackages(search=" \x00 "))).items) == 1


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        (ListPackages(category="gardening"), "invalid_input"),
        (ListPackages(search="x" * 201), "invalid_input"),
        (ListPackages(cursor="bm9uc2Vuc2U"), "invalid_cursor"),
        (ListPackages(cursor="WyJhXHUwMDAwIl0"), "invalid_cursor"),
        (ListPackages(search="x", cursor="WyJzb3J0ZXIiXQ"), "invalid_cursor"),
    ],
)
async def test_bad_queries_are_refused(asker: Broker, query: ListPackages, slug: str) -> None:
    """
    An unknown category, too long a search and a foreign cursor are refused with what to change.
    """
    with pytest.raises(AgoraError) as refused:
        await asker.ask(query)

    assert slug == refused.value.slug


async def test_categories_count_what_is_visible(asker: Broker) -> None:
    """
    The four categories stand in their order with their titles and the number of visible packages.
    """
    await asker.ask(a_package())
    await asker.ask(a_package(id="hidden", state="draft"))
    categories = await asker.ask(ListCategories())

    assert [(item.title, item.packages) for item in categories.items] == [
        ("Customer Support", 0),
        ("Operations Automation", 1),
        ("IT/DevOps", 0),
        ("Compliance/Security", 0),
    ]
    assert len((await asker.ask(ListPackages(category="operations-automation"))).items) == 1
    assert len((await asker.ask(ListPackages(category="it-devops"))).items) == 0


async def test_a_restart_publishes_the_announced_once(settings: CatalogSettings, database: Database) -> None:
    """
    Seven announced packages stand in the catalogue after the first start and after the second.
    """
    for _ in range(2):
        service = build(msgspec.structs.replace(settings, publish_announced=True))
        await service.start()
        await service.stop()

    assert await count_events(database) == 2 * 7
    async with database.transaction("ten_other") as connection:
        shown = (await connection.execute(text("SELECT count(*) FROM packages"))).scalar_one()
    assert shown == 7


async def test_a_tenant_reads_the_catalogue_and_cannot_write_it(asker: Broker, database: Database) -> None:
    """
    Row-level security lets every tenant read and only the platform's own write.
    """
    await asker.ask(a_package())
    async with database.transaction("ten_other") as connection:
        touched = await connection.execute(text("UPDATE package_versions SET state = 'retired'"))
        assert touched.rowcount == 0
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction("ten_other") as connection:
            await connection.execute(text("INSERT INTO packages (tenant_id, id) VALUES ('platform', 'mine')"))

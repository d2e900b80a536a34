"""HTTP of price books: for everybody to read, for the operator to write."""

from datetime import datetime
from typing import Annotated

from agora_contracts.catalog import ListPrices, PriceBook, PublishPrices
from agora_kit.broker import Broker
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.headers import requested_id
from agora_gateway.edge.page_cache import PageCache
from agora_gateway.edge.principals import requires
from agora_gateway.edge.routing import IdempotencyKey, PackageId, answers, body, existing_package
from agora_gateway.packages.price_shapes import A_NEW_PRICES_BODY, A_PRICE_BOOK, NewPricesBody

At = Annotated[
    datetime | None, QueryParameter(description="What a new customer takes then; now if left out.")
]


@get(
    "/packages/{package:str}/prices",
    guards=[requires("read")],
    summary="Read a price book",
    operation_id="getPrices",
    responses=answers(A_PRICE_BOOK, "not_found", "invalid_input"),
)
async def get_prices(broker: NamedDependency[Broker], package: PackageId, at: At = None) -> PriceBook:
    """Every price that the package has had and will have, newest first, and which is in force for new customers."""
    book: PriceBook = await broker.ask(ListPrices(package=existing_package(package), at=at))
    return book


@post(
    "/packages/{package:str}/prices",
    summary="Revise prices",
    operation_id="publishPrices",
    responses=answers(
        A_PRICE_BOOK,
        "not_found",
        "malformed_request",
        "invalid_input",
        "invalid_manifest",
        "idempotency_conflict",
        status=201,
    ),
)
async def publish_prices(
    broker: NamedDependency[Broker],
    pages: NamedDependency[PageCache],
    package: PackageId,
    data: Annotated[NewPricesBody, body(A_NEW_PRICES_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> PriceBook:
    """Revise the prices of a package from a moment on; standing deployments are told, a rise waits for its notice."""
    command = PublishPrices(
        package=existing_package(package),
        price_version=requested_id("price", "operator", idempotency_key),
        prices=data.prices,
        charges=data.charges,
        effective_at=data.effective_at,
        notice_days=data.notice_days,
    )
    book: PriceBook = await broker.ask(command)
    pages.clear()
    return book

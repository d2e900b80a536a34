"""Examples of the catalog's messages."""

from decimal import Decimal

import msgspec

from agora_contracts import catalog
from agora_contracts.examples import story

MANIFEST = catalog.Manifest(
    id=story.PACKAGE,
    version=story.VERSION,
    title="Data Processor",
    summary="Turns a messy table into a clean one with a quality report.",
    category="operations-automation",
    description="Reads CSV, Excel and JSON, repairs encodings, dates and numbers, and says what it changed.",
    state="published",
    tags=["data", "csv", "quality"],
    permissions=catalog.Permissions(files=True, knowledge=True, models=True, network=["api.example.com"]),
    limits=catalog.Limits(timeout_seconds=600, model_cost=Decimal("0.05")),
    prices=[
        catalog.OfferedPrice(basis="job", unit_price=Decimal("0.50"), meter="jobs"),
        catalog.OfferedPrice(basis="month", unit_price=Decimal(99)),
    ],
    charges=catalog.ChargePolicy(partial="share:0.5", empty="nothing", failed="nothing"),
    estimate={
        "jobs": catalog.Estimate(fixed=Decimal(1)),
        "columns": catalog.Estimate(count_of="/date_columns"),
    },
)
SCHEMAS = catalog.Schemas(
    input={
        "type": "object",
        "properties": {
            "file": {"type": "string"},
            "date_columns": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["file"],
    },
    output={
        "type": "object",
        "properties": {"file": {"type": "string"}, "rows": {"type": "integer"}},
        "required": ["file"],
    },
    config={"type": "object", "properties": {"decimal_comma": {"type": "boolean", "default": False}}},
)
SUMMARY = catalog.PackageSummary(
    id=story.PACKAGE,
    version=story.VERSION,
    title=MANIFEST.title,
    summary=MANIFEST.summary,
    category=MANIFEST.category,
    state="published",
    executable=True,
    tags=MANIFEST.tags,
    prices=MANIFEST.prices,
    price_version=story.PRICE_VERSION,
    published_at=story.ACCEPTED_AT,
)
DETAIL = catalog.PackageDetail(
    summary=SUMMARY, manifest=MANIFEST, schemas=SCHEMAS, versions=["1.2.0", "1.1.0"], first_party=True
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    catalog.PackagePublished(
        package=story.PACKAGE,
        version=story.VERSION,
        manifest=MANIFEST,
        schemas=SCHEMAS,
        price_version=story.PRICE_VERSION,
        first_party=True,
    ),
    catalog.ListingStateChanged(package=story.PACKAGE, version="1.1.0", state="deprecated"),
    catalog.PriceVersionPublished(
        price_version=story.PRICE_VERSION,
        package=story.PACKAGE,
        version=story.VERSION,
        currency="USD",
        prices=MANIFEST.prices,
        charges=MANIFEST.charges,
        model_cost_limit=MANIFEST.limits.model_cost,
    ),
    catalog.PublishPackage(manifest=MANIFEST, schemas=SCHEMAS, first_party=True),
    catalog.SetListingState(package=story.PACKAGE, version="1.1.0", state="deprecated"),
    catalog.ListPackages(category="operations-automation", search="clean csv", cursor=story.CURSOR, limit=20),
    catalog.GetPackage(package=story.PACKAGE, version=story.VERSION),
    catalog.ListCategories(),
    DETAIL,
    catalog.PackagePage(items=[SUMMARY], next_cursor=story.CURSOR),
    catalog.CategoryList(
        items=[
            catalog.CategoryCount(id="customer-support", title="Customer Support", packages=2),
            catalog.CategoryCount(id="operations-automation", title="Operations & Automation", packages=3),
        ]
    ),
)

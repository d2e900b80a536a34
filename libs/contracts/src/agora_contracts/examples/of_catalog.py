"""Examples of the catalog's messages."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agora_contracts import catalog, prices, pricing
from agora_contracts.examples import story
from agora_contracts.ids import derived

MANIFEST = catalog.Manifest(
    id=story.PACKAGE,
    version=story.VERSION,
    title="Data Processor",
    summary="Turns a messy table into a clean one with a quality report.",
    category="operations-automation",
    description="Reads CSV, Excel and JSON, repairs encodings, dates and numbers, and says what it changed.",
    state="published",
    tags=["data", "csv", "quality"],
    permissions=catalog.Permissions(
        files=True, knowledge=True, models=True, memory=True, network=["api.example.com"]
    ),
    limits=catalog.Limits(
        timeout_seconds=600,
        model_cost=Decimal("0.05"),
        calls_cost_max=Decimal("0.50"),
        package_class="heavy",
        calls_cost_of="/budget",
    ),
    prices=[
        catalog.OfferedPrice(basis="job", unit_price=Decimal("0.50"), meter="jobs"),
        catalog.OfferedPrice(basis="month", unit_price=Decimal(99)),
        catalog.OfferedPrice(
            basis="gb",
            meter="gigabytes",
            model=pricing.GraduatedModel(
                tiers=[
                    pricing.Tier(up_to=Decimal(100), unit_price=Decimal("0.05")),
                    pricing.Tier(unit_price=Decimal("0.03"), flat=Decimal(1)),
                ]
            ),
            window="month",
            free_units=Decimal(10),
            minimum=Decimal("0.10"),
            maximum=Decimal(250),
        ),
    ],
    charges=catalog.ChargePolicy(partial="share:0.5", empty="nothing", failed="nothing"),
    estimate={
        "jobs": catalog.Estimate(fixed=Decimal(1)),
        "columns": catalog.Estimate(count_of="/date_columns", events=1),
        "gigabytes": catalog.Estimate(size_of="/file"),
    },
)
OWN_KEY_FEE = catalog.OwnKeyFee(rate=Decimal("0.05"), per_call=Decimal("0.001"))
AUTHORED = msgspec.structs.replace(
    MANIFEST,
    author=catalog.Author(id="acme-labs", share=Decimal("0.7")),
    own_key_fee=OWN_KEY_FEE,
    conversation=catalog.ConversationFields(input="query", output="answer"),
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
OTHER_MODELS: tuple[pricing.ChargeModel, ...] = (
    pricing.StandardModel(unit_price=Decimal("0.000000000001")),
    pricing.PackageModel(size=Decimal(100), price=Decimal(2)),
    pricing.VolumeModel(
        tiers=[
            pricing.Tier(up_to=Decimal(1000), unit_price=Decimal("0.10")),
            pricing.Tier(unit_price=Decimal("0.08")),
        ]
    ),
    pricing.PercentageModel(
        rate=Decimal("0.029"),
        fixed=Decimal("0.30"),
        free_transactions=3,
        free_amount=Decimal(500),
        transaction_minimum=Decimal("0.50"),
        transaction_maximum=Decimal(25),
    ),
    pricing.GraduatedPercentageModel(
        tiers=[
            pricing.PercentageTier(up_to=Decimal(1000), rate=Decimal("0.02"), flat=Decimal(5)),
            pricing.PercentageTier(rate=Decimal("0.01")),
        ]
    ),
    pricing.FlatModel(amount=Decimal(20)),
    pricing.DynamicModel(),
)
EVERY_MODEL = msgspec.structs.replace(
    MANIFEST,
    version="1.3.0",
    prices=[
        catalog.OfferedPrice(basis="job", meter=f"meter{number}", model=model)
        for number, model in enumerate(OTHER_MODELS)
    ],
    estimate={f"meter{number}": catalog.Estimate(fixed=Decimal(1)) for number in range(len(OTHER_MODELS))},
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

NEW_PRICES = derived("price", story.PACKAGE, "revised")
NEXT_MONTH = datetime(2026, 5, 1, tzinfo=UTC)

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
        author="acme-labs",
        author_share=Decimal("0.7"),
    ),
    catalog.PriceVersionPublished(
        price_version=NEW_PRICES,
        package=story.PACKAGE,
        version=story.VERSION,
        currency="USD",
        prices=MANIFEST.prices,
        charges=MANIFEST.charges,
        model_cost_limit=MANIFEST.limits.model_cost,
        number=4,
        revises=True,
        effective_at=NEXT_MONTH,
        notice_days=45,
        own_key_fee=OWN_KEY_FEE,
    ),
    prices.PriceChangeScheduled(
        deployment=story.DEPLOYMENT,
        account=story.ACCOUNT,
        package=story.PACKAGE,
        before=story.PRICE_VERSION,
        to=NEW_PRICES,
        at=NEXT_MONTH,
        rise=True,
        published_at=story.ACCEPTED_AT,
    ),
    catalog.PublishPrices(
        package=story.PACKAGE,
        price_version=NEW_PRICES,
        prices=MANIFEST.prices,
        charges=MANIFEST.charges,
        effective_at=NEXT_MONTH,
        notice_days=45,
    ),
    catalog.ListPrices(package=story.PACKAGE, at=story.ACCEPTED_AT),
    catalog.PriceBook(
        package=story.PACKAGE,
        items=[
            catalog.PriceEntry(
                price_version=story.PRICE_VERSION,
                number=3,
                version=story.VERSION,
                prices=MANIFEST.prices,
                charges=MANIFEST.charges,
                published_at=story.ACCEPTED_AT,
                effective_at=story.ACCEPTED_AT,
                notice_days=30,
            )
        ],
        in_force=story.PRICE_VERSION,
    ),
    catalog.PublishPackage(manifest=MANIFEST, schemas=SCHEMAS, first_party=True),
    catalog.PublishPackage(manifest=AUTHORED, schemas=SCHEMAS),
    catalog.PublishPackage(manifest=EVERY_MODEL, schemas=SCHEMAS, first_party=True),
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

"""The OpenAPI document's frame; the routes describe themselves."""

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Contact, SecurityScheme, Server, Tag

_INTRODUCTION = """\
Hire agents, run them, watch them work, get a correct charge.

* **Keys.** Send an API key as `Authorization: Bearer ak_…` or `X-API-Key: ak_…`. The operator's routes take
  the operator's token as a bearer.
* **Retries.** Send an `Idempotency-Key` with what starts something; a repeated request gets the same thing.
* **Money** is `{"amount": "0.500000", "currency": "USD"}`; quantities and unit prices are decimal strings.
* **Times** are RFC 3339 in UTC. **Lists** are `{items, next_cursor}`.
* **Errors** are problem documents (RFC 9457): `type` is stable, `detail` says what to change, `errors` where.
"""


def openapi_config() -> OpenAPIConfig:
    """What Litestar needs to know to describe the routes."""
    return OpenAPIConfig(
        title="Agora API",
        version="1.0.0",
        description=_INTRODUCTION,
        contact=Contact(name="The operator of this platform"),
        # Litestar's own pages lie behind the gate; the public ones are those of docs/routes.py.
        path="/docs/schema",
        servers=[Server(url="/", description="This platform")],
        render_plugins=[JsonRenderPlugin()],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key, `ak_…`."),
                "key": SecurityScheme(
                    type="apiKey", name="X-API-Key", security_scheme_in="header", description="An API key."
                ),
                "operator": SecurityScheme(
                    type="http", scheme="bearer", description="The operator's token, AGORA_OPERATOR_TOKEN."
                ),
            }
        ),
        tags=[
            Tag(name="Marketplace", description="What there is to hire, what it costs, and one-shot runs."),
            Tag(name="Deployments", description="Rentals with a config and a pinned price."),
            Tag(name="Runs", description="Following, cancelling and accounting for runs."),
            Tag(name="Conversations", description="Messages, each answered by a run."),
            Tag(name="Memory", description="What agents keep from one run to the next."),
            Tag(name="Schedules", description="Runs that start by themselves."),
            Tag(name="Files", description="Files in and out."),
            Tag(name="Usage", description="What was metered."),
            Tag(name="Account", description="Balance and statement."),
            Tag(
                name="Budgets", description="What may be spent, by account, rental, package, API key or run."
            ),
            Tag(name="Models", description="Language models, keys of their vendors, and calls of runs."),
            Tag(name="API keys", description="The tenant's own keys."),
            Tag(name="Operator", description="Tenants, credit, packages, and the platform itself."),
            Tag(name="Health", description="For probes; no key needed."),
        ],
        use_handler_docstrings=True,
    )

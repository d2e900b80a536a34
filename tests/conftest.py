"""One platform for integration and fault tests, with the installed agents on offer."""

import sys

import pytest
from agora_local.blocking import run_in_thread
from agora_local.first_party import publish_installed
from agora_local.platform import Platform

from tests.support.tenancy import new_customer, operator, until_executable, until_offered


@pytest.fixture(scope="session")
def market(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The platform with the installed agents published, as `./dev up` publishes them."""
    stamps = tmp_path_factory.mktemp("published")
    publish_installed(
        stamps, platform.api_url, platform.operator_token, lambda line: print(line, file=sys.stderr)
    )
    run_in_thread(_known(platform))
    return platform


async def _known(platform: Platform) -> None:
    async with operator(platform) as staff:
        customer = await new_customer(staff, platform.api_url)
    async with customer.client() as client:
        await until_executable(client, "echo", {"text": "ready?"})
        for package in ("knowledge-base", "data-processor", "ticket-resolver", "swarm", "swarm-worker"):
            await until_offered(client, package)

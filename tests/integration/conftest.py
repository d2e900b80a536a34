"""A fresh tenant of the running platform for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable

import agora
import httpx
import pytest
from agora_local.blocking import run_in_thread
from agora_local.platform import Platform

from tests.support.tenancy import Customer, new_customer, operator

type NewCustomer = Callable[..., Awaitable[Customer]]


@pytest.fixture
def newcomer(market: Platform) -> Customer:
    """A tenant with plenty of credit, for tests that run commands."""
    return run_in_thread(_newcomer(market))


@pytest.fixture(scope="module")
def watched(market: Platform) -> Customer:
    """A tenant that nothing of the whole module may change."""
    return run_in_thread(_newcomer(market))


async def _newcomer(market: Platform) -> Customer:
    async with operator(market) as client:
        return await new_customer(client, market.api_url)


@pytest.fixture
async def staff(market: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The operator."""
    async with operator(market) as client:
        yield client


@pytest.fixture
async def hire_customer(market: Platform, staff: httpx.AsyncClient) -> NewCustomer:
    """`await hire_customer(credit="0.20")` makes a tenant with credit and a key."""

    async def make(**properties: str) -> Customer:
        return await new_customer(staff, market.api_url, **properties)

    return make


@pytest.fixture
async def customer(hire_customer: NewCustomer) -> Customer:
    """A tenant with plenty of credit."""
    return await hire_customer()


@pytest.fixture
async def http(customer: Customer) -> AsyncIterator[httpx.AsyncClient]:
    """The customer's HTTP client, under /api/v1."""
    async with customer.client() as client:
        yield client


@pytest.fixture
async def stranger(hire_customer: NewCustomer) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP client of another tenant."""
    async with (await hire_customer()).client() as client:
        yield client


@pytest.fixture
async def client(customer: Customer) -> AsyncIterator[agora.Client]:
    """The customer's typed client."""
    async with agora.Client(customer.api_url, customer.key) as typed:
        yield typed

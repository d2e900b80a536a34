"""What execution knows of the catalogue, whatever the order in which its events arrive."""

import pytest
from agora import Agent
from agora_contracts.catalog import ListingStateChanged
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.subjects import PLATFORM_TENANT
from agora_execution.packages.service import Packages

from .asking import published
from .driving import Platform


def moved(state: str, sequence: int) -> Envelope[ListingStateChanged]:
    """The catalogue's event that the probe's version moved to a state."""
    fact = ListingStateChanged(package="probe", version="1.0.0", state=state)  # type: ignore[arg-type]
    return Envelope(
        id=f"evt_{sequence}", source="agora/catalog", type="agora.listing.state_changed.v1", subject="probe",
        time=utc_now(), tenant=PLATFORM_TENANT, data=fact, sequence=sequence,
    )  # fmt: skip


async def test_a_state_that_was_left_does_not_come_back(probe: Agent, service_alone: Platform) -> None:
    """
    Moves that arrive late, behind newer ones, change nothing.
    """
    await service_alone.list_package("probe", version="1.0.0")
    packages = Packages(service_alone.database)
    async with service_alone.database.system() as connection:
        await packages.take_up(
            connection, [moved("retired", 3), moved("deprecated", 1), moved("published", 2)]
        )

    [row] = await service_alone.rows("SELECT state, state_revision FROM packages")
    assert ("retired", 3) == (row.state, row.state_revision)


async def test_a_move_ahead_of_its_version_waits_for_it(probe: Agent, service_alone: Platform) -> None:
    """
    A version's move that arrives before the version is not lost: it is refused for now, and comes again.
    """
    early = ListingStateChanged(package="probe", version="1.0.0", state="retired")
    with pytest.raises(LookupError, match="not known yet"):
        async with service_alone.database.system() as connection:
            await Packages(service_alone.database).take_up(connection, [moved("retired", 1)])
    await service_alone.publish(PLATFORM_TENANT, early)
    await service_alone.publish(PLATFORM_TENANT, published(probe, version="1.0.0"))

    retired = "SELECT 1 FROM packages WHERE state = 'retired'"
    assert await service_alone.until(lambda: service_alone.rows(retired))

"""Whether each account's postings are what their chain of hashes has sealed. Reads only."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit.model import Fault
from agora_billing.audit.store import FAULTS_MAX
from agora_billing.seals import store
from agora_billing.seals.model import first_hash, next_hash
from agora_billing.seals.store import Chain, Link

RULE = "a posting is what its hash has sealed"

_ACCOUNTS_AT_ONCE = 100
_PLACES_AT_ONCE = 500


@dataclass(slots=True, kw_only=True)
class Chains:
    """What was found of all chains. `first` is the first fault by account and number."""

    sealed: int = 0
    unsealed: int = 0
    faults: list[Fault] = field(default_factory=list)


async def check_chains(
    connection: AsyncConnection, account: str | None, seen: Callable[[int], None]
) -> Chains:
    """Recompute every hash in the order of the chains; each chain is followed to its first fault.

    Args:
        seen: told of each batch, how many places it had.
    """
    found = Chains()
    after = ""
    while chains := await store.chains(connection, account, after, _ACCOUNTS_AT_ONCE):
        await _check(connection, chains, found, seen)
        after = chains[-1].account
    return found


async def _check(
    connection: AsyncConnection, chains: list[Chain], found: Chains, seen: Callable[[int], None]
) -> None:
    walks = {chain.account: _Walk(chain) for chain in chains}
    last = max(chain.last for chain in chains)
    for after in range(0, last, _PLACES_AT_ONCE):
        longer = [chain.account for chain in chains if chain.last > after]
        links = await store.links(connection, longer, after, after + _PLACES_AT_ONCE)
        for link in links:
            walks[link.account].step(link)
        seen(len(links))
    for walk in walks.values():
        walk.end()
        found.sealed += walk.sealed
        found.unsealed += walk.unsealed
        if walk.fault is not None and len(found.faults) < FAULTS_MAX:
            found.faults.append(walk.fault)


class _Walk:
    """One chain, followed from its beginning to its first fault."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._hash = first_hash(chain.account)
        self._number = 0
        self.sealed = 0
        self.unsealed = 0
        self.fault: Fault | None = None

    def step(self, link: Link) -> None:
        """Take the next place that has a posting or a seal."""
        if self.fault is not None:
            return
        expected = self._number + 1
        self._number = link.number
        if link.number != expected:
            self._broken(f"number {expected}", expected, link.number, "is neither booked nor sealed")
        elif link.posting is None:
            self._broken(str(link.sealed_posting), link.number, 0, "is sealed, and no longer booked here")
        elif link.hash is None:
            self._unsealed(link)
        elif self.unsealed:
            self._broken(link.posting.id, link.number, 0, "is sealed, though one before it is not")
        else:
            self._hash = next_hash(self._hash, link.posting)
            self.sealed += 1
            if (link.hash, link.sealed_posting) != (self._hash, link.posting.id):
                self.sealed -= 1
                self._broken(link.posting.id, link.number, link.number, "is not what was sealed")

    def _unsealed(self, link: Link) -> None:
        head = self._chain.head
        if head is not None and link.number <= head.number and link.posting is not None:
            self._broken(link.posting.id, link.number, 0, "was sealed, and its seal is gone")
            return
        self.unsealed += 1

    def end(self) -> None:
        """Compare with how far the account says that it is sealed."""
        head = self._chain.head
        if self.fault is None and head is not None and (head.number, head.hash) != (self.sealed, self._hash):
            self._broken(f"head of {self._chain.account}", self.sealed, head.number, "is not the last seal")

    def _broken(self, subject: str, expected: int, found: int, why: str) -> None:
        self.fault = Fault(
            rule=RULE,
            subject=subject,
            expected=expected,
            found=found,
            detail=f"{subject} (account {self._chain.account}, number {expected}) {why}",
        )

"""What a tenant's runs may call: whose keys there are, and what models cost. Kept for seconds, then looked up again."""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agora.errors import ModelUnavailable
from agora.messages import Capability
from agora.models.pricing import ModelPrice, PriceBook
from agora.models.vendors import VENDORS, candidates, is_configured, vendor_of
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database, is_transient

from agora_execution.model_prices.service import ModelPrices
from agora_execution.provider_keys.sealing import KeyRing
from agora_execution.provider_keys.service import ProviderKeys

KEPT_SECONDS = 5.0
"""How long a deleted key, or an old price, may still be used."""
STALE_SECONDS_MAX = 300.0
"""So old may be what was looked up while the database is away: a key that was deleted must not work for ever."""
_TENANTS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Access:
    """Keys and addresses by the names of environment variables, the vendors called with the tenant's own key, prices."""

    tenant: str
    environment: Mapping[str, str]
    own: frozenset[str]
    prices: PriceBook

    def offers(self, capability: Capability) -> bool:
        """Whether there is a model for a capability."""
        try:
            return bool(candidates(capability, self.environment))
        except ModelUnavailable:
            return False

    def is_own(self, model: str) -> bool:
        """Whether calls of this model go out under the tenant's own key."""
        return vendor_of(model).name in self.own

    def price_of(self, model: str, at: datetime) -> ModelPrice:
        """What the model costs at a moment.

        Raises:
            UnknownModelPrice: that is not known.
        """
        return self.prices.price_of(model, at)

    def circuit(self, model: str) -> str:
        """The name of the circuit breaker: a tenant's wrong key must not keep others from a model."""
        return f"{model} of {self.tenant}" if self.is_own(model) else model


class Accesses:
    """Looks up what tenants' runs may call.

    Args:
        environment: Keys, addresses and overrides by name; the process's own by default.
        ring: opens the keys that are stored.
        kept_seconds: how long what was looked up is used.
        stale_seconds: how long it is used while the database is away.
    """

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        environment: Mapping[str, str] | None = None,
        *,
        kept_seconds: float = KEPT_SECONDS,
        stale_seconds: float = STALE_SECONDS_MAX,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._keys = ProviderKeys(database, ring)
        self._prices = ModelPrices(database)
        self._kept_seconds = kept_seconds
        self._stale_seconds = stale_seconds
        self._kept: OrderedDict[str, tuple[float, Access]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Access]] = {}
        self._configured = any(is_configured(vendor, self._environment) for vendor in VENDORS.values())

    @property
    def platform_configured(self) -> bool:
        """Whether the platform itself has a key of any vendor, as far as it was looked up."""
        return self._configured

    async def of(self, tenant: str) -> Access:
        """What a tenant's runs may call.

        Raises:
            Exception: what the driver raises while the database is away, and nothing recent is known.
        """
        kept = self._kept.get(tenant)
        if kept is not None and time.monotonic() - kept[0] < self._kept_seconds:
            return kept[1]
        looking = self._looking.get(tenant)
        if looking is None:
            # Once for all who ask at the same moment; and not by one of them, who may be cancelled.
            looking = asyncio.create_task(self._look_up(tenant))
            self._looking[tenant] = looking
            looking.add_done_callback(lambda _: self._looking.pop(tenant, None))
        try:
            return await asyncio.shield(looking)
        except Exception as error:
            if kept is None or not is_transient(error):
                raise
            if time.monotonic() - kept[0] >= self._stale_seconds:
                raise
            # The database is away: what was known a moment ago is better than none.
            return kept[1]

    async def _look_up(self, tenant: str) -> Access:
        access = await self._looked_up(tenant)
        self._kept[tenant] = (time.monotonic(), access)
        self._kept.move_to_end(tenant)
        while len(self._kept) > _TENANTS_MAX:
            self._kept.popitem(last=False)
        return access

    async def refresh(self) -> None:
        """Look up the platform's own keys: whether there are any decides what new runs set aside."""
        await self._looked_up(PLATFORM_TENANT)

    async def _looked_up(self, tenant: str) -> Access:
        platform, own = await self._keys.secrets(tenant)
        environment = dict(self._environment)
        for vendor, secret in platform.items():
            environment[VENDORS[vendor].key_name] = secret
        self._configured = any(is_configured(vendor, environment) for vendor in VENDORS.values())
        for vendor, secret in own.items():
            environment[VENDORS[vendor].key_name] = secret
        return Access(tenant, environment, frozenset(own), await self._prices.book())

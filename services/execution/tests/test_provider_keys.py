"""Vendors' keys: encrypted, bound to their tenant, rotated, used, and never shown again."""

import base64
from typing import Any

import pytest
from agora import ModelUnavailable
from agora_contracts.models import (
    DeleteProviderKey,
    ListModels,
    ListProviderKeys,
    RotateProviderKeys,
    StoreProviderKey,
)
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_execution.models.queries import ModelQueries
from agora_execution.models.service import ModelCalls
from agora_execution.provider_keys.sealing import CannotUnseal, KeyRing, KeySettingError
from agora_execution.provider_keys.service import ProviderKeys
from agora_kit.database import Database

from tests.support.llm_wire import Asked, Reply, Wire

from .asking import OTHER_TENANT, TENANT
from .calling import SPENT, Step, a_run, chat, execute, money, rows

SECRET = "sk-a-secret-of-this-tenant-1234"


def setting(*names: str) -> str:
    """A setting with these key-encryption keys, the current one first."""
    return ",".join(f"{name}:{base64.b64encode(name.encode().ljust(32)).decode()}" for name in names)


def store(secret: str = SECRET, **other: Any) -> StoreProviderKey:
    """A command to keep a key."""
    values: dict[str, Any] = {"tenant": TENANT, "vendor": "openai", "secret": secret}
    return StoreProviderKey(**(values | other))


@pytest.fixture
def keys(database: Database) -> ProviderKeys:
    """Keys under one key-encryption key."""
    return ProviderKeys(database, KeyRing.read(setting("k1")))


def test_what_is_sealed_opens_only_where_it_belongs() -> None:
    """
    A sealed key cannot be opened for another tenant or vendor, once changed, or without its key-encryption key.
    """
    ring = KeyRing.read(setting("k1"))
    sealed = ring.seal(SECRET, tenant="a", vendor="openai")

    assert SECRET == ring.open(sealed, tenant="a", vendor="openai")
    assert SECRET.encode() not in sealed.ciphertext
    for place in ({"tenant": "b", "vendor": "openai"}, {"tenant": "a", "vendor": "groq"}):
        with pytest.raises(CannotUnseal):
            ring.open(sealed, **place)
    with pytest.raises(CannotUnseal, match="k1"):
        KeyRing.read(setting("k2")).open(sealed, tenant="a", vendor="openai")


@pytest.mark.parametrize(
    "wrong", ["k1", "k1:short", "k1:%%%", ":" + "A" * 43 + "=", f"{setting('k1')},{setting('k1')}"]
)
def test_a_setting_that_cannot_be_read_says_what_it_must_be(wrong: str) -> None:
    """
    A key-encryption key that is no 32 bytes, has no name, or comes twice stops the start, without being shown.
    """
    with pytest.raises(KeySettingError, match="name:base64"):
        KeyRing.read(wrong)


async def test_a_key_is_shown_by_its_last_characters_alone(keys: ProviderKeys, database: Database) -> None:
    """
    Stored, listed, replaced and deleted, a key tells its last four characters; the database does not hold it.
    """
    shown = await keys.store(store(stored_by="key_one"))
    assert ("1234", True, "key_one") == (shown.last_characters, shown.usable, shown.stored_by)
    await keys.store(store("sk-another-secret-of-it-5678"))
    listed = await keys.list_all(ListProviderKeys(tenant=TENANT))
    assert ["5678"] == [one.last_characters for one in listed.items]
    assert SECRET not in repr(store()) and SECRET not in repr(listed)
    [row] = await rows(database, "SELECT provider_keys::text AS all FROM provider_keys")
    assert "secret" not in row.all

    assert [] == (await keys.list_all(ListProviderKeys(tenant=OTHER_TENANT))).items
    with pytest.raises(AgoraError, match="no key"):
        await keys.delete(DeleteProviderKey(tenant=OTHER_TENANT, vendor="openai"))
    await keys.delete(DeleteProviderKey(tenant=TENANT, vendor="openai"))
    assert [] == (await keys.list_all(ListProviderKeys(tenant=TENANT))).items


async def test_a_short_key_shows_nothing_of_itself(keys: ProviderKeys) -> None:
    """
    Four characters of a key that has hardly more would be too many.
    """
    assert "" == (await keys.store(store("12345678"))).last_characters


async def test_without_a_key_encryption_key_nothing_is_stored(database: Database) -> None:
    """
    A platform that cannot encrypt keeps no keys, and says what its operator must set.
    """
    with pytest.raises(AgoraError, match="AGORA_KEY_ENCRYPTION_KEYS") as refused:
        await ProviderKeys(database, KeyRing({})).store(store())

    assert "keys_not_storable" == refused.value.slug


async def test_a_rotation_encrypts_everything_anew(keys: ProviderKeys, database: Database) -> None:
    """
    Old and new are both opened until everything is under the new key-encryption key; then the old may go.
    """
    for number in range(250):
        await keys.store(store(tenant=f"ten_{number:03}"))
    both = ProviderKeys(database, KeyRing.read(setting("k2", "k1")))
    await both.store(store(tenant="ten_new"))
    assert {"openai": SECRET} == (await both.secrets("ten_007"))[1]

    done = await both.rotate(RotateProviderKeys())
    assert ("k2", 250, 0) == (done.current, done.rotated, done.left_behind)
    assert 0 == (await both.rotate(RotateProviderKeys())).rotated
    alone = ProviderKeys(database, KeyRing.read(setting("k2")))
    assert {"openai": SECRET} == (await alone.secrets("ten_249"))[1]


async def test_what_cannot_be_opened_is_left_and_told(keys: ProviderKeys, database: Database) -> None:
    """
    A key whose key-encryption key is gone stays as it is, is shown as unusable, and does not stop a rotation.
    """
    await keys.store(store())
    lost = ProviderKeys(database, KeyRing.read(setting("k9")))
    await lost.store(store(tenant=OTHER_TENANT))

    assert 1 == (await lost.rotate(RotateProviderKeys())).left_behind
    assert [False] == [one.usable for one in (await lost.list_all(ListProviderKeys(tenant=TENANT))).items]
    assert {} == (await lost.secrets(TENANT))[1]
    assert {"openai": SECRET} == (await keys.secrets(TENANT))[1]


async def test_a_tenants_own_key_is_used_for_its_calls_alone(
    keys: ProviderKeys, wire: Wire, database: Database
) -> None:
    """
    Calls of the tenant go out under its own key, reserve nothing of the hold and are marked; others use the platform's.
    """
    await keys.store(store())
    calls = ModelCalls(database, wire.environment("openai"), ring=KeyRing.read(setting("k1")))
    run = await a_run(database, 0)
    reply = await chat(calls, run)
    other = await a_run(database, 10_000, tenant=OTHER_TENANT)
    theirs = await chat(calls, Step(other, tenant=OTHER_TENANT))

    assert [SECRET, "key-of-openai"] == [one.key for one in wire.asked]
    assert (True, SPENT, False) == (reply.own_key, reply.cost.amount, theirs.own_key)
    assert (0, 0) == await money(database, run)
    [row] = await rows(database, "SELECT own_key, spent, cost FROM model_calls WHERE run_id = :run", run=run)
    assert (True, 0, SPENT) == tuple(row)


async def test_a_tenants_wrong_key_harms_nobody_else(
    keys: ProviderKeys, wire: Wire, database: Database
) -> None:
    """
    However often a wrong key is refused, the platform's own calls of the same model go on.
    """

    def answer(asked: Asked) -> Reply:
        return Reply(status=401) if asked.key == SECRET else Reply()

    wire.answer = answer
    await keys.store(store())
    calls = ModelCalls(database, wire.environment("openai"), ring=KeyRing.read(setting("k1")))
    run = await a_run(database, 10_000)
    for _ in range(8):
        with pytest.raises(ModelUnavailable):
            await chat(calls, run)
    other = await a_run(database, 10_000, tenant=OTHER_TENANT)
    assert "Hello to you" == (await chat(calls, Step(other, tenant=OTHER_TENANT))).text


async def test_a_stored_key_of_the_platform_switches_a_vendor_on(
    keys: ProviderKeys, wire: Wire, database: Database
) -> None:
    """
    The operator's stored key serves every tenant, new runs set money aside for it, and models are listed.
    """
    environment = {"GROQ_BASE_URL": wire.environment("groq")["GROQ_BASE_URL"]}
    calls = ModelCalls(database, environment, ring=KeyRing.read(setting("k1")))
    assert not calls.configured
    await keys.store(store("gsk-the-key-of-the-platform", tenant=PLATFORM_TENANT, vendor="groq"))
    await calls.refresh()

    assert calls.configured
    reply = await chat(calls, await a_run(database, 10_000))
    assert ("gsk-the-key-of-the-platform", False) == (wire.asked[0].key, reply.own_key)
    offers = await ModelQueries(database, calls).offers(ListModels(tenant=TENANT))
    assert [("groq:llama-3.1-8b-instant", ["fast"], "platform")] == [
        (one.model, one.capabilities, one.key) for one in offers.items if "fast" in one.capabilities
    ]


async def test_a_row_that_was_moved_to_another_tenant_opens_nothing(
    keys: ProviderKeys, database: Database
) -> None:
    """
    Who can write to the database, but has no key-encryption key, cannot lend one tenant's key to another.
    """
    await keys.store(store())
    await execute(database, "UPDATE provider_keys SET tenant_id = :other", other=OTHER_TENANT)

    assert {} == (await keys.secrets(OTHER_TENANT))[1]

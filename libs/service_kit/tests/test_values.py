"""Settings and cursors."""

import base64

import msgspec
import pytest
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.settings import ServiceSettings, SettingsError, load_settings
from hypothesis import given
from hypothesis import strategies as st

ENVIRONMENT = {
    "AGORA_DATABASE_URL": "postgresql+asyncpg://a:b@c/d",
    "AGORA_DATABASE_SYSTEM_URL": "postgresql+asyncpg://e:f@c/d",
    "AGORA_NATS_URL": "nats://a:b@c:4222",
}


class MoreSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of a service that has its own."""

    limits: bool = True
    lapse_seconds: float = 120.0


def test_settings_come_from_the_environment():
    """
    Each field is read from its variable as its type; what is not set keeps its default.
    """
    more = {"AGORA_LIMITS": "false", "AGORA_LAPSE_SECONDS": "1.5", "AGORA_HEALTH_PORT": "8080", "OTHER": "x"}

    settings = load_settings(MoreSettings, ENVIRONMENT | more)

    assert (False, 1.5, 8080, 8) == (
        settings.limits,
        settings.lapse_seconds,
        settings.health_port,
        settings.database_pool_size,
    )
    assert "nats://a:b@c:4222" == settings.nats_url


def test_an_empty_variable_is_not_set():
    """
    `AGORA_HEALTH_PORT=` means the default, as in a shell script or a compose file.
    """
    assert load_settings(ServiceSettings, ENVIRONMENT | {"AGORA_HEALTH_PORT": ""}).health_port is None


@pytest.mark.parametrize(
    ("change", "said"),
    [({"AGORA_NATS_URL": ""}, "nats_url"), ({"AGORA_HEALTH_PORT": "http"}, "health_port")],
)
def test_a_setting_that_does_not_fit_is_named(change: dict[str, str], said: str):
    """
    The error names the field and how its variable is called, and shows no other setting.
    """
    with pytest.raises(SettingsError, match=said) as refused:
        load_settings(ServiceSettings, ENVIRONMENT | change)

    assert "AGORA_<FIELD>" in str(refused.value)
    assert "a:b" not in str(refused.value)


@given(st.text().filter(lambda text: "\0" not in text), st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_survives_the_way_to_the_customer(word: str, number: int):
    """
    Whatever position a page ends at comes back unchanged, in letters that need no escaping in a URL.
    """
    cursor = encode_cursor(word, number)

    assert (word, number) == decode_cursor(cursor, tuple[str, int])
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=30))
def test_any_other_text_is_no_cursor(text: str):
    """
    What was not made by us is refused as such, whatever it is, and never fails otherwise.
    """
    try:
        decode_cursor(text, tuple[str, int])
    except AgoraError as error:
        assert "invalid_cursor" == error.slug


@pytest.mark.parametrize("position", [[2**63], [-(2**63) - 1], ["a\0"], [None], [[1]], {"a": 1}, 5])
def test_a_position_that_no_column_can_hold_is_no_cursor(position: object):
    """
    A forged position is refused here and not by the database.
    """
    forged = base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")

    for kind in (tuple[int], tuple[str]):
        with pytest.raises(AgoraError) as refused:
            decode_cursor(forged, kind)
        assert "invalid_cursor" == refused.value.slug

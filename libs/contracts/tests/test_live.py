"""Live messages are told apart when they are read."""

import msgspec
import pytest
from agora_contracts.catalogue import LIVE_MESSAGES
from agora_contracts.examples import EXAMPLES
from agora_contracts.live import decode_live


@pytest.mark.parametrize("kind", LIVE_MESSAGES, ids=lambda kind: kind.__name__)
def test_every_kind_is_read_as_what_it_is(kind: type[msgspec.Struct]):
    """
    Each example comes back as it was sent.
    """
    for sample in EXAMPLES[kind]:
        assert sample == decode_live(msgspec.json.encode(sample))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"type": "smell"}', b'{"type": "text_delta"}', b'{"run": "r"}']
)
def test_anything_else_is_refused(data: bytes):
    """
    What is no live message, or of a kind that is not known yet, cannot be read.
    """
    with pytest.raises(msgspec.DecodeError):
        decode_live(data)

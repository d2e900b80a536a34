"""Examples of facts about keys."""

import msgspec

from agora_contracts import identity
from agora_contracts.examples import story

EXAMPLES: tuple[msgspec.Struct, ...] = (identity.KeyRevoked(key=story.KEY, at=story.FINISHED_AT),)

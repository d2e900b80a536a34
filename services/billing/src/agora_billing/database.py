"""The tables of billing's database; each capability describes its own in its `store.py`."""

from agora_kit.database import new_metadata
from agora_kit.tables import add_kit_tables

metadata = new_metadata()
add_kit_tables(metadata)

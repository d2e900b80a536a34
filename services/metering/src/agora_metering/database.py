"""The metadata that metering's stores describe their tables in."""

from agora_kit.database import new_metadata
from agora_kit.tables import add_kit_tables

metadata = new_metadata()
add_kit_tables(metadata)

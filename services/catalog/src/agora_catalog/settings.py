"""Settings of the catalog, from the environment."""

from agora_kit.settings import ServiceSettings


class CatalogSettings(ServiceSettings, frozen=True, kw_only=True):
    """What the catalog needs to start.

    `publish_announced` puts the packages that ship as announced into the catalogue at start.
    """

    publish_announced: bool = True

"""The packages that are announced: one manifest each, published when the catalog starts."""

import tomllib
from importlib.resources import files

import msgspec
from agora_contracts.catalog import Manifest, PublishPackage, Schemas

_NOT_FINAL = {"type": "object", "description": "The package is announced; this schema is not final yet."}


def announced_packages() -> list[PublishPackage]:
    """Read the manifests in this folder, by file name.

    Raises:
        msgspec.ValidationError: a manifest does not fit; these files ship with the service.
    """
    folder = files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return [
        PublishPackage(
            manifest=msgspec.convert(tomllib.loads((folder / name).read_text(encoding="utf-8")), Manifest),
            schemas=Schemas(input=_NOT_FINAL, output=_NOT_FINAL, config=_NOT_FINAL),
            first_party=True,
        )
        for name in names
    ]

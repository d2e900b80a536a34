"""How our types look in OpenAPI, where Litestar's own idea of them is another."""

from decimal import Decimal
from typing import Any

from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition


class DecimalSchemas(OpenAPISchemaPlugin):
    """Decimals are strings in JSON: a binary float never touches money or quantities."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether this is the type we speak for."""
        return value is Decimal

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """A decimal number as a string."""
        return Schema(
            type=OpenAPIType.STRING,
            pattern=r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$",
            examples=["0.5"],
        )

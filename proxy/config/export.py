"""The configuration as others read it: a JSON Schema for editors, and what is in force, without secrets.

Owns both forms, and the hash by which the audit names a configuration. It must not know where they go.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from proxy.config.descriptions import descriptions
from proxy.config.fields import WITH_SECRETS
from proxy.config.schema import Config

if TYPE_CHECKING:
    from pydantic_core import core_schema

    from proxy.config.table import Table


def redacted(config: Config) -> dict[str, Any]:
    """The configuration in the file's form: its keys, values with units, "***" for secrets and token digests.

    Without the secrets, reading it again gives an equal configuration.
    """
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def whole(config: Config) -> dict[str, Any]:
    """As `redacted`, but with the secrets: for a process of our own. `Config.read` gives an equal one."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True, context=WITH_SECRETS)


def digest(config: Config) -> str:
    """A hash of the configuration in force, in hexadecimal: SHA-256 of what `redacted` gives, as JSON with
    sorted keys. It stands in the audit. Another secret alone does not change it: nobody may test guesses."""
    return sha256(orjson.dumps(redacted(config), option=orjson.OPT_SORT_KEYS)).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file: closed tables, described keys, defaults as in the file."""
    schema = Config.model_json_schema(by_alias=True, schema_generator=_FileSchema)
    return {"$schema": _FileSchema.schema_dialect, **schema}


def defaults(table: type[Table]) -> dict[str, Any]:
    """The defaults of a table's keys in the file's form; keys without a default are absent."""
    return table.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)


class _FileSchema(GenerateJsonSchema):
    """pydantic's generator with the file in mind: TOML has no null, and defaults carry their units."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        table: type[Table] = schema["cls"]
        described = super().model_schema(schema)
        for attribute, text in descriptions(table).items():
            key = table.model_fields[attribute].alias or attribute
            described["properties"][key]["description"] = text
        for key, default in defaults(table).items():
            if table.file_keys()[key] is None:  # a table's defaults stand in its own schema
                described["properties"][key]["default"] = default
        return described

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

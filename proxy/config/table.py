"""The base of all tables: how a table of the file becomes a frozen value, whole or in part.

Owns the naming rule (attributes carry units, the file's keys do not), the refusal of unknown keys, and what a
table that validated only in part looks like. It must not know any particular table.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator, model_validator

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""Nobody else's code has a say in what a configuration means; to look for some through all that is installed
would take longer than to read the file."""

FAULTY: Final = object()
"""Stands in a document for a value that did not validate. The table built from it lacks the attribute."""


class FaultyAttributeError(Exception):
    """A value was read that did not validate.

    No AttributeError, so that properties that read such a value raise it too.
    """


class Table(BaseModel):
    """One table of the file: frozen, without unknown keys, named in the file without units.

    Built from a document with `FAULTY` in it, the table lacks those attributes and reading one of them raises
    `FaultyAttributeError`. Only the cross-table rules ever see such a table; `load` does not return it.
    """

    model_config = ConfigDict(
        defer_build=True,  # most commands read no configuration
        frozen=True,
        extra="forbid",
        alias_generator=lambda attribute: attribute.removesuffix("_s").removesuffix("_bytes"),
        populate_by_name=True,
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _let_faulty_pass(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        return value if value is FAULTY else validate(value)

    @model_validator(mode="after")
    def _without_faulty(self) -> Self:
        for name in [name for name, value in self.__dict__.items() if value is FAULTY]:
            del self.__dict__[name]
        return self

    if not TYPE_CHECKING:  # seen by a type checker, it would allow every misspelt attribute

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise FaultyAttributeError(name)
            return super().__getattr__(name)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """The table of a document in the file's form. Raises pydantic's ValidationError."""
        return cls.model_validate(document, by_alias=True, by_name=False)

    @classmethod
    def file_keys(cls) -> dict[str, type[Table] | None]:
        """The file's keys, each with the table that it holds, one or a list of them, or None."""
        return {field.alias or name: table_in(field.annotation) for name, field in cls.model_fields.items()}


def table_in(annotation: Any) -> type[Table] | None:
    """The table that `X`, `X | None` or `tuple[X, ...]` holds, or None."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Table):
            return candidate
    return None

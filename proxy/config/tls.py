"""What can be configured of TLS: the side that clients connect to, and the side that connects to others.

The same two tables stand in several places of `proxy.toml`. Owns their keys, the rules between them, and
where in a configuration they stand. It names files and never opens one: `proxy.tls` does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from proxy.config.table import FaultyAttributeError, Table
from proxy.config.units import Flag, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.faults import Problem

_TlsTable = TypeVar("_TlsTable", bound=Table)


def parse_file(value: str) -> str:
    """The name of a file; a relative one counts from the working directory."""
    if not value or "\0" in value:
        raise ValueError(f"must be the name of a file, not {shown(value)}")
    return value


File = Annotated[str, AfterValidator(parse_file)]
Version = Literal["1.2", "1.3"]


class Certificate(Table):
    """One entry of `certificates`: a chain and the key to it. Both are read again when they change."""

    certificate: File
    """PEM file with the certificate first, and then those of its issuers."""
    key: File
    """PEM file with the private key, without a passphrase."""


class ServerTls(Table):
    """`[listen.tls]` and `[admin.tls]`: TLS for those who connect to us. Without the table there is none."""

    certificates: Annotated[tuple[Certificate, ...], Field(min_length=1)]
    """Chosen by the names in them; the first also for clients that name none of these."""
    min_version: Version = "1.2"
    """The oldest version of TLS that is spoken."""
    client_ca: File | None = None
    """PEM file with the authorities that sign clients' certificates."""
    client_auth: Literal["none", "optional", "required"] = "none"
    """Whether clients are asked for a certificate; one that is not sound ends the handshake."""


class ClientTls(Table):
    """`[backends.*.tls]`: how we speak TLS to others."""

    ca_file: File | None = None
    """PEM file with the authorities that are believed; the system's unless given."""
    server_name: Annotated[str, Field(min_length=1)] | None = None
    """The name that is asked for and verified; the endpoint's host unless given."""
    certificate: File | None = None
    """PEM file with our own certificate, for those who ask for one."""
    key: File | None = None
    """PEM file with its private key."""
    verify: Flag = True
    """Whether the other side's certificate must be sound; without, anybody on the way can pose as it."""
    min_version: Version = "1.2"
    """The oldest version of TLS that is spoken."""


def places(config: Table, kind: type[_TlsTable], at: str = "") -> Iterator[tuple[str, _TlsTable]]:
    """Every table of this kind that stands in `config`, with its dotted path. `config` may be in parts."""
    for name, field in type(config).model_fields.items():
        value = config.__dict__.get(name)
        if isinstance(value, Table):
            path = f"{at}.{field.alias or name}" if at else field.alias or name
            if isinstance(value, kind):
                yield path, value
            else:
                yield from places(value, kind, path)


def tls_agrees(config: Table) -> Iterator[Problem]:
    """The rules between the keys of each of these tables."""
    for at, server in places(config, ServerTls):
        yield from _known(_clients_can_be_verified(at, server))
    for at, client in places(config, ClientTls):
        yield from _known(_key_has_its_certificate(at, client))


def _clients_can_be_verified(at: str, table: ServerTls) -> Iterator[Problem]:
    if table.client_auth != "none" and table.client_ca is None:
        yield f"{at}.client_ca", f'is required with client_auth = "{table.client_auth}"'
    if table.client_auth == "none" and table.client_ca is not None:
        yield (
            f"{at}.client_auth",
            'must be "optional" or "required" with client_ca: nobody is asked otherwise',
        )


def _key_has_its_certificate(at: str, table: ClientTls) -> Iterator[Problem]:
    if (table.certificate is None) is not (table.key is None):
        yield at, "needs both certificate and key, or neither"


def _known(rule: Iterator[Problem]) -> Iterator[Problem]:
    with suppress(FaultyAttributeError):
        yield from rule

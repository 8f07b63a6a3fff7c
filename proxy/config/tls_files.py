"""The files that TLS tables name: what is wrong with them, and whether they have changed.

Owns the reading of certificates and keys for the sake of a clear word about them. Makes no context that
anybody speaks through: `proxy.tls` does.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.config.table import FaultyAttributeError
from proxy.config.tls import ClientTls, ServerTls, places
from proxy.later import later

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.faults import Problem
    from proxy.config.table import Table

_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})

Stamps = tuple[tuple[int, int, int] | None, ...]


def problems_of_files(config: Table) -> Iterator[Problem]:
    """What is wrong with the files that any TLS table of `config` names. `config` may be in parts."""
    for at, server in places(config, ServerTls):
        yield from _known(problems_of_server(at, server))
    for at, client in places(config, ClientTls):
        yield from _known(problems_of_client(at, client))


def stamps(config: Table) -> Stamps:
    """What changes when one of these files does; None for one that is not there."""
    tables: list[ServerTls | ClientTls] = [table for _, table in places(config, ServerTls)]
    tables += [table for _, table in places(config, ClientTls)]
    return tuple(_stamp(file) for table in tables for file in _files(table))


def _files(table: ServerTls | ClientTls) -> Iterator[str]:
    if isinstance(table, ServerTls):
        for entry in table.certificates:
            yield from (entry.certificate, entry.key)
        named = [table.client_ca]
    else:
        named = [table.ca_file, table.certificate, table.key]
    yield from (file for file in named if file is not None)


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # of what a link points at: that is how certbot renews
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def problems_of_server(at: str, table: ServerTls) -> Iterator[Problem]:
    """Every file of the table that cannot be used, by its dotted path below `at`."""
    for index, entry in enumerate(table.certificates):
        yield from _problems_of_pair(f"{at}.certificates.{index}", entry.certificate, entry.key)
    if table.client_ca is not None:
        yield from _problems_of_authorities(f"{at}.client_ca", table.client_ca)


def problems_of_client(at: str, table: ClientTls) -> Iterator[Problem]:
    """Every file of the table that cannot be used, by its dotted path below `at`."""
    if table.ca_file is not None:
        yield from _problems_of_authorities(f"{at}.ca_file", table.ca_file)
    if table.certificate is not None and table.key is not None:
        yield from _problems_of_pair(at, table.certificate, table.key)


def _problems_of_pair(at: str, certificate: str, key: str) -> Iterator[Problem]:
    unusable = [*_problems_of_file(f"{at}.certificate", certificate), *_problems_of_file(f"{at}.key", key)]
    if unusable:
        yield from unusable
        return
    try:
        later("proxy.config.certificates:count")(certificate)
    except ValueError:
        yield f"{at}.certificate", f"{certificate} holds no certificate in PEM"
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield f"{at}.key", f"{key} does not belong to {certificate}"
        elif error.reason in _WEAK:
            yield f"{at}.certificate", f"{certificate} is refused as too weak: {error.reason}"
        else:
            yield f"{at}.key", f"{key} holds no private key in PEM without a passphrase"


def _problems_of_authorities(at: str, file: str) -> Iterator[Problem]:
    unreadable = [*_problems_of_file(at, file)]
    yield from unreadable
    if not unreadable:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except ssl.SSLError:
            yield at, f"{file} holds no certificates in PEM"


def _problems_of_file(at: str, file: str) -> Iterator[Problem]:
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except OSError as error:
        yield at, f"{file} cannot be read: {error.strerror}"


def no_passphrase() -> str:
    """Without this, a key with a passphrase would have the process wait at a terminal."""
    return ""


def _known(problems: Iterator[Problem]) -> Iterator[Problem]:
    with suppress(FaultyAttributeError):
        yield from problems

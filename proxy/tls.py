"""TLS contexts from the tables of the configuration.

Owns versions, ciphers, and which certificate a client is shown. Must never know who listens or connects.

A context is good for as long as its files are: whoever makes one makes another when they change. Tickets for
resumption are encrypted with a key that the context makes up for itself. So they are good for one context in
one process; elsewhere, and after a reload, a client goes through a full handshake.
"""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Final, Protocol

from proxy.config.tls_files import no_passphrase, problems_of_client, problems_of_server
from proxy.errors import ConfigError
from proxy.later import later

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.config.tls import Certificate, ClientTls, ServerTls

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, nothing else (RFC 9325 section 4.2). No DHE: it
costs us more than it costs an attacker. Those of TLS 1.3 are all sound."""
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_HTTP_1: Final = "http/1.1"


class _Handshake(Protocol):
    """What is under way when the client has named a host: a socket or an object of the ssl module."""

    context: ssl.SSLContext


# ... contexts


def server_context(table: ServerTls, at: str = "tls") -> ssl.SSLContext:
    """A context for those who connect to us.

    It shows the certificate that holds the name asked for: an exact one before a wildcard, the first of the
    table for a name that none of them holds; where keys of several kinds have one name, the kind that the
    client knows. Raises ConfigError with every file that cannot be used, below the path `at`.
    """
    problems = [*problems_of_server(at, table)]
    if problems:
        raise ConfigError(problems)
    names = [_names(entry) for entry in table.certificates]
    first = _server_context(table, _alike(names, 0), at)
    contexts = {_alike(names, 0): first}
    by_name: dict[str, ssl.SSLContext] = {}
    for name in {name for group in names for name in group}:
        holders = tuple(index for index, group in enumerate(names) if name in group)
        if holders not in contexts:
            contexts[holders] = _server_context(table, holders, at)
        by_name[name] = contexts[holders]
    if len(contexts) > 1:
        first.sni_callback = _Chooser(by_name, first)
    return first


def client_context(table: ClientTls, at: str = "tls") -> ssl.SSLContext:
    """A context for connecting to others. The name to verify is the caller's to give: `server_name`, or the
    endpoint's host. Raises ConfigError with every file that cannot be used, below the path `at`."""
    problems = [*problems_of_client(at, table)]
    if problems:
        raise ConfigError(problems)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, table.min_version)
    if not table.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif table.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(table.ca_file)
    if table.certificate is not None and table.key is not None:
        context.load_cert_chain(table.certificate, table.key, no_passphrase)
    return context


def _server_context(table: ServerTls, indices: Sequence[int], at: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, table.min_version)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    for index in reversed(indices):  # of two keys of one kind the later one stays: the first entry is to win
        entry = table.certificates[index]
        try:
            context.load_cert_chain(entry.certificate, entry.key, no_passphrase)
        except (OSError, ValueError) as error:  # a moment ago it was sound: somebody is writing it
            raise ConfigError(
                [(f"{at}.certificates.{index}", f"changes while it is read: {error}")]
            ) from error
    if table.client_ca is not None:
        context.load_verify_locations(table.client_ca)
        context.verify_mode = _CLIENT_AUTH[table.client_auth]
    return context


def _harden(context: ssl.SSLContext, min_version: str) -> None:
    context.minimum_version = _VERSIONS[min_version]
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([_HTTP_1])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


# ... the choice by name (RFC 6066 section 3, RFC 9525 section 6.3)


def _names(entry: Certificate) -> frozenset[str]:
    names: frozenset[str] = later("proxy.config.certificates:names")(entry.certificate)
    return names


def _alike(names: Sequence[frozenset[str]], index: int) -> tuple[int, ...]:
    """Those that hold the same names as this one: the same certificate for another kind of key."""
    return tuple(
        other for other, group in enumerate(names) if other == index or (group and group == names[index])
    )


class _Chooser:
    """Called in each handshake with the name that the client asks for, if it does."""

    def __init__(self, by_name: Mapping[str, ssl.SSLContext], first: ssl.SSLContext) -> None:
        self._by_name = by_name
        self._first = first

    def __call__(self, handshake: _Handshake, name: str | None, context: ssl.SSLContext) -> None:
        if name is not None:
            handshake.context = self.chosen(name)

    def chosen(self, name: str) -> ssl.SSLContext:
        """The context for a host name."""
        name = name.lower().removesuffix(".")
        exact = self._by_name.get(name)
        if exact is not None:
            return exact
        return self._by_name.get(f"*.{name.partition('.')[2]}", self._first)


def overlook_impossible_names() -> None:
    """Have the interpreter say nothing of names that are no ASCII. It refuses such a handshake by itself, but
    writes a traceback to standard error each time, so that a stranger could fill the log."""
    before = sys.unraisablehook

    def tell_others(told: sys.UnraisableHookArgs) -> None:
        if told.exc_type is not UnicodeDecodeError or not isinstance(told.object, bytes):
            before(told)

    sys.unraisablehook = tell_others

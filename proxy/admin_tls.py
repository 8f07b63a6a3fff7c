"""How the admin API's client speaks TLS, for those who reach it by https.

Owns which certificates are believed and shown. Must never know what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.tls import ClientTls
from proxy.tls import client_context

if TYPE_CHECKING:
    import ssl


def context_for(authorities: str | None, certificate: str | None) -> ssl.SSLContext:
    """With these PEM files, see `admin_client.TlsFiles`. Raises `ConfigError`."""
    return client_context(ClientTls(ca_file=authorities, certificate=certificate, key=certificate))

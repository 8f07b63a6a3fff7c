"""What an upstream is told of a client's certificate: the value of X-Forwarded-Client-Cert.

Owns the form, which is Envoy's: `Hash=…;Subject="…";URI=…;DNS=…`. Whether the certificate is sound is decided
elsewhere, before.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST: Final = 4 << 10
"""Characters of a value; names beyond are left out. A certificate must not make a head too large for a
backend."""
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
"""RFC 4514 section 3; others keep the name that OpenSSL has for them."""
_SPECIAL: Final = frozenset(',+"\\<>;=')  # RFC 4514 section 2.4
_UNSAFE: Final = frozenset('"\\')


def client_cert_value(digest: str, certificate: Mapping[str, Any]) -> bytes:
    """The field's value: `digest` is the SHA-256 of the certificate in hex, `certificate` what
    `ssl.SSLObject.getpeercert` tells of it. What stands in quotes holds neither quote nor lone backslash, so
    that no name in a certificate can pose as another element."""
    parts = [f"Hash={digest}", f'Subject="{_subject(certificate.get("subject", ()))}"']
    size = sum(map(len, parts))
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in ("URI", "DNS"):
            part = f"{kind}={_plain(name)}"
            size += len(part) + 1
            if size > _LONGEST:
                break
            parts.append(part)
    return ";".join(parts).encode("ascii")


def _subject(names: Iterable[Iterable[tuple[str, str]]]) -> str:
    """The distinguished name as text, the most specific part first (RFC 4514 section 2.1)."""
    parts = ["+".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in rdn) for rdn in names]
    return ",".join(reversed(parts))[: _LONGEST // 2]


def _escaped(value: str) -> str:
    text = "".join(
        char if " " <= char <= "~" and char not in _SPECIAL else _hex(char, "\\") for char in value
    )
    return f"\\{ord(text[0]):02X}{text[1:]}" if text[:1] in ("#", " ") else text


def _plain(name: str) -> str:
    """A URI or a host name, in quotes where it holds what would end the value."""
    text = "".join(char if "!" <= char <= "~" and char not in _UNSAFE else _hex(char, "%") for char in name)
    return f'"{text}"' if any(char in ",;=" for char in text) else text


def _hex(char: str, mark: str) -> str:
    return "".join(f"{mark}{byte:02X}" for byte in char.encode("utf-8", "replace"))

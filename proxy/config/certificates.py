"""What stands in a certificate of our own: Python's ssl tells that of a peer's alone.

Owns the reading of certificates in PEM. Imported once a table names one, by `proxy.later`: the library behind
it takes more memory than everything else that reads the configuration. Must never know what names are for.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

_NO_NAMES: Final = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    ValueError,
)
"""There are none, or they cannot be read."""


def count(file: str) -> int:
    """How many certificates there are in a file. Raises ValueError if it holds something else, OSError."""
    with open(file, "rb") as opened:
        return len(x509.load_pem_x509_certificates(opened.read()))


def names(file: str) -> frozenset[str]:
    """The host names in the first certificate of a file, in lower case; wildcards as they stand there."""
    with open(file, "rb") as opened:
        leaf = x509.load_pem_x509_certificates(opened.read())[0]
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _NO_NAMES:
        return frozenset()
    return frozenset(name.lower() for name in alternatives.get_values_for_type(x509.DNSName))

"""Signatures of what is POSTed to others, as Standard Webhooks has them.

Owns the three header fields: who receives them can tell that we have sent it, and when, and that it came
before. Must never know what is sent.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

_PREFIX: Final = "whsec_"


def signed(secret: str | None, id: str, at: float, body: bytes) -> dict[str, str]:  # noqa: A002 - as in the fields
    """The header fields for `body`, sent at `at`; without a secret only those that name it and its time.

    A secret that begins with "whsec_" is base64 behind that; any other is taken as it stands.
    """
    stamp = str(int(at))
    fields = {"webhook-id": id, "webhook-timestamp": stamp}
    if secret is not None:
        content = f"{id}.{stamp}.".encode() + body
        mac = hmac.new(_key(secret), content, "sha256").digest()
        fields["webhook-signature"] = f"v1,{b64encode(mac).decode()}"
    return fields


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        try:
            return b64decode(secret.removeprefix(_PREFIX), validate=True)
        except Error:
            pass  # it only looks so
    return secret.encode()

"""Signatures that any library of Standard Webhooks can verify."""

from __future__ import annotations

import hmac
from base64 import b64encode

import pytest

from proxy.core.signing import signed

KEY = b"a key of twenty-four by."


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("a secret of people", b"a secret of people"),
        (f"whsec_{b64encode(KEY).decode()}", KEY),
        ("whsec_not base64!", b"whsec_not base64!"),
    ],
)
def test_the_signature_is_over_id_time_and_body(secret: str, key: bytes) -> None:
    fields = signed(secret, "m1", 1_700_000_000.9, b'{"a":1}')
    expected = hmac.digest(key, b'm1.1700000000.{"a":1}', "sha256")
    assert fields == {
        "webhook-id": "m1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{b64encode(expected).decode()}",
    }


def test_the_published_example_is_signed_as_published() -> None:
    fields = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert fields["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_nothing_is_signed() -> None:
    assert signed(None, "m1", 1.0, b"") == {"webhook-id": "m1", "webhook-timestamp": "1"}

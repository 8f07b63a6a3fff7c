from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.loading import parse
from proxy.config.logs import ALWAYS_REDACTED, redacted_names
from proxy.telemetry.redaction import Redaction
from tests.config.documents import ROLLOUT

REDACTION = Redaction(ALWAYS_REDACTED | {"x-tenant", "card"})


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/plain", "/plain"),
        ("/a?", "/a?"),
        ("/a?b=1&c", "/a?b=1&c"),
        ("/a?token=abc&b=1", "/a?token=***&b=1"),
        ("/a?b=1;ToKeN=abc;c=2", "/a?b=1;ToKeN=***;c=2"),
        ("/a?to%6ben=abc", "/a?to%6ben=***"),
        ("/a?user[password]=x&user.password=y", "/a?user[password]=***&user.password=***"),
        ("/a?user%5Bpassword%5D=x", "/a?user%5Bpassword%5D=***"),
        ("/a?token=", "/a?token="),
        ("/a?token", "/a?token"),
        ("/a?token==x=y", "/a?token=***"),
        ("/a?b=token=abc", "/a?b=token=abc"),
        ("/a?b=1?password=x", "/a?b=1?password=***"),
        ("/a?next=/login?token=abc#access_token=def", "/a?next=/login?token=***#access_token=***"),
        ("/a;jsessionid=abc?b=1", "/a;jsessionid=***?b=1"),
        (
            "/a?accessToken=x&refresh-token=y&+Client-Secret=z",
            "/a?accessToken=***&refresh-token=***&+Client-Secret=***",
        ),
        ("http://user:w@rd@example.test/a", "http://***@example.test/a"),
        ("//user:word@example.test/a", "//***@example.test/a"),
        ("/a?next=https://user:word@b.test/", "/a?next=https://***@b.test/"),
        ("/a//b?mail=c@d", "/a//b?mail=c@d"),
        ("/a?card=4111", "/a?card=***"),
        ("/a?X-Amz-Signature=f00", "/a?X-Amz-Signature=***"),
        ("http://user:word@example.test/a?b=1", "http://***@example.test/a?b=1"),
        ("/users/@me?x=1", "/users/@me?x=1"),
        ("/a?mail=a@b", "/a?mail=a@b"),
    ],
)
def test_secrets_in_targets_are_hidden(target: str, shown: str) -> None:
    assert REDACTION.target(target) == shown


@pytest.mark.parametrize("name", ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-tenant"])
def test_secret_fields_are_hidden(name: str) -> None:
    assert REDACTION.field(name, "Bearer s3cr3t") == "***"


def test_other_fields_are_shown_without_the_secrets_of_addresses_in_them() -> None:
    assert REDACTION.field("user-agent", "curl/8 (what?)") == "curl/8 (what?)"
    assert REDACTION.field("referer", "https://a.test/?code=1&b=2") == "https://a.test/?code=***&b=2"
    assert REDACTION.field("referer", "https://me:word@a.test/") == "https://***@a.test/"


@given(secret=st.text(alphabet="ABCDEF", min_size=1), rest=st.text(alphabet="abc=&;?[]%41", max_size=30))
def test_no_secret_comes_through_whatever_stands_around_it(secret: str, rest: str) -> None:
    assert secret not in REDACTION.target(f"/{rest.lower().partition('?')[0]}?x={rest}&password={secret}")


def test_names_come_from_the_file_and_the_override_headers_and_none_is_left_out() -> None:
    config = parse(
        ROLLOUT
        + '[rollouts.override]\nheader = "X-Choose"\nsecret = "0123456789abcdef"\n[log]\nredact = ["Card"]\n',
        {},
    )
    assert redacted_names(config) == ALWAYS_REDACTED | {"x-choose", "card"}
    assert all(name == name.lower() for name in ALWAYS_REDACTED)

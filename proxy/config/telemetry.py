"""`[telemetry]`: what is sent to an OpenTelemetry collector, and where that is.

Part of the schema; `schema.py` says how attributes, keys and descriptions go together. The metrics' own table
stands in `metrics.py`. It knows no collector: whether one answers is found out when something is sent.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.config.fields import ActorName, Headers, parse_endpoint
from proxy.config.logs import Kept
from proxy.config.metrics import Metrics
from proxy.config.table import Table
from proxy.config.tls import ClientTls
from proxy.config.units import Duration, Flag, Percentage, PositiveCount, PositiveDuration, shown

_URL: Final = re.compile(r"(https?://[^/?#]+)((?:/[A-Za-z0-9\-._~%!$&'()*+,;=:@]*)*)", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_.\-]*", re.IGNORECASE)


def parse_otlp_endpoint(value: object) -> str:
    """ "http://host:4318", or with a path: what is sent goes to /v1/traces and /v1/metrics below it."""
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    try:
        return parse_endpoint(match[1] if match else "") + (match[2] if match else "").rstrip("/")
    except ValueError:
        expected = 'http:// or https:// with a host, such as "http://127.0.0.1:4318"'
        raise ValueError(f"must be {expected}, not {shown(value)}") from None


def parse_resource(value: object) -> dict[str, str]:
    """A table of attributes, each a dotted name and one line of text; in the order of their names. Names need
    no quotes: TOML reads their dots as tables."""
    attributes: dict[Any, Any] = _flat(value) if isinstance(value, dict) else {None: None}
    for name, text in attributes.items():
        if not (isinstance(name, str) and _ATTRIBUTE.fullmatch(name)):
            expected = 'a table such as { "deployment.environment.name" = "staging" }'
            raise ValueError(f"must be {expected}, not {shown(name)}")
        if not (isinstance(text, str) and text.isprintable() and text):
            raise ValueError(f"must have one line of text for {name}, not {shown(text)}")
    return dict(sorted(attributes.items()))


def _flat(table: dict[Any, Any], before: str = "") -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) and isinstance(name, str) and value:
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}" if isinstance(name, str) else name] = value
    return found


OtlpEndpoint = Annotated[
    str, BeforeValidator(parse_otlp_endpoint), WithJsonSchema({"type": "string", "format": "uri"})
]
Resource = Annotated[
    dict[str, str],
    PlainValidator(parse_resource),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


class Traces(Table):
    """`[telemetry.traces]`: which requests are traced."""

    enabled: Flag = True
    """Whether requests and decisions are traced, if there is an `otlp_endpoint`."""
    sample: Percentage = 1.0
    """How many of the requests are traced whatever becomes of them, in percent."""
    parent: Literal["respect", "ignore"] = "respect"
    """Of a client that sends `traceparent`: do as it says, or let `sample` decide all the same."""
    keep: tuple[Kept, ...] = ("error", "fallback", "slow")
    """What is traced whatever `sample` says: 5xx and broken answers, fallbacks, and slow ones."""
    slow_above_s: PositiveDuration = 1.0
    """From when on a request is slow."""
    query: Flag = True
    """Whether spans show the query; its values that `log.redact` names, or that are known secrets, never."""
    max_queue: Annotated[PositiveCount, Field(le=1_000_000)] = 2048
    """Requests that may wait to be sent, in each worker; further ones are dropped and counted."""
    max_batch: Annotated[PositiveCount, Field(le=10_000)] = 256
    """Requests that are sent at once."""
    every_s: PositiveDuration = 2.0
    """How long a request waits at most until it is sent, while the collector answers."""


class Telemetry(Table):
    """`[telemetry]`: what is sent to an OpenTelemetry collector; without `otlp_endpoint` nothing is."""

    otlp_endpoint: OtlpEndpoint | None = None
    """Where OTLP over HTTP is taken: /v1/traces and /v1/metrics are below it."""
    otlp_headers: Headers = Field(default_factory=dict)
    """Fields that go with it, such as a token."""
    otlp_timeout_s: PositiveDuration = 5.0
    """How long the collector may take over one batch."""
    otlp_retry_for_s: Duration = 30.0
    """For how long a batch that did not arrive is sent again, ever more rarely; then it is dropped."""
    service_name: ActorName = "dualpath"
    """`service.name` of all that is sent."""
    resource: Resource = Field(default_factory=dict)
    """Further attributes of all that is sent, such as `deployment.environment.name`."""
    tls: ClientTls | None = None
    """How an https:// collector is spoken to; without the table the system's authorities verify it."""
    traces: Traces = Traces()
    """Which requests are traced."""
    metrics: Metrics = Metrics()
    """Who may read the metrics, and how often they are sent."""

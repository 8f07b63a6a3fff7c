"""What can be configured: one frozen pydantic model per table of `proxy.toml`.

Attribute names carry their unit (`connect_timeout_s`, `max_body_bytes`); the file's keys do not
(`connect_timeout`, `max_body`). Every model refuses unknown keys. The text under a key is its description in
the JSON Schema and in docs/configuration.md. The tables of one rollout stand in `rollout.py` and `plan.py`
and are names of this module too. Checks that need more than one value stand in `rules.py`, reading in
`loading.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.alerts import AlertRule, Alerts, Hook, Silence, Sink
from proxy.config.fields import (
    ActorName,
    AdminAddress,
    Endpoint,
    HostPattern,
    HostPort,
    JsonPart,
    NameServer,
    Network,
    RequestTarget,
    RoutePrefix,
    Sha256,
    Status,
    Token,
    Workers,
)
from proxy.config.fleet import Fleet
from proxy.config.logs import Access, Log
from proxy.config.metrics import Metrics
from proxy.config.plan import (
    Baseline,
    Criteria,
    Freeze,
    Guard,
    JudgeTable,
    Phase,
    Steps,
    Tolerable,
    Unacceptable,
)
from proxy.config.rollout import BreakerTable, Fallback, Override, Pins, Rollout, Route, Smoke, Tunnels
from proxy.config.store import Store
from proxy.config.table import Table
from proxy.config.telemetry import Telemetry, Traces
from proxy.config.tls import Certificate, ClientTls, ServerTls
from proxy.config.units import (
    Count,
    Duration,
    Flag,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Ratio,
    Size,
)
from proxy.model import Path

__all__ = [
    "Access",
    "Admin",
    "AdminToken",
    "AlertRule",
    "Alerts",
    "Backend",
    "Backends",
    "Baseline",
    "BreakerTable",
    "Certificate",
    "ClientTls",
    "Config",
    "Criteria",
    "Ejection",
    "Fallback",
    "Freeze",
    "Guard",
    "Hook",
    "JudgeTable",
    "Listen",
    "Log",
    "Metrics",
    "Override",
    "Phase",
    "Pins",
    "Probe",
    "Rollout",
    "Route",
    "ServerTls",
    "Silence",
    "Sink",
    "Smoke",
    "Steps",
    "Store",
    "Table",
    "Telemetry",
    "Tolerable",
    "Traces",
    "Tunnels",
    "Unacceptable",
]


class Listen(Table):
    """`[listen]`: the downstream side."""

    address: HostPort = "127.0.0.1:8080"
    """Where clients connect; port 0 lets the system choose."""
    workers: Workers = 1
    """Processes that serve requests; "auto" is one for each usable core, 1 keeps all in one process."""
    expose_path: Flag = False
    """Tell clients who answered: X-Dualpath-Path: v1, v2 or v1-fallback."""
    trusted_proxies: tuple[Network, ...] = ()
    """Peers whose X-Forwarded-* are believed, counted from the right; all others' are overwritten."""
    server_name: Token = "dualpath"
    """Our pseudonym in Via."""
    max_head_bytes: PositiveSize = 32 << 10
    """Largest request head; more is answered 431."""
    max_fields: PositiveCount = 100
    """Most fields in a request head; more is answered 431."""
    max_target_bytes: PositiveSize = 16 << 10
    """Longest request target; more is answered 414."""
    header_timeout_s: PositiveDuration = 10.0
    """How long a request head may take from its first byte."""
    keepalive_timeout_s: PositiveDuration = 75.0
    """How long an idle client connection is kept."""
    body_idle_timeout_s: PositiveDuration = 30.0
    """How long a body may stand still, in either direction."""
    drain_timeout_s: Duration = 30.0
    """How long running requests may finish after SIGTERM; "0s" does not wait."""
    backlog: PositiveCount = 1024
    """Connections that the system queues before they are accepted."""
    max_body_bytes: Size = 0
    """Largest request body; more is answered 413, and "0B" is no limit."""
    max_connections: PositiveCount = 20_000
    """Client connections at once, in all; those beyond are turned away with 503."""
    max_connections_per_client: Count = 0
    """Connections at once from one address (/64 of IPv6), in each worker; 0 is no limit."""
    max_requests_per_connection: Count = 0
    """Requests on one connection; the last answer closes it, and 0 is no limit."""
    max_loop_lag_s: Duration = 0.0
    """While the event loop is this late, new requests are answered 503; "0s" takes them all."""
    proxy_protocol: Flag = False
    """Every connection begins with a PROXY header, version 1 or 2, that names the client."""
    tls: ServerTls | None = None
    """TLS for clients."""


class AdminToken(Table):
    """One bearer token: who holds it, what it may do, and the SHA-256 of the token itself."""

    name: ActorName
    """Who holds it; stands in the audit as the actor."""
    role: Literal["viewer", "operator"]
    """`viewer` reads, `operator` also changes."""
    sha256: Sha256
    """Hexadecimal SHA-256 of the token: `printf %s TOKEN | sha256sum`."""


class Admin(Table):
    """`[admin]`: the control plane's own listener."""

    address: AdminAddress = "127.0.0.1:9900"
    """Where the API listens; anything but loopback needs a token, but "unix:/path" is for its owner alone."""
    tokens: tuple[AdminToken, ...] = ()
    """Who may use the API; with none, everybody who reaches the address."""
    hosts: tuple[HostPattern, ...] = ()
    """Names beside localhost and its own address that a request's Host field may hold."""
    tls: ServerTls | None = None
    """TLS for those who use the API."""


class Webhooks(Table):
    """`[webhooks]`: what holds for every webhook."""

    allow_networks: tuple[Network, ...] = ()
    """Networks that are asked although no service is expected there: link-local, metadata, multicast."""


class Probe(Table):
    """`backends.*.health`: the active probe of each endpoint. Without the table there is none."""

    path: RoutePrefix
    """What is asked for."""
    expect_status: tuple[Status, ...] = ()
    """Statuses that are healthy; 2xx and 3xx unless given."""
    expect_json: JsonPart | None = None
    """What its JSON must hold, as { database = "connected" }; "checks.cache" is cache in checks."""
    interval_s: PositiveDuration = 5.0
    """Time between two probes of one endpoint."""
    timeout_s: PositiveDuration = 2.0
    """How long one probe may take."""
    healthy_after: PositiveCount = 2
    """Good probes in a row that bring an endpoint back."""
    unhealthy_after: PositiveCount = 3
    """Bad probes in a row that take an endpoint out."""


class Ejection(Table):
    """`backends.*.ejection`: an endpoint that keeps failing is left alone for a while."""

    enabled: Flag = True
    """Whether endpoints are ejected at all."""
    consecutive_failures: PositiveCount = 5
    """Failures in a row that eject an endpoint."""
    duration_s: PositiveDuration = 10.0
    """How long the first ejection lasts; repeated ones last longer, at most ten times."""
    max_share: Ratio = 0.5
    """Largest share of a backend's endpoints that may be ejected at once."""


class Backend(Table):
    """`[backends.v1]` and `[backends.v2]`: the endpoints that serve one path."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1)]
    """Where the version listens: http:// or https://, host and port."""
    connect_timeout_s: PositiveDuration = 1.0
    """How long connecting may take."""
    response_timeout_s: PositiveDuration = 10.0
    """How long the response head may take once the request is sent."""
    idle_timeout_s: PositiveDuration = 60.0
    """How long a response body may stand still."""
    max_head_bytes: PositiveSize = 32 << 10
    """Largest response head; more is a failure of the path."""
    max_idle_connections: Count = 512
    """Idle connections kept per endpoint; 0 opens a new one for every request."""
    keepalive_timeout_s: PositiveDuration = 30.0
    """How long an idle connection is kept; shorter than the backend's own."""
    max_requests: Count = 0
    """Most requests at once, in each worker; 0 is no limit."""
    max_pending: Count = 1024
    """Requests that wait when there are that many; further ones go to v1, or are answered 503 there."""
    pending_timeout_s: PositiveDuration = 1.0
    """How long a request may wait for its turn."""
    nameservers: tuple[NameServer, ...] = ()
    """Who is asked for the names in `endpoints`; the system's unless given."""
    health: Probe | None = None
    """Active probe of each endpoint."""
    report: RequestTarget | None = None
    """Where v2's endpoints report their cpu, memory and cache_hit_rate; asked as often as `health`."""
    cache_header: Token | None = None
    """Field of v2's answers that tells its cache hits, such as "X-Cache" or "Cache-Status"."""
    ejection: Ejection = Ejection()
    """Passive ejection of failing endpoints."""
    tls: ClientTls | None = None
    """How https:// endpoints are spoken to; without the table the system's authorities verify them."""


class Backends(Table):
    """`[backends]`: both paths."""

    v1: Backend
    """The stable version."""
    v2: Backend
    """The replacement."""

    def of(self, path: Path) -> Backend:
        """The backend that serves `path`."""
        return self.v1 if path is Path.V1 else self.v2


class Config(Table):
    """The whole of `proxy.toml`."""

    listen: Listen = Listen()
    """The downstream side."""
    admin: Admin = Admin()
    """The control plane's own listener."""
    store: Store = Store()
    """Where state and audit are kept."""
    fleet: Fleet = Fleet()
    """This instance among others."""
    telemetry: Telemetry = Telemetry()
    """What is sent to an OpenTelemetry collector."""
    log: Log = Log()
    """What the process says of itself."""
    webhooks: Webhooks = Webhooks()
    """What holds for every webhook."""
    alerts: Alerts = Alerts()
    """Who is told what."""
    hooks: tuple[Hook, ...] = ()
    """Webhooks that a rollout's life calls."""
    backends: Backends
    """The two versions of the service."""
    rollouts: Annotated[tuple[Rollout, ...], Field(min_length=1)] = (Rollout(name="default"),)
    """The splits; without any, one named "default" that covers every request."""

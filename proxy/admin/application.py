"""The admin's aiohttp application: routes, and what surrounds every answer.

Owns the order in which a request is judged: address, identity, role, route, input, controller. Every error
leaves as a problem document. It decides nothing about a rollout; the controller does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

import orjson
from aiohttp import web

from proxy import __version__
from proxy.admin import inputs, views
from proxy.admin.acting import Acting
from proxy.admin.alerting import AlertHandlers
from proxy.admin.archive import Archive
from proxy.admin.auth import AddressBook, Doorkeeper, authorise
from proxy.admin.board import Board
from proxy.admin.edge import Caller, secure
from proxy.admin.fleet_view import board_view, fleet_view, serving_view
from proxy.admin.openapi import document
from proxy.admin.operations import EVENT_STREAM, OPERATIONS
from proxy.admin.pages import FILES, OPEN, Pages, let_show
from proxy.admin.problems import RefusedError, problem_of, problem_response
from proxy.admin.stream import Stream
from proxy.admin.wire import IDENTITY, json_answer
from proxy.config.export import redacted
from proxy.core.refusals import REASONS
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from proxy.admin.operations import Operation
    from proxy.config.schema import Config
    from proxy.controlplane.controller import Controller
    from proxy.core.members import FleetReport
    from proxy.ports import Alerting, Clock

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("dualpath.admin")

PROBES = frozenset(operation.path for operation in OPERATIONS if operation.is_probe)
"""Paths that load balancers and container runtimes ask, under any name and without a token."""

METRICS = "/metrics"
_ROUTES = {"get": web.get, "post": web.post, "delete": web.delete}


@cache
def _described() -> bytes:
    """The API's own description; to make it takes longer than most processes are asked for it."""
    return orjson.dumps(document(), option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Loaded:
    """When the configuration in force was read, in seconds since the Unix epoch, and what is wrong with one
    that was refused since."""

    at: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the admin is told by the composition root; `workers` is how many processes serve requests, and
    `refused` what they have turned away, by reason; `tunnels` are open now, on v1 and v2.

    `ready` names what is still missing before traffic can be served; empty means ready. Backends' health is
    not among it: a proxy whose backends are down is still the right place to ask why.
    """

    instance: str
    ready: Callable[[], Sequence[str]]
    clock: Clock
    workers: Callable[[], int] = lambda: 1
    refused: Callable[[], Mapping[str, int]] = lambda: dict.fromkeys(REASONS, 0)
    tunnels: Callable[[], tuple[int, int]] = lambda: (0, 0)
    loaded: Callable[[], Loaded] = Loaded
    archive: Archive = field(default_factory=Archive)
    alerting: Alerting | None = None
    fleet: Callable[[], FleetReport] | None = None  # where several instances share a store
    metrics: Callable[[str], Awaitable[tuple[bytes, str]]] | None = None  # text and type, for this Accept


def build_admin(config: Config, controller: Controller, around: Surroundings) -> web.Application:
    """The application, to be served by an aiohttp runner on `config.admin.address`; see `follow`."""
    guard = _Guard(config, around.clock)
    api = _Api(config, controller, around, started_s=around.clock.monotonic())
    app = web.Application(middlewares=[_problems, guard.check], client_max_size=inputs.MAX_BODY_BYTES)
    app.on_response_prepare.extend([secure, let_show])
    stream = Stream(controller, around.clock, api.board, api.status_document, guard.still)
    app.cleanup_ctx.append(api.board.beating)
    app.on_shutdown.append(stream.end)
    owners = (*api.owners, guard.pages, stream)
    app.add_routes([*(_route(operation, owners) for operation in OPERATIONS), *guard.pages.routes()])
    app[_FOLLOWERS] = (guard, api)
    return app


def _route(operation: Operation, owners: Sequence[object]) -> web.RouteDef:
    """An operation's, to the one of `owners` that has its handler."""
    owner = next(one for one in owners if hasattr(one, operation.handler))
    handler = getattr(owner, operation.handler)
    if operation.verb is not None:
        handler = partial(handler, verb=operation.verb)
    if operation.media_types == (EVENT_STREAM,):
        return web.get(operation.path, handler, allow_head=False)
    return _ROUTES[operation.method](operation.path, handler)


def follow(app: web.Application, config: Config) -> None:
    """Names, tokens and what is shown are those of `config` from the next request on."""
    for follower in app[_FOLLOWERS]:
        follower.follow(config)


class _Follower(Protocol):
    """What lasts longer than a configuration."""

    def follow(self, config: Config) -> None: ...


_FOLLOWERS: web.AppKey[tuple[_Follower, ...]] = web.AppKey("followers")


class _Api:
    """The handlers, one method each; `owners` have the others."""

    def __init__(
        self, config: Config, controller: Controller, around: Surroundings, started_s: float
    ) -> None:
        self._config = config
        self._controller = controller
        self._alerts = AlertHandlers(around.alerting, controller, around.clock)
        self._around = around
        self.owners = (self, Acting(controller, around.clock), self._alerts)
        self.board = Board(controller, around.clock, self._beside, self._within)
        self._seen: FleetReport | None = None  # as the board shows it
        self._started_s = started_s

    def follow(self, config: Config) -> None:
        """This is the configuration in force now."""
        self._config = config

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers; nothing else is claimed."""
        return json_answer({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """200 once nothing is missing, else 503. Backends are shown and decide nothing."""
        missing = list(self._around.ready())
        endpoints = [endpoint for report in self._controller.reports() for endpoint in report.endpoints]
        backends = views.backends_view(endpoints)
        if missing:
            detail = f"not ready yet: {', '.join(missing)}"
            raise RefusedError(
                503, detail, headers={"Retry-After": "1"}, members={"missing": missing, "backends": backends}
            )
        return json_answer({"status": "ready", "missing": [], "backends": backends})

    async def status(self, request: web.Request) -> web.Response:
        """The instance and all of its rollouts."""
        inputs.refuse_query(request.query.items())
        return json_answer(self.status_document())

    def status_document(self) -> views.JsonObject:
        """What `status` answers."""
        fleet = self._around.fleet
        return {
            **self._about(),
            "uptime_s": round(self._around.clock.monotonic() - self._started_s, 3),
            "refused": dict(self._around.refused()),
            "tunnels": dict(zip(("v1", "v2"), self._around.tunnels(), strict=True)),
            "fleet": None if fleet is None else fleet_view(fleet()),
            "summary": views.summary_view(self._controller.reports()),
            "rollouts": self._rollouts(),
        }

    async def rollouts(self, request: web.Request) -> web.Response:
        """All rollouts."""
        inputs.refuse_query(request.query.items())
        return json_answer({"rollouts": self._rollouts()})

    async def rollout(self, request: web.Request) -> web.Response:
        """One rollout by name."""
        inputs.refuse_query(request.query.items())
        return json_answer(views.rollout_view(self._controller.report(request.match_info["name"])))

    async def events(self, request: web.Request) -> web.Response:
        """A page of the audit, oldest first."""
        query = inputs.read_event_query(request.query.items())
        found = await self._controller.events(after=query.after, limit=query.limit, rollout=query.rollout)
        return json_answer(views.events_view(found, local_only=self._around.archive.is_local()))

    async def store(self, request: web.Request) -> web.Response:
        """Whether the store can be written now."""
        inputs.refuse_query(request.query.items())
        trouble = await self._around.archive.trouble()
        waiting = self._controller.waiting
        return json_answer({"writable": trouble is None, "waiting": waiting, "detail": trouble})

    async def records(self, request: web.Request) -> web.Response:
        """A page of the audit as it was written."""
        query = inputs.read_trail_query(request.query.items())
        return json_answer(await self._around.archive.records(after=query.after, limit=query.limit))

    async def minutes(self, request: web.Request) -> web.Response:
        """One rollout, minute by minute."""
        name = self._controller.report(request.match_info["name"]).state.name
        query = inputs.read_minute_query(request.query.items(), self._around.clock.wall())
        return json_answer(await self._around.archive.minutes(name, query))

    async def seconds(self, request: web.Request) -> web.Response:
        """One rollout, second by second, as far back as that is kept."""
        inputs.refuse_query(request.query.items())
        name = self._controller.report(request.match_info["name"]).state.name
        return json_answer(self.board.seconds.document(name))

    async def latencies(self, request: web.Request) -> web.Response:
        """How the latencies of one rollout spread now."""
        inputs.refuse_query(request.query.items())
        report = self._controller.report(request.match_info["name"])
        return json_answer({"rollout": report.state.name, **views.latencies_view(report.recent)})

    async def explain(self, request: web.Request) -> web.Response:
        """Where a request would go, and why; nothing is sent."""
        query = inputs.read_explain_query(request.query.items())
        if query.rollout is not None:
            self._controller.report(query.rollout)
        explanation = self._controller.explain(
            key=query.key, host=query.host, path=query.path, method=query.method, rollout=query.rollout
        )
        return json_answer(views.explanation_view(explanation))

    async def config(self, request: web.Request) -> web.Response:
        """The configuration in force, without its secrets."""
        inputs.refuse_query(request.query.items())
        return json_answer(redacted(self._config))

    async def openapi(self, request: web.Request) -> web.Response:
        """What can be asked, for machines."""
        inputs.refuse_query(request.query.items())
        return web.Response(body=_described(), content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """Everything that is counted, for a scraper."""
        inputs.refuse_query(request.query.items())
        if self._around.metrics is None:
            raise RefusedError(404, "there are no metrics here")
        body, media_type = await self._around.metrics(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=body, headers={"Content-Type": media_type})

    def _about(self) -> views.JsonObject:
        loaded = self._around.loaded()
        return {
            "instance": self._around.instance,
            "version": __version__,
            "workers": self._around.workers(),
            "config": views.loaded_view(loaded.at, loaded.error),
            "store": {
                "waiting": self._controller.waiting,
                "trouble": self._controller.store_trouble or None,
            },
        }

    def _beside(self) -> dict[str, views.JsonObject | None]:
        """What the board shows beside the rollouts; None for what there is not."""
        self._seen = None if self._around.fleet is None else self._around.fleet()
        return {
            "about": self._about(),
            "alerts": self._alerts.document(),
            "fleet": None if self._seen is None else board_view(self._seen),
        }

    def _within(self, name: str) -> views.JsonObject:
        """What the board shows of one rollout besides."""
        return {} if self._seen is None else {"serving": serving_view(self._seen, name)}

    def _rollouts(self) -> list[views.JsonObject]:
        return [views.rollout_view(report) for report in self._controller.reports()]


class _Guard:
    """The middleware that lets a request through to its route."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._addresses = AddressBook(config.admin)
        self._doorkeeper = Doorkeeper(config.admin.tokens)
        self._clock = clock
        self._open = _open_to_all(config)
        self.pages = Pages(self._doorkeeper, clock)

    def follow(self, config: Config) -> None:
        """Let in whom `config` names; who failed too often stays known."""
        self._addresses = AddressBook(config.admin)
        self._doorkeeper.follow(config.admin.tokens)
        self._open = _open_to_all(config)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Address, origin, identity, role, in this order; then the route."""
        known = request.path not in self._open
        if known:
            known = self._admit(request)
        if isinstance(request.protocol, Caller):
            request.protocol.visit.asks(known=known)
        return await handler(request)

    def still(self, request: web.Request) -> bool:
        """Whether whoever was let in once would be now: a session may have ended, a token may be gone."""
        identity = self.pages.visitor(request) or self._doorkeeper.bearer(_authorization(request))
        return identity is not None

    def _admit(self, request: web.Request) -> bool:
        """Whether it is known who asks; the pages are for whoever reaches us."""
        host = request.headers.get("Host", "")
        self._addresses.check_host(host)
        if request.path in FILES and request.method in {"GET", "HEAD"}:
            return False  # a link on any page may lead here; the files say nothing, and act on nothing
        self._addresses.check_origin(request.headers, host)
        if request.path in OPEN:
            return False
        authorization = _authorization(request)
        identity = None if authorization else self.pages.visitor(request)
        if identity is None:
            now = self._clock.monotonic()
            identity = self._doorkeeper.identify(authorization, request.remote or "", now)
        authorise(identity, request.method)
        request[IDENTITY] = identity
        return True


def _authorization(request: web.Request) -> list[str]:
    return request.headers.getall("Authorization", [])


def _open_to_all(config: Config) -> frozenset[str]:
    return PROBES | {METRICS} if config.telemetry.metrics.open else PROBES


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (DualpathError, web.HTTPException) as error:
        return problem_response(problem_of(error), request.rel_url.raw_path)
    except Exception as error:
        log.exception("the admin API failed on %r %r", request.method, request.path)
        return problem_response(problem_of(error), request.rel_url.raw_path)

"""The sizes that `scale` compares: for each, a configuration and the requests that are sent.

Pure: what is started and measured is `scale`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.peers import QUIET_GUARDS

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY_ROUTES = 1_000
MANY_USERS = 1_000_000
MANY_CONNECTIONS = 10_000
MANY_ENDPOINTS = 100
MANY_ROLLOUTS = 50
BUSY = 64
ASKING = 20_000
"""Different users that ask, so that a million of them do not shrink to the few that a cache holds."""


@dataclass(frozen=True, slots=True)
class Size:
    """One size on one axis. `turns` connections take turns, the other ones of `connections` stay idle."""

    axis: str
    label: str
    requests: Sequence[bytes]
    routes: int = 1
    users: int = 0
    endpoints: int = 1
    rollouts: int = 1
    connections: int = BUSY
    turns: int = BUSY

    @property
    def name(self) -> str:
        """For files and children."""
        return f"{self.axis} {self.label}".replace(" ", "-").replace(",", "")

    def stands_as(self, other: Size) -> bool:
        """Whether one proxy, with the same connections, serves for both."""
        return replace(self, label="", turns=0) == replace(other, label="", turns=0)


def sizes(users: int = MANY_USERS, connections: int = MANY_CONNECTIONS) -> dict[str, list[Size]]:
    """By axis, from the smallest on."""
    plain = requests([f"/items/{number}" for number in range(10)])
    return {
        "routes": [
            Size("routes", "1", requests(_service_paths(MANY_ROUTES))),
            Size("routes", f"{MANY_ROUTES:,}", requests(_service_paths(MANY_ROUTES)), routes=MANY_ROUTES),
        ],
        "overridden users": [
            Size("overridden users", "0", requests(["/items"], every=users // ASKING)),
            Size("overridden users", f"{users:,}", requests(["/items"], every=users // ASKING), users=users),
        ],
        "connections": [
            Size("connections", "1", plain, connections=1, turns=1),
            Size("connections", f"{BUSY}", plain),
            Size("connections", f"{connections:,} idle", plain, connections=connections),
            Size(
                "connections", f"{connections:,} in turn", plain, connections=connections, turns=connections
            ),
        ],
        "endpoints": [
            Size("endpoints", "1", plain),
            Size("endpoints", f"{MANY_ENDPOINTS}", plain, endpoints=MANY_ENDPOINTS),
        ],
        "rollouts": [
            Size("rollouts", "1", requests(_service_paths(MANY_ROLLOUTS))),
            Size(
                "rollouts",
                f"{MANY_ROLLOUTS}",
                requests(_service_paths(MANY_ROLLOUTS)),
                rollouts=MANY_ROLLOUTS,
            ),
        ],
    }


def requests(targets: Sequence[str], *, every: int = 1) -> list[bytes]:
    """One GET for each of `ASKING` users, whose numbers are `every` apart, of the targets in turn."""
    return [
        b"GET %b HTTP/1.1\r\nHost: bench\r\nX-User-Id: %b\r\n\r\n"
        % (targets[number % len(targets)].encode(), user(number * every).encode())
        for number in range(ASKING)
    ]


def user(number: int) -> str:
    """The key of a user."""
    return f"user-{number:07d}"


def configuration(size: Size, *, port: int, backends: Sequence[int], store: str) -> str:
    """proxy.toml for a size; `backends` are ports, of which each path takes as many as it has endpoints."""
    endpoints = ", ".join(f'"http://127.0.0.1:{one}"' for one in backends[: size.endpoints])
    tables = "".join(_rollout(number, size) for number in range(size.rollouts))
    return f"""
[listen]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
[store]
url = "{store}"
[log]
level = "warning"
[backends.v1]
endpoints = [{endpoints}]
[backends.v2]
endpoints = [{endpoints}]
{tables}"""


def _rollout(number: int, size: Size) -> str:
    """Half of the users to each path; two guards that never fire."""
    listed = ", ".join(f'"{user(one)}"' for one in range(size.users))
    return f"""
[[rollouts]]
name = "rollout-{number}"
routes = [{_routes(number, size)}]
key = ["header:X-User-Id", "client_ip"]
percentage = 50
allow = {{ v2 = [{listed}] }}
{QUIET_GUARDS}"""


def _routes(number: int, size: Size) -> str:
    """All the rest to the first rollout; one service to each of the others, or all services to the first."""
    if number:
        return f'{{ prefix = "/service-{number}/v1" }}'
    services = "".join(
        f', {{ prefix = "/service-{one}/v1", methods = ["GET"] }}' for one in range(1, size.routes)
    )
    return f'{{ prefix = "/" }}{services}'


def _service_paths(count: int) -> list[str]:
    return [f"/service-{number}/v1/items/{number}" for number in range(count)]

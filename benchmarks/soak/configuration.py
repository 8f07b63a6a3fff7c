"""The proxy's configuration in a soak, and the file that it is reloaded from.

Owns the file. A changed one differs in limits alone: with another table of the rollout its figures would
begin anew, and could not be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CONFIGURATION = """
[listen]
address = "127.0.0.1:{listen}"
workers = {workers}
expose_path = true
body_idle_timeout = "{body_idle}"
drain_timeout = "10s"
[admin]
address = "127.0.0.1:{admin}"
[store]
url = "sqlite:///{store}"
[log]
level = "warning"
[backends.v1]
endpoints = ["http://127.0.0.1:{v1}"]
response_timeout = "{response}"
keepalive_timeout = "500ms"
[backends.v2]
endpoints = ["http://127.0.0.1:{v2}"]
response_timeout = "2s"
keepalive_timeout = "500ms"
[[rollouts]]
name = "default"
key = ["header:X-User-Id"]
percentage = 50
[rollouts.judge]
tick = "200ms"
[[rollouts.guards]]
metric = "error_rate"
above = 0.8
window = "2s"
min_requests = 100
"""


class Configuration:
    """`listen` and `admin` are ports of ours, `backends` those of v1 and v2."""

    def __init__(
        self, directory: Path, workers: int, ports: tuple[int, int], backends: tuple[int, int]
    ) -> None:
        self.file = directory / "proxy.toml"
        self.listen, self.admin = ports
        self._store = directory / "state.db"
        self._workers = workers
        self._backends = backends

    def __repr__(self) -> str:
        return f"<Configuration {self.file}>"

    def write(self, *, changed: bool = False, faulty: bool = False) -> None:
        """Writes it whole: as at first, with other limits, or with a key that nobody knows."""
        text = _CONFIGURATION.format(
            listen=self.listen,
            workers=self._workers,
            admin=self.admin,
            store=self._store,
            v1=self._backends[0],
            v2=self._backends[1],
            body_idle="20s" if changed else "30s",
            response="5s" if changed else "8s",
        )
        written = self.file.with_suffix(".new")
        written.write_text(text + ("\n[unknown]\n" if faulty else ""))
        written.replace(self.file)

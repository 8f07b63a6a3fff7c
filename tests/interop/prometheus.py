"""A running Prometheus, by deploy/prometheus with the addresses exchanged, and its answers to queries.

Owns the server and its HTTP API as far as the tests need it. It must not know what is measured.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml  # type: ignore[import-untyped]

from tests.e2e.proxy_process import REPOSITORY
from tests.interop.programs import found, free_ports, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

DIRECTORY = REPOSITORY / "deploy/prometheus"
COME_BY = "Debian's package is `prometheus`"
SCRAPE_EVERY = "250ms"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, target: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        async with self.session.get(f"{self.url}/api/v1/{target}", params=parameters) as answer:
            document = await answer.json()
        assert document["status"] == "success", document
        return document["data"]

    async def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant vector: the value of each series, by its labels."""
        data = await self.ask("query", query=expression)
        assert data["resultType"] == "vector", data
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in data["result"]}

    async def value(self, expression: str) -> float | None:
        """Of the only series, or nothing while there is none."""
        series = list((await self.query(expression)).values())
        assert len(series) < 2, series
        return series[0] if series else None


@asynccontextmanager
async def running_prometheus(directory: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """One that scrapes each job's target, often, by the rules of deploy/prometheus."""
    program = found("prometheus", COME_BY)
    (port,) = free_ports(1)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(targets)))
    command = (
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    )
    url = f"http://127.0.0.1:{port}"
    async with (
        running(command, f"{url}/-/ready", directory / "prometheus.log", {}),
        aiohttp.ClientSession() as session,
    ):
        yield Prometheus(url, session)


def configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    """deploy/prometheus/prometheus.yml with these targets, by the name of the job. Nothing else of it is
    changed but how often it looks, where its rules lie, and who is told of alerts: nobody.
    """
    document: dict[str, Any] = yaml.safe_load((DIRECTORY / "prometheus.yml").read_text())
    document["global"] = {
        **document.get("global", {}),
        "scrape_interval": SCRAPE_EVERY,
        "scrape_timeout": SCRAPE_EVERY,
        "evaluation_interval": SCRAPE_EVERY,
    }
    document["rule_files"] = [str(DIRECTORY / name) for name in document["rule_files"]]
    document.pop("alerting", None)
    for job in document["scrape_configs"]:
        job.pop("scrape_interval", None)
        job.pop("scrape_timeout", None)
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return document

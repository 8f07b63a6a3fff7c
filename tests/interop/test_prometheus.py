"""A real Prometheus with the configuration and the rules of deploy/prometheus: it reads the proxy, and its
answers are the truth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e import answers
from tests.e2e.proxy_process import config, running_proxy
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually
from tests.interop.programs import found, said
from tests.interop.prometheus import COME_BY, DIRECTORY, running_prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess
    from tests.e2e.raw_backend import Exchange, RawBackend
    from tests.interop.collector import Collector
    from tests.interop.prometheus import Prometheus

RULES_TEST = DIRECTORY.parents[1] / "tests/interop/rules_test.yml"
READ_S = 10.0
SERVER = "http_server_request_duration_seconds"
CLIENT = "http_client_request_duration_seconds"
REQUESTS = 100


@pytest.mark.parametrize("subject", [("config", "prometheus.yml"), ("rules", "rules.yml")])
async def test_promtool_accepts_what_is_shipped(subject: tuple[str, str]) -> None:
    promtool = found("promtool", COME_BY)
    code, output = await said(promtool, "check", subject[0], str(DIRECTORY / subject[1]))
    assert code == 0, output
    assert "SUCCESS" in output


async def test_the_alerts_that_are_shipped_fire_when_they_should() -> None:
    promtool = found("promtool", COME_BY)
    code, output = await said(promtool, "test", "rules", str(RULES_TEST))
    assert code == 0, output


async def failing_where_told(exchange: Exchange) -> None:
    """Answers 503 below /failing."""
    if exchange.request.target.startswith("/failing"):
        await answers.status("503 Service Unavailable")(exchange)
    else:
        await normal(exchange)


async def test_queries_tell_the_true_ratios(
    v1: RawBackend, v2: RawBackend, collector: Collector, tmp_path: Path
) -> None:
    """By Prometheus' own arithmetic on what it has read, and by what the backends have counted."""
    v2.answer = failing_where_told
    document = config(v1.url, v2.url, listen={"workers": 2}, rollout={"percentage": 50})
    document["telemetry"] = {
        "otlp_endpoint": collector.otlp_url,
        "traces": {"sample": 100, "every": "200ms"},
        "metrics": {"push_every": "0s"},
    }
    async with running_proxy(document, tmp_path) as proxy:
        admin = "{}:{}".format(*proxy.admin)
        targets = {"dualpath": admin, "collector": collector.own_metrics}
        async with running_prometheus(tmp_path, targets) as prometheus:
            await check_targets(prometheus, set(targets))
            await check_rules(prometheus)
            assert await prometheus.value("dualpath_rollout_weight_ratio") == 0.5
            await send(proxy)
            seen = f"sum({CLIENT}_count) == {v1.count() + v2.count()}"
            await eventually(lambda: holds(prometheus, seen), READ_S)
            await eventually(lambda: holds(prometheus, f"sum({SERVER}_count) == {REQUESTS}"), READ_S)
            await check_ratios(prometheus, v1, v2)
            await eventually(lambda: len(collector.spans()) == REQUESTS + v1.count() + v2.count(), READ_S)
            await check_exemplars(prometheus, collector)
            assert (await proxy.command("rollback", reason="for the alert")).status == 200
            fires = 'ALERTS{alertname="DualpathRolledBack",alertstate="firing",rollout="default"} == 1'
            await eventually(lambda: holds(prometheus, fires), READ_S)


async def check_targets(prometheus: Prometheus, jobs: set[str]) -> None:
    """Each is up, without a complaint."""

    async def all_up() -> bool:
        return await prometheus.value("sum(up)") == len(jobs)

    await eventually(all_up, READ_S)
    active = (await prometheus.ask("targets"))["activeTargets"]
    assert {one["labels"]["job"] for one in active} == jobs
    assert {(one["health"], one["lastError"]) for one in active} == {("up", "")}


async def check_rules(prometheus: Prometheus) -> None:
    """All of them are there, and each evaluates."""

    async def evaluated() -> bool:
        return {rule["health"] for rule in await rules(prometheus)} == {"ok"}

    await eventually(evaluated, READ_S)
    assert [rule["lastError"] for rule in await rules(prometheus) if rule.get("lastError")] == []


async def rules(prometheus: Prometheus) -> list[dict[str, str]]:
    """As they are loaded."""
    groups = (await prometheus.ask("rules"))["groups"]
    found_rules = [rule for group in groups for rule in group["rules"]]
    assert found_rules
    return found_rules


async def send(proxy: ProxyProcess) -> None:
    """So many requests of twenty users, every fourth of which fails at v2; they are all answered."""
    for number in range(REQUESTS):
        target = f"/failing/{number}" if number % 4 == 0 else f"/orders/{number}"
        answer = await fetch(proxy.listen, "GET", target, ((b"X-User-Id", b"u%d" % (number % 20)),))
        assert answer.status == 200


async def check_ratios(prometheus: Prometheus, v1: RawBackend, v2: RawBackend) -> None:
    """What Prometheus makes of it is what the backends have counted."""
    failed = len([one for one in v2.received if one.target.startswith("/failing")])
    assert failed > 0
    for expression, true in (
        (
            f'sum({CLIENT}_count{{path="v2",status="5xx"}}) / sum({CLIENT}_count{{path="v2"}})',
            failed / v2.count(),
        ),
        (f'sum({SERVER}_count{{path="v2"}}) / sum({SERVER}_count)', v2.count() / REQUESTS),
        (f'sum({CLIENT}_count{{path="v1"}}) / sum({CLIENT}_count)', v1.count() / (v1.count() + v2.count())),
        (f'sum({SERVER}_count{{status="2xx"}}) / sum({SERVER}_count)', 1.0),
    ):
        assert await prometheus.value(expression) == pytest.approx(true), expression

    async def fallbacks_told() -> bool:
        return await prometheus.value("sum(dualpath_fallbacks_total)") == failed

    await eventually(fallbacks_told, READ_S)


async def check_exemplars(prometheus: Prometheus, collector: Collector) -> None:
    """They lead from a bucket to a span that the collector has."""
    now = time.time()
    window = {"start": str(now - 60), "end": str(now + 1)}
    series = await prometheus.ask("query_exemplars", query=f"{CLIENT}_bucket", **window)
    labels = [one["labels"] for each in series for one in each["exemplars"]]
    assert labels
    spans = {(span.trace_id, span.span_id) for span in collector.spans() if span.kind == "CLIENT"}
    assert {(one["trace_id"], one["span_id"]) for one in labels} <= spans


async def holds(prometheus: Prometheus, comparison: str) -> bool:
    """Whether a comparison filters nothing out."""
    return await prometheus.value(comparison) is not None

"""Alert rules beside the judge: who watches what, and over which reloads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxy.controlplane.rule_watch import RuleWatch
from proxy.core.gauges import Surroundings, SystemReport
from tests.controlplane.rig import Rig, config
from tests.fakes import traffic

if TYPE_CHECKING:
    import pytest

    from proxy.core.alert_rules import RuleReading

RULE = {"name": "errors", "metric": "error_rate", "above": 0.1, "window": "2s", "severity": "critical"}
BUSY = {"name": "busy", "metric": "host_cpu", "above": 0.9}


def with_rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"alerts": {"rules": list(rules)}}


async def opened(*rules: dict[str, Any]) -> Rig:
    rig = Rig(config({"percentage": 30}, **with_rules(*rules)))
    await rig.controller.open()
    return rig


async def test_a_rule_is_announced_when_it_fires_and_when_it_ends_and_moves_nothing() -> None:
    rig = await opened(RULE)
    await rig.second(traffic(100, 40, v2_errors=20))
    await rig.second(traffic(100, 40, v2_errors=20))
    (fired,) = rig.announced
    assert (str(fired.kind), str(fired.severity), fired.subject) == ("rule", "critical", "errors")
    assert (fired.rollout, fired.value, fired.limit, fired.sample) == ("default", 0.5, 0.1, 40)
    assert fired.percentage == 30.0
    assert fired.exemplars == ("trace of default",)
    for _ in range(3):
        await rig.second(traffic(100, 40))
    assert [notice.resolved for notice in rig.announced] == [False, True]
    assert rig.state().weight == 30_000


async def test_a_reload_that_changes_a_rule_resolves_what_fires_by_it() -> None:
    rig = await opened(RULE)
    await rig.second(traffic(100, 40, v2_errors=20))

    async def swap(_: object) -> None:
        rig.evidence.become(1)

    await rig.controller.replace(config({"percentage": 30}, **with_rules(RULE)), swap)
    assert len(rig.announced) == 1, "the same rule goes on"
    await rig.controller.replace(config({"percentage": 30}), swap)
    assert [notice.resolved for notice in rig.announced] == [False, True]
    assert rig.announced[-1].reason == "the configuration has changed"


async def test_a_reload_that_removes_a_rollout_resolves_what_fires_there() -> None:
    rig = await opened(RULE)
    await rig.second(traffic(100, 40, v2_errors=20))

    async def swap(_: object) -> None:
        rig.evidence.become(1)

    await rig.controller.replace(config({"name": "other"}, **with_rules(RULE)), swap)
    fired, resolved = rig.announced
    assert (fired.rollout, resolved.resolved, resolved.key) == ("default", True, fired.key)


def test_what_concerns_the_process_is_watched_once() -> None:
    heard: list[tuple[str, RuleReading]] = []
    rollouts = [{"name": name, "routes": [{"prefix": f"/{name}"}]} for name in ("a", "b")]
    watch = RuleWatch(config(*rollouts, **with_rules(BUSY)), lambda name, one: heard.append((name, one)))
    watch.surround(Surroundings(system=SystemReport(host_cpu=0.95)))
    watch.look(1.0)
    watch.observe("a", 1.0, traffic())
    ((name, reading),) = heard
    assert (name, reading.rule.name, reading.firing) == ("", "busy", True)
    assert repr(watch) == "RuleWatch([''])"


def test_one_that_cannot_be_read_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def tell(name: str, _: RuleReading) -> None:
        heard.append(name)
        if name == "a":
            raise ZeroDivisionError

    rollouts = [{"name": name, "routes": [{"prefix": f"/{name}"}]} for name in ("a", "b")]
    watch = RuleWatch(config(*rollouts, **with_rules(RULE)), tell)
    for name in ("a", "b"):
        watch.observe(name, 1.0, traffic(100, 40, v2_errors=20))
    with caplog.at_level(logging.ERROR):
        watch.look(1.0)
    assert heard == ["a", "b"]
    assert "a: its alert rules cannot be read" in caplog.text

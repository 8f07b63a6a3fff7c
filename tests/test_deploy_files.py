"""What is under deploy/ fits together: names, ports, files and versions, as far as that shows on paper."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from proxy.config.loading import load

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
COLLECTOR = (DEPLOY / "otel/collector.yaml").read_text()
SHA256 = "DUALPATH__ADMIN__TOKENS__0__SHA256"


def binds() -> list[tuple[str, str]]:
    """Service and source of each mounted file or folder."""
    mounts = [(name, mount) for name, one in SERVICES.items() for mount in one.get("volumes", ())]
    return [(name, mount.partition(":")[0]) for name, mount in mounts if mount.startswith(".")]


@pytest.mark.parametrize(("service", "source"), binds())
def test_what_is_mounted_is_there(service: str, source: str) -> None:
    assert (DEPLOY / source).exists(), service


def test_volumes_and_dependencies_are_declared() -> None:
    named = {mount.partition(":")[0] for one in SERVICES.values() for mount in one.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == COMPOSE["volumes"].keys()
    assert {on for one in SERVICES.values() for on in one.get("depends_on", ())} <= SERVICES.keys()


def test_only_clients_reach_it_from_outside() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["8080:8080"]


def test_the_proxy_finds_its_backends_and_the_collector() -> None:
    config = load(DEPLOY / "compose/proxy.toml", {SHA256: "0" * 64})
    for path in ("v1", "v2"):
        (endpoint,) = getattr(config.backends, path).endpoints
        command = SERVICES[path]["command"]
        assert urlsplit(endpoint).hostname == path == command[command.index("--version") + 1]
        assert urlsplit(endpoint).port == int(command[command.index("--port") + 1])
        assert endpoint.rpartition(":")[2] in str(SERVICES[path]["healthcheck"]["test"])
    otlp = urlsplit(config.telemetry.otlp_endpoint or "")
    assert otlp.hostname in SERVICES
    assert SERVICES["collector"]["environment"]["OTELCOL_HTTP"].rpartition(":")[2] == str(otlp.port)
    assert config.telemetry.metrics.open, "Prometheus has no token"


def test_prometheus_and_grafana_look_where_somebody_is() -> None:
    document = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    targets = [
        target
        for job in document["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    hosts = {target.partition(":")[0] for target in targets}
    assert {"proxy", "collector"} <= hosts <= SERVICES.keys()
    admin = load(DEPLOY / "compose/proxy.toml", {SHA256: "0" * 64}).admin
    assert "proxy" in admin.hosts
    assert f"proxy:{admin.address.rpartition(':')[2]}" in targets
    assert all((DEPLOY / "prometheus" / name).exists() for name in document["rule_files"])
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert urlsplit(source["url"]).hostname == "prometheus"


def test_the_collector_reads_every_variable_that_it_is_given() -> None:
    given = {name for name in SERVICES["collector"]["environment"] if name.startswith("OTELCOL_")}
    assert given <= set(re.findall(r"\$\{env:(\w+)", COLLECTOR))


def test_the_collector_is_built_of_what_its_configuration_names() -> None:
    recipe = yaml.safe_load((DEPLOY / "otel/builder.yaml").read_text())
    configuration = yaml.safe_load(COLLECTOR)
    for section, suffix in (
        ("receivers", "receiver"),
        ("processors", "processor"),
        ("exporters", "exporter"),
        ("extensions", "extension"),
    ):
        modules = {part["gomod"].partition(" ")[0].rpartition("/")[2] for part in recipe[section]}
        wanted = {name.partition("/")[0].replace("_", "") + suffix for name in configuration[section]}
        assert wanted <= modules
    assert SERVICES["collector"]["image"].endswith(f":{recipe['dist']['version']}")

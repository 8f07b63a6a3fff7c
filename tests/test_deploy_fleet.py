"""The compose file and the manifests of a fleet fit together, and with what dualpath reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from proxy.config.loading import load, parse

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.fleet.yaml").read_text())
MANIFESTS: dict[tuple[str, str], Any] = {
    (one["kind"], one["metadata"]["name"]): one
    for one in yaml.safe_load_all((DEPLOY / "kubernetes/dualpath.yaml").read_text())
}
LABELS = {"app.kubernetes.io/name": "dualpath"}
DEPLOYMENT = MANIFESTS["Deployment", "dualpath"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
TOKEN = {"DUALPATH__ADMIN__TOKENS__0__SHA256": "0" * 64}
# What the image sets for all that run from it wins over their files.
IMAGE = dict(re.findall(r"(DUALPATH__\w+)=(\S+)", (DEPLOY.parent / "Dockerfile").read_text()))


def test_the_three_of_compose_share_a_store_and_nothing_else() -> None:
    config = load(DEPLOY / "compose/fleet.toml", IMAGE | COMPOSE["services"]["a"]["environment"] | TOKEN)
    proxies = [COMPOSE["services"][name] for name in "abc"]
    assert config.store.url.startswith("redis://valkey:")
    assert config.listen.address == IMAGE["DUALPATH__LISTEN__ADDRESS"]
    assert "valkey" in COMPOSE["services"]
    assert {one["hostname"] for one in proxies} == set(config.admin.hosts)
    mounts = [mount for one in proxies for mount in one["volumes"] if mount.startswith("copy-")]
    assert {mount.partition(":")[0] for mount in mounts} <= COMPOSE["volumes"].keys()
    folders = [mount.partition(":")[2] for mount in mounts]
    assert len(set(mounts)) == 3
    assert all(config.store.copy_file.startswith(f"{folder}/") for folder in folders)
    for path in ("v1", "v2"):
        (endpoint,) = getattr(config.backends, path).endpoints
        assert urlsplit(endpoint).hostname == path
        assert path in COMPOSE["services"]


def test_only_clients_reach_the_three_from_outside() -> None:
    ports = [port for one in COMPOSE["services"].values() for port in one.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == [
        "8081:8080",
        "8082:8080",
        "8083:8080",
    ]


def test_the_configuration_in_the_cluster_can_be_read_and_matches_the_ports() -> None:
    text = MANIFESTS["ConfigMap", "dualpath"]["data"]["proxy.toml"]
    config = parse(text, {**TOKEN, "DUALPATH__STORE__URL": "rediss://:secret@valkey.data.svc:6379/0"})
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    assert config.listen.address.endswith(f":{ports['http']}")
    assert config.admin.address.endswith(f":{ports['admin']}")
    assert str(config.admin.hosts[0]) in {name for kind, name in MANIFESTS if kind == "Service"}
    mounts = {one["mountPath"]: one["name"] for one in CONTAINER["volumeMounts"]}
    assert mounts.keys() >= {"/etc/dualpath", "/var/lib/dualpath", "/tmp"}  # noqa: S108 - in a container
    assert config.store.copy_file.startswith("/var/lib/dualpath/")
    assert set(mounts.values()) == {one["name"] for one in POD["volumes"]}
    pause = re.search(r"sleep\((\d+)\)", CONTAINER["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pause is not None
    assert POD["terminationGracePeriodSeconds"] > int(pause[1]) + config.listen.drain_timeout_s


def test_every_variable_of_the_pod_is_one_that_is_read() -> None:
    text = MANIFESTS["ConfigMap", "dualpath"]["data"]["proxy.toml"]
    given = {"store-url": "redis://store:6379/0", "token-sha256": "0" * 64}
    environ = {
        one["name"]: given[one["valueFrom"]["secretKeyRef"]["key"]]
        if "secretKeyRef" in one["valueFrom"]
        else "dualpath-7d9c-x2x4z"
        for one in CONTAINER["env"]
    }
    config = parse(text, IMAGE | environ)
    assert config.store.url == given["store-url"]
    assert config.fleet.instance == config.fleet.advertise == "dualpath-7d9c-x2x4z"


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_all_select_the_same_pods(kind: str) -> None:
    assert DEPLOYMENT["template"]["metadata"]["labels"] == LABELS
    for (found, _), one in MANIFESTS.items():
        if found == kind:
            selector = one["spec"].get("selector", one["spec"].get("podSelector"))
            assert selector.get("matchLabels", selector) == LABELS


def test_probes_and_services_name_ports_of_the_container() -> None:
    names = {one["name"] for one in CONTAINER["ports"]}
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] in names
    for (kind, _), one in MANIFESTS.items():
        if kind == "Service":
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= names
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_it_scales_by_something_that_is_counted_and_never_below_what_may_be_missing() -> None:
    scaler = MANIFESTS["HorizontalPodAutoscaler", "dualpath"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == "dualpath"
    assert scaler["minReplicas"] <= DEPLOYMENT["replicas"] <= scaler["maxReplicas"]
    (pods,) = [one["pods"] for one in scaler["metrics"] if one["type"] == "Pods"]
    metrics = (DEPLOY.parent / "docs/metrics.md").read_text()
    assert f"`{pods['metric']['name']}`" in metrics
    assert MANIFESTS["PodDisruptionBudget", "dualpath"]["spec"]["maxUnavailable"] < scaler["minReplicas"]


def test_nothing_in_the_pod_runs_as_root_or_writes_where_it_must_not() -> None:
    assert POD["securityContext"]["runAsNonRoot"]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}

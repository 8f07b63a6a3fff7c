"""The collector: made once by its own builder from deploy/otel/builder.yaml, and kept outside the tree.

Owns the build and the place where it is kept. `python -m tests.interop.building` builds in sight,
for it takes minutes; without Go it says so, and the tests tell what follows.

The builder's own way to its modules is `go mod tidy`, which also wants what the tests of all dependencies
use: modules that no collector is made of, and not every module proxy has all of them. So the module file is
written here, of the very versions that builder.yaml names, and the compiler fetches what it needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.e2e.proxy_process import REPOSITORY

RECIPE = REPOSITORY / "deploy/otel/builder.yaml"
MODULES = "go.opentelemetry.io/collector"
PARTS = ("receivers", "processors", "exporters", "extensions", "connectors", "providers")


def built_collector(go: str) -> Path:
    """The collector's path; builds it where it has not been built by this recipe and compiler."""
    version = _said(go, "env", "GOVERSION", "GOARCH")
    key = hashlib.sha256(RECIPE.read_bytes() + version + Path(__file__).read_bytes()).hexdigest()[:16]
    kept = _cache() / f"otelcol-{key}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / "otelcol").exists():
            _build(go, kept)
    return kept / "otelcol"


def _build(go: str, kept: Path) -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    with tempfile.TemporaryDirectory(dir=kept) as directory:
        place = Path(directory)
        sources = place / recipe["dist"]["output_path"]
        environment = {**os.environ, "GOBIN": directory, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}

        def run(*command: str, where: Path = place) -> None:
            subprocess.run(command, cwd=where, env=environment, check=True, stdout=sys.stderr)

        run(go, "install", f"{MODULES}/cmd/builder@v{recipe['dist']['version']}")
        builder = (str(place / "builder"), "--config", str(RECIPE), "--skip-get-modules")
        run(*builder, "--skip-compilation")
        run(go, "mod", "init", f"{MODULES}/cmd/builder", where=sources)
        run(go, "mod", "edit", *(f"-require={one}" for one in _required(recipe)), where=sources)
        run(*builder, "--skip-generate")
        shutil.move(sources / recipe["dist"]["name"], kept / "otelcol")


def _required(recipe: dict[str, Any]) -> list[str]:
    """Every module that the recipe names, and the one that starts them all, as `path@version`."""
    named = [part["gomod"].replace(" ", "@") for kind in PARTS for part in recipe.get(kind, ())]
    return [f"{MODULES}/otelcol@v{recipe['dist']['version']}", *named]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dualpath"


def _said(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    go = shutil.which("go")
    print(built_collector(go) if go else "no go here: the collector is not built")

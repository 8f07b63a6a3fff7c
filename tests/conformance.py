"""Runs a corpus of raw requests against the proxy: `python -m tests.conformance [DIRECTORY]`, twice, the
second time with one byte in a segment.

The corpus lies beside the repository, where it has been unpacked (`run_corpus.py` and `cases.jsonl`); without
it nothing is run. The runner brings the backends and listens on their ports itself.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from tests.e2e.proxy_process import REPOSITORY, config, running_proxy

CORPUS = REPOSITORY / "../shared/conformance"
LIMIT_S = 600


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, for now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def conforms(corpus: Path, *options: str) -> bool:
    """Whether the runner finds no failure."""
    ports = free_ports(2)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    # Requests of one connection are expected at one backend: whose it is, the client's address decides.
    rollout = {"percentage": 50, "key": ["client_ip"]}
    with tempfile.TemporaryDirectory() as directory:
        async with running_proxy(config(*urls, rollout=rollout), Path(directory)) as proxy:
            runner = await asyncio.create_subprocess_exec(
                sys.executable,
                str(corpus / "run_corpus.py"),
                "--proxy",
                "{}:{}".format(*proxy.listen),
                *(option for port in ports for option in ("--backend-port", str(port))),
                "--corpus",
                str(corpus / "cases.jsonl"),
                *options,
            )
            return await asyncio.wait_for(runner.wait(), LIMIT_S) == 0


async def main() -> int:
    """Exit code: 0 without a failure, or without a corpus."""
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    if not (corpus / "run_corpus.py").exists():
        print("conformance: no corpus beside the repository, skipped")
        return 0
    whole = await conforms(corpus)
    in_segments = await conforms(corpus, "--segment", "1")
    return 0 if whole and in_segments else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

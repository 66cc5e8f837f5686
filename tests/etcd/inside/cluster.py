"""Three real members on loopback addresses of a private network namespace."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tester.etcd.endpoint import Endpoint
from tester.orchestration.paths import cache_dir

if TYPE_CHECKING:
    from pathlib import Path


def binary(version: str) -> Path:
    return cache_dir() / "etcd" / version / "bin" / "etcd"


@dataclass
class Cluster:
    version: str
    directory: Path
    flags: tuple[str, ...] = ()
    names: tuple[str, ...] = ("m1", "m2", "m3")
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def endpoints(self) -> list[Endpoint]:
        return [Endpoint(name, f"127.0.0.{place}", 2379) for place, name in enumerate(self.names, 1)]

    def start(self, name: str) -> None:
        urls = {e.member: f"http://{e.address}" for e in self.endpoints}
        peers = ",".join(f"{member}={url}:2380" for member, url in urls.items())
        client, peer = f"{urls[name]}:2379", f"{urls[name]}:2380"
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    str(binary(self.version)),
                    *("--name", name, "--data-dir", str(self.directory / name)),
                    *("--listen-client-urls", client, "--advertise-client-urls", client),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", peers, "--initial-cluster-state", "new"),
                    *("--heartbeat-interval", "50", "--election-timeout", "500"),
                    *("--grpc-keepalive-min-time", "500ms"),
                    *self.flags,
                ],
                stdout=log,
                stderr=log,
            )

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    async def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        await asyncio.to_thread(self.processes[name].wait)

    def stop_all(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

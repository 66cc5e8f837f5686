"""An agent in a process of its own, with certificates, settings and systemd's end of sd_notify."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from agent_client import AgentClient, ClientTls
from tests.agent.certs import Authority
from tests.agent.settings import agent_settings

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0


def loopback_address() -> str:
    """An address of this machine that nobody else uses: 127.0.0.0/8 is large."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"


class Notifications:
    """The end of sd_notify that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(DEADLINE_SECONDS)

    def wait_for(self, state: str) -> None:
        while self._socket.recv(4096).decode() != state:
            pass

    def close(self) -> None:
        self._socket.close()


class Process:
    """An agent that runs, and a directory with its settings and certificates."""

    def __init__(
        self,
        directory: Path,
        module: str,
        *arguments: str,
        address: str | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """``within``: what the command line begins with, to run elsewhere."""
        self.directory = directory
        self.address = address or loopback_address()
        self.port = 9027
        self.url = f"https://{self.address}:{self.port}"
        self.ca = Authority()
        self._command = [*within, sys.executable, "-m", module, *arguments]
        self.write_ca(self.ca)
        self.ca.issue(directory, "agent", "h1", address=self.address, client=False)
        self.ca.issue(directory, "tester", "tester")
        self.write_settings()
        self.notifications = Notifications(directory / "notify")
        self.process: subprocess.Popen[str] | None = None

    def write_ca(self, *authorities: Authority) -> None:
        (self.directory / "ca.crt").write_bytes(b"".join(authority.pem for authority in authorities))

    def write_settings(self, **changes: object) -> None:
        fields = {"listen_address": self.address, "allowed_hosts": [self.address]} | changes
        text = agent_settings(self.directory, **fields).model_dump_json()
        (self.directory / "agent.json").write_text(text)

    def start(self, **environment: str) -> None:
        with (self.directory / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [*self._command, str(self.directory / "agent.json")],
                cwd=ROOT,
                env=os.environ | {"NOTIFY_SOCKET": str(self.notifications.path)} | environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.notifications.wait_for("READY=1")

    def log(self) -> str:
        return (self.directory / "stderr").read_text()

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Until the agent has said it so often."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.log().count(text) < times:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def reload(self) -> None:
        """SIGHUP, and wait until it is done."""
        times = self.log().count("SIGHUP:") + 1
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_log("SIGHUP:", times)

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what was printed."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, output

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        self.notifications.close()

    def tls(self, name: str = "tester", ca: Path | None = None) -> ClientTls:
        return ClientTls(
            ca=ca or self.directory / "ca.crt",
            certificate=self.directory / f"{name}.crt",
            key=self.directory / f"{name}.key",
        )

    def client(self, name: str = "tester") -> AgentClient:
        return AgentClient(self.url, tls=self.tls(name), timeout_seconds=DEADLINE_SECONDS)

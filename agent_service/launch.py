"""From a member spec to a command line, with everything checked that can be checked before etcd starts."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from agent_service import allowlist, builds, datadir, membertls
from agent_service.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.models import MemberSpec
    from agent_service.settings import AgentSettings


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where etcd listens."""

    address: str
    port: int

    @classmethod
    def of(cls, url: str) -> HostPort:
        """Address and port of a URL that the wire model has validated."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{url} has no address or port")
        return cls(parts.hostname, parts.port)


def data_dir_of(settings: AgentSettings, spec: MemberSpec) -> Path:
    """Where the member's data lies: as asked, or a directory of its name under the first root."""
    return Path(spec.data_dir) if spec.data_dir is not None else settings.data_roots[0] / spec.name


def etcd_argv(
    binary: Path, spec: MemberSpec, data_dir: Path, tls_flags: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command line of a member; flags of the request come last, sorted."""
    cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.initial_cluster.items()))
    return (
        str(binary),
        f"--name={spec.name}",
        f"--data-dir={data_dir}",
        f"--listen-client-urls={spec.client_url}",
        f"--advertise-client-urls={spec.client_url}",
        f"--listen-peer-urls={spec.peer_url}",
        f"--initial-advertise-peer-urls={spec.peer_url}",
        f"--initial-cluster={cluster}",
        f"--initial-cluster-state={spec.initial_cluster_state}",
        f"--initial-cluster-token={spec.initial_cluster_token}",
        "--logger=zap",
        "--log-outputs=stderr",
        *tls_flags,
        *(f"--{name}={value}" for name, value in sorted(spec.flags.items())),
    )


def check_spec(settings: AgentSettings, spec: MemberSpec) -> Path:
    """Everything about a spec that can be judged while the member does not run; returns the etcd binary.

    Raises:
        RefusedError: a flag or variable that is not allowed, a cluster that does not hold this member, a
            directory that is not the agent's, a port that is taken.
        UnavailableError: the version is missing or not executable.
    """
    allowlist.check_flags(spec.flags)
    allowlist.check_variables(spec.env)
    if spec.initial_cluster.get(spec.name) != spec.peer_url:
        raise RefusedError(
            f"initial_cluster does not list {spec.name} at {spec.peer_url}",
            remedy="list every member of the cluster, this one included, with its peer URL",
        )
    membertls.check(settings, spec)
    binary = builds.etcd_binary(settings.etcd_root, spec.version)
    datadir.check_usable(data_dir_of(settings, spec), settings.data_roots)
    for endpoint in (HostPort.of(spec.client_url), HostPort.of(spec.peer_url)):
        check_port_free(endpoint)
    return binary


def check_port_free(endpoint: HostPort) -> None:
    """Bind and let go, the way etcd will bind.

    Raises:
        RefusedError: the port is taken (by whom, if it can be known), or the address is not this host's.
    """
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.address, endpoint.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise RefusedError(
                    f"port {endpoint.port} on {endpoint.address} is taken by {_listener(endpoint.port)}",
                    remedy="stop that process, or give the member another port",
                ) from error
            raise RefusedError(
                f"cannot listen on {endpoint.address} port {endpoint.port}: {os.strerror(error.errno or 0)}",
                remedy="use an address of this host and a port that etcd may bind",
            ) from error


def _listener(port: int) -> str:
    """Who listens on a port, as a person reads it."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.pid is None or not connection.laddr:
            continue
        if connection.laddr.port == port:
            with suppress(psutil.NoSuchProcess):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process that cannot be seen from here"

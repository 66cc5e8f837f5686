"""Switch one host on and off.

The process that holds a host outlives the command that started it; a file beside the host's root says which
it is (pid and start time, so that a recycled pid is never taken for it). Switching on forks, so it runs as a
command of its own, which the role ``lab_host`` and :class:`~tester.orchestration.lab.control.Lab` both call::

    python -m tester.orchestration.lab.machine LAB HOST
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tester.orchestration.lab import cgroups
from tester.orchestration.lab.spec import LabError, LabHost, load_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a host may do beyond what systemd-nspawn allows anyway: faults need the network.
_CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW"
_FUSE = Path("/dev/fuse")
"""For a layer under a member's data. A machine without it has a lab without such faults."""
_BOOT_SECONDS = 20.0
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.02
_STATE_FIELD, _START_FIELD = 0, 19  # of /proc/PID/stat, counted after the command name
_HOLDER = Path(__file__).with_name("holder.py")
_HOLDERS = 2  # the holder and nspawn: whoever else is in the cgroup is the host
_NSPAWN_STATE = Path("/run/systemd/nspawn")


class _Process(msgspec.Struct, frozen=True):
    pid: int
    start_ticks: int


def nspawn_command(host: LabHost) -> tuple[str, ...]:
    """The command that is the host as long as it runs."""
    return (
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={host.root}",
        f"--machine={host.machine}",
        f"--hostname={host.name}",
        f"--network-namespace-path=/run/netns/{host.machine}",
        f"--capability={_CAPABILITIES}",
        *((f"--bind={_FUSE}",) if _FUSE.exists() else ()),
        # Works where PID 1 is not systemd; the cgroup is made by us.
        "--register=no",
        "--keep-unit",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
    )


def is_running(host: LabHost) -> bool:
    """Whether the host is switched on."""
    return _holder(host) is not None


def power_on(host: LabHost) -> bool:
    """Start the host and wait until its systemd runs; ``False`` when it was on already.

    Forks: only for a process with a single thread.

    Raises:
        LabError: it does not start; the message has its last console lines.
    """
    with _locked(host):
        if is_running(host):
            return False
        end_remains(host)
        with host.log.open("wb") as log:
            child = subprocess.Popen(
                (sys.executable, "-I", "-S", str(_HOLDER), *nspawn_command(host)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: cgroups.join(host.machine),  # noqa: PLW1509 - single-threaded, see above
            )
        start_ticks = _start_ticks(child.pid)
        if start_ticks is not None:
            host.process_file.write_bytes(msgspec.json.encode(_Process(child.pid, start_ticks)))
        _await_boot(host, child)
        return True


def power_off(host: LabHost, *, grace_seconds: float) -> bool:
    """Shut the host down in order; pull the plug when that takes longer than the grace. ``False``: was off.

    With a grace of 0 the plug is pulled at once: nothing on the host gets to say goodbye (this machine's page
    cache survives, so it is no power loss to the host's disk).

    Raises:
        LabError: a process of the host cannot be ended.
    """
    with _locked(host):
        holder = _holder(host)
        if holder is not None and grace_seconds > 0:
            signal.pidfd_send_signal(holder, signal.SIGTERM)  # nspawn asks the host's systemd to power off
            _wait(lambda: not is_running(host), grace_seconds)
        if holder is not None:
            os.close(holder)
        end_remains(host)
        return holder is not None


def _holder(host: LabHost) -> int | None:
    """A pidfd of the process that holds the host."""
    try:
        process = msgspec.json.decode(host.process_file.read_bytes(), type=_Process)
        descriptor = os.pidfd_open(process.pid)
    except (FileNotFoundError, ProcessLookupError, msgspec.DecodeError):
        return None
    if _start_ticks(process.pid) == process.start_ticks:
        return descriptor
    os.close(descriptor)
    return None


def _start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; ``None`` for one that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in {"Z", "X"} else int(fields[_START_FIELD])


def _await_boot(host: LabHost, child: subprocess.Popen[bytes]) -> None:
    """Until there is more in the cgroup than who holds the host: its own processes."""
    booted = _wait(
        lambda: child.poll() is not None or len(cgroups.processes(host.machine)) > _HOLDERS,
        _BOOT_SECONDS,
    )
    if child.poll() is None and booted:
        return
    said = host.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:]
    end_remains(host)
    raise LabError(
        "\n".join([f"host {host.name} does not start ({nspawn_command(host)[0]} ended)", *said]),
        remedy=f"`etcd-chaos lab up --name {host.lab}` repairs what it lacks; its console is in {host.log}",
    )


def end_remains(host: LabHost) -> None:
    """End every process that is still in the host's cgroup, and remove what nspawn leaves when it is killed.

    Needs nothing of the host but its name: it works where the host's directory is gone.

    Raises:
        LabError: a process cannot be ended.
    """
    if not _wait(lambda: _kill_all(host), _KILL_SECONDS):
        left = ", ".join(map(str, sorted(_alive(host))))
        raise LabError(
            f"host {host.name}: processes {left} do not end", remedy="a process in state D? see `ps`"
        )
    # The kernel empties a cgroup a moment after its processes are gone.
    _wait(lambda: _try_remove(host.machine), _KILL_SECONDS)
    host.process_file.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (_NSPAWN_STATE / "propagate" / host.machine).rmdir()
    with contextlib.suppress(FileNotFoundError):
        root = host.root.stat()
        (_NSPAWN_STATE / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink()


def _kill_all(host: LabHost) -> bool:
    alive = _alive(host)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not alive


def _alive(host: LabHost) -> tuple[int, ...]:
    return tuple(pid for pid in cgroups.processes(host.machine) if pid and _start_ticks(pid) is not None)


def _try_remove(name: str) -> bool:
    try:
        cgroups.remove(name)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _locked(host: LabHost) -> Iterator[None]:
    """One at a time: a directory can be locked like a file, and leaves no lock file behind."""
    try:
        descriptor = os.open(host.directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise LabError(
            f"host {host.name} of lab {host.lab} is not built",
            remedy=f"run `etcd-chaos lab up --name {host.lab}`",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def main(argv: list[str]) -> int:
    """Switch the host ``argv[1]`` of the lab ``argv[0]`` on."""
    lab, name = argv
    try:
        spec = load_spec(lab)
        if spec is None:
            raise LabError(f"there is no lab {lab}")  # noqa: TRY301 - one place reports
        print("switched on" if power_on(spec.host(name)) else "was on")
    except LabError as error:
        print("\n".join(filter(None, (error.message, error.remedy))), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

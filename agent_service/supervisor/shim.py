"""Parent of the member under the ``process`` supervisor: starts it, waits, and writes down how it ended.

Runs as ``python -I -S shim.py DIRECTORY USER BOOT_ID COMMAND...`` with the standard library alone; an empty
USER keeps the user. It leaves its parent and session at once, then writes ``started.json`` when the command runs
and ``ended.json`` when it has ended, each as a whole. A command that cannot be executed is an ``ended.json``
with ``error``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time


def write(directory: str, name: str, content: dict[str, int | str | None]) -> None:
    """Replace a file so that whoever reads it sees all or nothing of it, also after a crash."""
    temporary = f"{directory}/.{name}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, f"{directory}/{name}")  # noqa: PTH105 - pathlib costs 10 ms of every start


def first_line(path: str) -> str:
    """First line of a small file of the kernel's."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
        return file.readline().strip()


def start_ticks(pid: int) -> int:
    """Start time of our own child, which cannot be gone: nobody but us may reap it."""
    return int(first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])


def start(command: list[str], user: str) -> subprocess.Popen[bytes]:
    """Start the command as ``user`` with as many open files as the host allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not user:
        return subprocess.Popen(command, cwd="/")
    import pwd  # noqa: PLC0415 - only needed when the user changes

    group = pwd.getpwnam(user).pw_gid
    return subprocess.Popen(command, cwd="/", user=user, group=group, extra_groups=[])


def main(directory: str, user: str, boot: str, command: list[str]) -> None:
    """Run the command to its end."""
    try:
        child = start(command, user)
    except (OSError, LookupError) as error:
        write(directory, "ended.json", {"pid": 0, "start_ticks": 0, "boot_id": boot, "error": str(error)})
        return
    identity: dict[str, int | str | None] = {
        "pid": child.pid,
        "start_ticks": start_ticks(child.pid),
        "boot_id": boot,
    }
    try:
        write(directory, "started.json", identity)
    except OSError:
        child.kill()  # a member that nobody could find again must not run
        child.wait()
        raise
    code = child.wait()
    end: dict[str, int | str | None] = {
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "monotonic_ns": time.monotonic_ns(),
    }
    write(directory, "ended.json", identity | end)


if __name__ == "__main__":
    if os.fork() == 0:
        os.setsid()
        main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])

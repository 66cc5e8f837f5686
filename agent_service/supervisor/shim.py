"""Parent of the member under the ``process`` supervisor: starts it, waits, and writes down how it ended.

Runs as ``python -I -S shim.py DIRECTORY USER BOOT_ID COMMAND...`` with as little of the standard library as will do,
since every import delays every start; an empty USER keeps the user. It leaves its parent and session at once, then
writes ``started.json`` when the command runs and ``ended.json`` when it has ended, each as a whole. A command that
cannot be executed is an ``ended.json`` with ``error``.
"""

from __future__ import annotations

import os
import resource
import sys
import time

# Numbers of every Linux; module signal costs 7 ms. Python ignores the last two, and what it starts must not.
_SIGKILL = 9
_SIGPIPE = 13
_SIGXFSZ = 25


def write(directory: str, name: str, content: dict[str, int | str | None]) -> None:
    """Replace a file so that whoever reads it sees all or nothing of it, also after a crash."""
    temporary = f"{directory}/.{name}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        text = ", ".join(f'"{key}": {as_json(value)}' for key, value in content.items())
        os.write(descriptor, f"{{{text}}}".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, f"{directory}/{name}")  # noqa: PTH105 - pathlib costs 10 ms of every start


def as_json(value: int | str | None) -> str:
    """One value as JSON."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    escaped = (c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
    return f'"{"".join(escaped)}"'


def start_ticks(pid: int) -> int:
    """Start time of our own child, which cannot be gone: nobody but us may reap it."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
        return int(file.read().rpartition(")")[2].split()[19])


def start(command: list[str], user: str) -> int:
    """Start the command as ``user`` with as many open files as the host allows, and return its pid.

    Raises:
        OSError: it cannot be executed.
        LookupError: there is no such user.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.chdir("/")
    if not user:
        return os.posix_spawnp(command[0], command, os.environ, setsigdef=(_SIGPIPE, _SIGXFSZ))
    import pwd  # noqa: PLC0415 - only needed when the user changes
    import subprocess  # noqa: PLC0415 - as above

    group = pwd.getpwnam(user).pw_gid
    child = subprocess.Popen(command, user=user, group=group, extra_groups=[])
    child.returncode = 0  # or this object, when it goes away, may learn how the child ended, and we never do
    return child.pid


def main(directory: str, user: str, boot: str, command: list[str]) -> None:
    """Run the command to its end."""
    try:
        pid = start(command, user)
    except (OSError, LookupError) as error:
        write(directory, "ended.json", {"pid": 0, "start_ticks": 0, "boot_id": boot, "error": str(error)})
        return
    identity: dict[str, int | str | None] = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot}
    try:
        write(directory, "started.json", identity)
    except OSError:
        os.kill(pid, _SIGKILL)  # a member that nobody could find again must not run
        os.waitpid(pid, 0)
        raise
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
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

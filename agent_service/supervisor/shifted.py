"""Becomes a command whose monotonic clock is off, in a time namespace of its own.

Runs as ``python -I -S shifted.py SECONDS USER COMMAND...`` with the standard library alone, as root; an empty USER
keeps the user. The process stays the same one: whoever started it finds the command under its pid.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWTIME = 0x80


def shift(seconds: int) -> None:
    """Enter a new time namespace in which CLOCK_MONOTONIC and CLOCK_BOOTTIME are ahead by ``seconds``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWTIME) != 0:
        raise OSError(ctypes.get_errno(), "unshare: a time namespace needs CAP_SYS_ADMIN")
    with open("/proc/self/timens_offsets", "w", encoding="ascii") as offsets:  # noqa: PTH123 - pathlib is slow
        offsets.write(f"monotonic {seconds} 0\nboottime {seconds} 0\n")
    # unshare only says where children will be; this process moves itself.
    descriptor = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(descriptor, CLONE_NEWTIME) != 0:
        raise OSError(ctypes.get_errno(), "setns: cannot enter the time namespace")
    os.close(descriptor)


def become(user: str, command: list[str]) -> None:
    """Give up root for ``user`` and be the command."""
    if user:
        import pwd  # noqa: PLC0415 - only needed when the user changes

        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.execv(command[0], command)  # noqa: S606 - never a shell, and argv is the agent's


if __name__ == "__main__":
    shift(int(sys.argv[1]))
    become(sys.argv[2], sys.argv[3:])

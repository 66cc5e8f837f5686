"""Becomes a command whose monotonic clock is off, in a time namespace of its own.

Runs as ``python -I -S shifted.py SECONDS USER COMMAND...`` with the standard library alone, as root; an empty USER
keeps the user. The process stays the same one: whoever started it finds the command under its pid.

An offset takes CAP_SYS_TIME, which containers lack for good reasons. There the command gets a user namespace, too,
in which every user is who he is outside, and which has the capability over its own time namespace alone.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWTIME = 0x80
CLONE_NEWUSER = 0x10000000
CAP_SYS_TIME = 25


def may_set_clocks() -> bool:
    """Whether this process has CAP_SYS_TIME."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is slow
        effective = next(line for line in status if line.startswith("CapEff:"))
    return int(effective.split()[1], 16) >> CAP_SYS_TIME & 1 == 1


def unshare(flags: int) -> None:
    """Have new namespaces of these kinds; raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare: a time namespace needs CAP_SYS_ADMIN")


def unshare_with_users() -> None:
    """The same in a user namespace that maps everybody to himself; only a process outside of it may say so."""
    ready, go = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        os.close(go)
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{os.getppid()}/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - as above
                file.write("0 0 4294967295\n")
        os._exit(0)
    unshare(CLONE_NEWUSER | CLONE_NEWTIME)
    os.write(go, b"x")
    os.close(go)
    os.close(ready)
    if os.waitpid(mapper, 0)[1] != 0:
        raise OSError("the users of the new namespace cannot be mapped")


def shift(seconds: int) -> None:
    """Enter a new time namespace in which CLOCK_MONOTONIC and CLOCK_BOOTTIME are ahead by ``seconds``."""
    if may_set_clocks():
        unshare(CLONE_NEWTIME)
    else:
        unshare_with_users()
    libc = ctypes.CDLL(None, use_errno=True)
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

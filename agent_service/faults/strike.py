"""Strikes the agent or its host a moment later, when the answer to whoever asked is on its way.

Runs as ``python -I -S strike.py DESCRIPTOR SECONDS WHAT ...`` with the standard library alone, in a session of its own
that outlives the agent. DESCRIPTOR is its order: a file that it holds locked while it lives, and in which it writes
what it saw. An order that has been removed is called off. WHAT is one of::

    run COMMAND...           be that command
    kill PID TICKS           SIGKILL to that process
    hang PID TICKS SECONDS   SIGSTOP to that process, and SIGCONT after so long
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time


def stat_fields(pid: int, thread: str = "") -> list[str]:
    """Fields of ``/proc/PID/stat`` after the command's name: state first, start time the twentieth."""
    path = f"/proc/{pid}/task/{thread}/stat" if thread else f"/proc/{pid}/stat"
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is slow
        return file.read().rpartition(")")[2].split()


def hold(pid: int, ticks: int) -> int:
    """A pidfd of the process that started at ``ticks``, and of no other; raises ``OSError`` if it is gone."""
    descriptor = os.pidfd_open(pid)
    if int(stat_fields(pid)[19]) != ticks:
        raise ProcessLookupError(f"process {pid} is another one by now")
    return descriptor


def stands(pid: int) -> bool:
    """Whether every thread is stopped."""
    return all(stat_fields(pid, thread)[0] == "T" for thread in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208


def hang(pid: int, ticks: int, seconds: float, order: int) -> None:
    """Stop a process for a time; what was seen is written before it goes on."""
    process = hold(pid, ticks)
    end = select.poll()
    end.register(process, select.POLLIN)
    signal.pidfd_send_signal(process, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        while not stands(pid):
            time.sleep(0.01)
        killed = end.poll(max(0.0, begin + seconds - time.monotonic()) * 1000)  # by a watchdog
        what = "ended" if killed else "stood"
        os.pwrite(order, f"{what} {time.monotonic() - begin:.3f}\n".encode(), 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGCONT)


def main(order: int, delay: float, what: str, arguments: list[str]) -> None:
    """Wait, look whether the order still stands, and carry it out."""
    time.sleep(delay)
    if os.fstat(order).st_nlink == 0:
        return
    if what == "run":
        os.execvp(arguments[0], arguments)  # noqa: S606 - never a shell, and argv is a planner's
    elif what == "kill":
        signal.pidfd_send_signal(hold(int(arguments[0]), int(arguments[1])), signal.SIGKILL)
    else:
        hang(int(arguments[0]), int(arguments[1]), float(arguments[2]), order)


if __name__ == "__main__" and os.fork() == 0:
    os.setsid()
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])

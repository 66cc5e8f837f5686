"""Writes from within a cgroup, as etcd does, and says how long that took: the proof that its limits are felt.

``python -I -S ioprobe.py CGROUP DIRECTORY SIZE COUNT`` joins the cgroup, writes COUNT times SIZE bytes to a file
without a name in DIRECTORY, each synced, and prints the seconds. Nothing of it is left, however it ends.
"""

from __future__ import annotations

import os
import sys
import time


def main(group: str, directory: str, size: int, count: int) -> float:
    """Seconds that the writes took; raises ``OSError``."""
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    members = os.open(f"{group}/cgroup.procs", os.O_WRONLY)
    os.write(members, b"0")
    content = os.urandom(size)
    begin = time.monotonic()
    for number in range(count):
        os.pwrite(descriptor, content, number * size)
        os.fdatasync(descriptor)
    return time.monotonic() - begin


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])):.6f}\n")
    except OSError as error:
        sys.exit(f"cannot write from within {sys.argv[1]}: {error.strerror}")

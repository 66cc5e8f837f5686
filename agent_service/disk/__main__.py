"""Mounts the layer and stays until it is unmounted.

``python -m agent_service.disk BACKING MOUNT SOCKET [USER]``

It mounts as root and goes on as USER, who owns what lies in BACKING. Exit code 1, and a line on stderr, when it
cannot.
"""

from __future__ import annotations

import logging
import os
import pwd
import random
import resource
import sys

os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")  # read when mfusepy is imported

from mfusepy import FUSE

from agent_service.disk.backing import Backing
from agent_service.disk.control import Control
from agent_service.disk.messages import SOURCE
from agent_service.disk.passthrough import Passthrough
from agent_service.disk.rules import Rules


def main(backing_path: str, mount: str, socket_path: str, user: str = "") -> None:
    """Run until it is unmounted."""
    logging.basicConfig(level=logging.WARNING, format="disk layer: %(levelname)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0)  # the kernel has applied the caller's already
    backing, rules = Backing(backing_path), Rules(random.Random())  # noqa: S311 - jitter, no secrets
    control = Control(socket_path, backing, rules)

    def mounted() -> None:
        if user:
            _become(user)
        control.start()

    FUSE(
        Passthrough(backing, rules, mounted),
        mount,
        foreground=True,
        allow_other=True,
        default_permissions=True,
        fsname=SOURCE,
    )


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, KeyError, RuntimeError) as problem:
        sys.exit(f"disk layer: cannot mount {sys.argv[2]}: {problem}")

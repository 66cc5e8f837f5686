"""The command line of a worker, and whether this host can start one. Pure but for a look at the host."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import sys
from typing import TYPE_CHECKING, Final

from agent_service.errors import UnavailableError

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

PROGRAM: Final = "tester.load.workers.hosted"
_TOOLS: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": _TOOLS}


def worker_argv(setpriv: str, user: pwd.struct_passwd | None, history: int) -> tuple[str, ...]:
    """A worker as ``user`` (``None``: the agent's own), without any capability, that dies with the agent.

    Args:
        setpriv: the program of util-linux.
        user: who runs it.
        history: the descriptor of its history; nothing of a request is on the command line.
    """
    if user is None:
        # Whoever stays root keeps no capability: there is none left to be had by executing anything.
        who: tuple[str, ...] = ("--bounding-set=-all",) if os.geteuid() == 0 else ()
    else:
        who = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return (
        *(setpriv, "--no-new-privs", "--inh-caps=-all", "--pdeathsig=KILL", *who, "--"),
        *(sys.executable, "-I", "-m", PROGRAM, str(history)),
    )


def lacking() -> str:
    """Why this host can hold no load; empty: it can."""
    if importlib.util.find_spec("tester") is None:
        return "the load is not installed here: add the host to group load, and run playbooks/deploy.yml"
    if shutil.which("setpriv", path=_TOOLS) is None:
        return "setpriv (package util-linux) is missing"
    return ""


def check(settings: AgentSettings) -> tuple[str, pwd.struct_passwd | None]:
    """The path of ``setpriv`` and who runs workers.

    Raises:
        UnavailableError: this host can start none.
    """
    if reason := lacking():
        raise UnavailableError(f"this host can hold no load: {reason}")
    setpriv = shutil.which("setpriv", path=_TOOLS) or ""
    if settings.member_user is None:
        return setpriv, None
    try:
        return setpriv, pwd.getpwnam(settings.member_user)
    except KeyError as error:
        raise UnavailableError(
            f"there is no user {settings.member_user} to run load as",
            remedy="run playbooks/deploy.yml, or correct member_user",
        ) from error

"""The command line of a load worker, facts in, argv out."""

from __future__ import annotations

import pwd
import sys

import pytest

from agent_service.errors import UnavailableError
from agent_service.load import launch
from tests.agent.settings import agent_settings

NOBODY = pwd.struct_passwd(("etcd-chaos", "x", 997, 996, "", "/nonexistent", "/usr/sbin/nologin"))


def test_a_worker_is_the_members_user_and_has_no_way_up() -> None:
    assert launch.worker_argv("/usr/bin/setpriv", NOBODY, 7) == (
        "/usr/bin/setpriv",
        "--no-new-privs",
        "--inh-caps=-all",
        "--pdeathsig=KILL",
        "--reuid=997",
        "--regid=996",
        "--clear-groups",
        "--",
        sys.executable,
        "-I",
        "-m",
        "tester.load.workers.hosted",
        "7",
    )


@pytest.mark.parametrize(("uid", "more"), [(0, ("--bounding-set=-all",)), (1000, ())])
def test_the_agents_own_user_keeps_no_capability(
    monkeypatch: pytest.MonkeyPatch, uid: int, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    argv = launch.worker_argv("/usr/bin/setpriv", None, 7)
    assert argv[4 : argv.index("--")] == more


def test_a_host_without_the_load_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    settings = agent_settings(tmp_path)  # type: ignore[arg-type]
    launch.check(settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"add the host to group load, and run playbooks/deploy\.yml"):
        launch.check(settings)
    monkeypatch.undo()
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UnavailableError, match="setpriv"):
        launch.check(settings)


def test_a_user_that_is_not_there(tmp_path: object) -> None:
    settings = agent_settings(tmp_path, member_user="no-such-user")  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match="there is no user no-such-user to run load as"):
        launch.check(settings)

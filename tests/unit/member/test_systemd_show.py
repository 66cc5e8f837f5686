from __future__ import annotations

from agent_service.supervisor.base import ExitStatus
from agent_service.supervisor.systemd import UnitState, parse_show


def show(**values: object) -> str:
    defaults: dict[str, object] = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "MainPID": 0,
        "ExecMainPID": 0,
        "ExecMainCode": 0,
        "ExecMainStatus": 0,
        "ExecMainExitTimestampMonotonic": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in (defaults | values).items())


def test_running() -> None:
    assert parse_show(show(MainPID=7, ExecMainPID=7)) == UnitState(
        loaded=True, active_state="active", main_pid=7, last_pid=7, exit=None
    )


def test_exited() -> None:
    state = parse_show(
        show(ExecMainPID=7, ExecMainCode=1, ExecMainStatus=2, ExecMainExitTimestampMonotonic=5)
    )
    assert state.exit == ExitStatus(code=2, signal=None, monotonic_ns=5000)
    assert state.main_pid == 0


def test_killed_and_dumped() -> None:
    for code in (2, 3):
        state = parse_show(show(ActiveState="failed", ExecMainPID=7, ExecMainCode=code, ExecMainStatus=9))
        assert state.exit == ExitStatus(code=None, signal=9, monotonic_ns=None)
        assert state.active_state == "failed"


def test_unknown_unit() -> None:
    state = parse_show(show(LoadState="not-found", ActiveState="inactive"))
    assert not state.loaded
    assert state.exit is None

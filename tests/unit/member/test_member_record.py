from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from agent_service.errors import IllegalStateError, UnavailableError
from agent_service.member_record import (
    LEGAL,
    MAX_EXITS,
    Ending,
    MemberRecord,
    Operation,
    load_record,
    require,
    save_record,
)
from agent_service.models import ExitRecord, MemberState
from agent_service.processes import ProcessId
from agent_service.supervisor.base import ExitStatus
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from pathlib import Path

TERM, KILL, QUIT = int(signal.SIGTERM), int(signal.SIGKILL), int(signal.SIGQUIT)
STOP = Ending(cause="stop", signals=(TERM, KILL))


def exit_record(*, expected: bool, pid: int = 1) -> ExitRecord:
    return ExitRecord(
        pid=pid,
        code=None,
        signal=9,
        expected=expected,
        cause="x",
        monotonic_ns=1,
        realtime_ns=1,
        log_tail=("last words",),
    )


def test_every_operation_is_in_the_table() -> None:
    assert set(LEGAL) == set(Operation)


@pytest.mark.parametrize(
    ("operation", "illegal"),
    [
        (Operation.START, {MemberState.PAUSED}),
        (Operation.PAUSE, {MemberState.STOPPED, MemberState.EXITED, MemberState.UNINITIALIZED}),
        (Operation.RESUME, {MemberState.STOPPED, MemberState.TERMINATED}),
        (Operation.RESTART, {MemberState.UNINITIALIZED, MemberState.TERMINATED}),
        (Operation.QUIT, {MemberState.PAUSED}),
        (Operation.ARCHIVE, {MemberState.RUNNING, MemberState.PAUSED, MemberState.UNINITIALIZED}),
        (Operation.STOP, set()),
        (Operation.KILL, set()),
        (Operation.TERMINATE, set()),
    ],
)
def test_illegal_transitions_name_the_state(operation: Operation, illegal: set[MemberState]) -> None:
    for state in MemberState:
        if state in illegal:
            with pytest.raises(IllegalStateError) as caught:
                require(operation, state)
            assert caught.value.state == state
        elif state in LEGAL[operation]:
            require(operation, state)


@pytest.mark.parametrize(
    ("ending", "status", "explained"),
    [
        (STOP, ExitStatus(0, None, 1), True),
        (STOP, ExitStatus(None, TERM, 1), True),
        (STOP, ExitStatus(None, KILL, 1), True),
        (STOP, ExitStatus(2, None, 1), False),  # a panic while it stopped
        (STOP, ExitStatus(None, int(signal.SIGSEGV), 1), False),
        (STOP, None, True),
        (STOP, ExitStatus(None, None, None), True),
        (Ending(cause="kill", signals=(KILL,)), ExitStatus(None, KILL, 1), True),
        (Ending(cause="kill", signals=(KILL,)), ExitStatus(1, None, 1), False),
        (Ending(cause="quit", signals=(QUIT, KILL)), ExitStatus(2, None, 1), True),
        (Ending(cause="quit", signals=(QUIT, KILL)), ExitStatus(1, None, 1), False),
    ],
)
def test_which_ends_were_asked_for(ending: Ending, status: ExitStatus | None, explained: bool) -> None:  # noqa: FBT001
    assert ending.explains(status) is explained


def test_exits_are_bounded_and_counted() -> None:
    record = MemberRecord(state=MemberState.RUNNING, process=ProcessId(1, 2, "b"))
    for pid in range(MAX_EXITS + 7):
        record = record.with_exit(exit_record(expected=False, pid=pid))
    assert record.exits_total == MAX_EXITS + 7
    assert [kept.pid for kept in record.exits] == list(range(7, MAX_EXITS + 7))
    assert [bool(kept.log_tail) for kept in record.exits] == [False] * (MAX_EXITS - 10) + [True] * 10
    assert record.state is MemberState.EXITED
    assert record.process is None
    assert record.with_exit(exit_record(expected=True)).state is MemberState.STOPPED


def test_saved_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "member.json"
    assert load_record(path) == MemberRecord()
    record = MemberRecord(
        state=MemberState.PAUSED,
        spec=member_spec(),
        process=ProcessId(11, 22, "boot"),
        ending=STOP,
        exits=(exit_record(expected=True),),
        exits_total=1,
    )
    save_record(path, record)
    assert load_record(path) == record
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"state": "dancing"}', b'{"surprise": 1}'])
def test_a_damaged_record_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "member.json"
    path.write_bytes(content)
    with pytest.raises(UnavailableError, match="damaged"):
        load_record(path)

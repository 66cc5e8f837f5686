from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, get_args

import msgspec
import pytest
from rich.console import Console

from tester.console import choose_mode, make_console
from tester.console.jsonlines import decode_event, encode_event
from tester.console.live import LiveScreen
from tester.console.panel import panel
from tester.console.plain import PlainScreen
from tester.console.summary import run_summary
from tester.console.tables import round_report
from tester.console.view import View, advance
from tester.errors import ExitCode
from tester.events import Event, FaultHealed, LoadSample, Phase, PhaseStarted, Progress, RunFinished
from tester.results import (
    CaseResult,
    CheckResult,
    FaultTurn,
    Finding,
    InjectedFault,
    PhaseStats,
    Recovery,
    RoundResult,
    RunResult,
    ServiceGap,
)
from tests.unit.console import fakerun

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def check_golden(name: str, text: str) -> None:
    """Compare with the file; ``GOLDEN=write`` writes it instead."""
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def rendered(part: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(part, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))


def view_in_a_hold() -> View:
    view, now = View(), 0.0
    for event in fakerun.events():
        view = advance(view, event, now)
        now += 0.25
        if isinstance(event, PhaseStarted) and event.case == "isolate-majority" and event.phase is Phase.HOLD:
            break
    return advance(view, LoadSample(0, 12_400.0, 412_000, 0, 31, 0.0012, 0.0084, {"UNAVAILABLE": 31}), now)


def now_of(view: View) -> float:
    return view.phase_since + 1.3


@pytest.mark.parametrize("width", [80, 140])
def test_panel(width: int) -> None:
    view = view_in_a_hold()
    check_golden(f"panel-{width}.txt", rendered(panel(view, now_of(view), width), width))


@pytest.mark.parametrize("width", [80, 100, 140])
def test_round_tables(width: int) -> None:
    rounds = "\n".join(rendered(round_report(r, 2, width), width) for r in (fakerun.ROUND_1, fakerun.ROUND_2))
    check_golden(f"rounds-{width}.txt", rounds)


@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_a_long_name_gives_way_and_numbers_are_not_folded(width: int) -> None:
    cases = tuple(replace(case, name=f"{case.name}-{'x' * 40}") for case in fakerun.ROUND_1.cases)
    text = rendered(round_report(replace(fakerun.ROUND_1, cases=cases), 2, width), width)
    assert "leader changes 0  info" in text
    assert all(len(line) <= width for line in text.split("\n"))


@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_what_went_wrong_for_the_load_stands_under_its_case_at_every_width(width: int) -> None:
    text = rendered(round_report(fakerun.ROUND_1, 2, width), width)
    words = " ".join(text.split())
    told = (
        "errors during: UNAVAILABLE 29, etcdserver: request timed out 11, DEADLINE_EXCEEDED 3 errors after:"
        " UNAVAILABLE 2 no service during: 5.00-5.41 s (412 ms), 6.00-6.30 s (300 ms), 7.00-8.56 s (1.56 s), +3 more"
    )
    assert told in words
    assert words.index("UNAVAILABLE 43") < words.index(told)  # that of the case before
    assert "no service after" not in words  # it is told where it began
    assert "errors before" not in words


def test_a_gap_before_the_fault_is_told_and_one_that_has_not_ended_comes_first() -> None:
    gaps = (*fakerun.HURT_MORE.gaps, ServiceGap(9 * fakerun.SECOND, None))
    before = replace(fakerun.HURT_MORE, gaps=gaps, gaps_total=5, errors={})
    case = replace(fakerun.PASSED, before=before, during=PhaseStats(), after=PhaseStats())
    text = rendered(round_report(replace(fakerun.ROUND_1, cases=(case,)), 1, 100), 100)
    assert "no service before: 5.00-5.41 s (412 ms), 7.00-8.56 s (1.56 s), from 9.00 s on, +2 more\n" in text
    assert "errors" not in text


def test_a_case_whose_load_fared_well_has_no_more_lines() -> None:
    case = replace(fakerun.PASSED, during=fakerun.QUIET)
    text = rendered(round_report(replace(fakerun.ROUND_1, cases=(case,)), 1, 100), 100)
    assert "errors" not in text
    assert "no service" not in text


def test_summary() -> None:
    check_golden("summary-80.txt", rendered(run_summary(fakerun.RUN), 80))


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_summary_with_seed_replay_and_artefacts(code: ExitCode) -> None:
    result = RunResult("quick", 7, "inventory", "runs/a b", (), code, "the reason", 1.0)
    text = rendered(run_summary(result), 80)
    assert "the reason" in text
    assert f"exit code  {int(code)}" in text
    assert "  etcd-chaos run --inventory inventory --scenario 'runs/a b/scenario.yml' --seed 7\n" in text


@pytest.mark.parametrize("width", [40, 80, 100])
def test_nothing_is_wider_than_the_terminal_except_the_replay_command(width: int) -> None:
    view = view_in_a_hold()
    assert max(map(len, rendered(panel(view, now_of(view), width), width).split("\n"))) <= width
    if width >= 80:
        reports = [rendered(round_report(r, 2, width), width) for r in (fakerun.ROUND_1, fakerun.ROUND_2)]
        assert max(len(line) for report in reports for line in report.split("\n")) <= width
        assert "violated\n" in reports[0]


def test_plain_is_ascii_without_control_codes() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream, now=lambda: 0.0, time_of_day=lambda: NOON)
    for event in fakerun.events():
        screen.show(event)
    text = stream.getvalue()
    assert text.isascii()
    assert not CONTROL.search(text)
    check_golden("plain.txt", text)


def test_plain_shows_load_now_and_then_only() -> None:
    stream, clock = io.StringIO(), iter(range(1000))
    screen = PlainScreen(stream, now=lambda: float(next(clock)), time_of_day=lambda: NOON)
    for _ in range(60):
        screen.show(LoadSample(0, 10.0, 1, 2, 3, None, None))
    assert 2 <= stream.getvalue().count("load 10/s, ok 1, fail 2, info 3, p50 -, p99 -") <= 10


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, no_color: str, *, coloured: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    screen = LiveScreen(stream, width=80)
    screen.open()
    for event in fakerun.events():
        screen.show(event)
        screen.tick()
    screen.close()
    colours = re.findall(r"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|4[0-7])(?:;[0-9;]*)?m", stream.getvalue())
    assert bool(colours) is coloured
    assert "violated" in stream.getvalue()


def test_live_gives_the_cursor_back_even_if_the_run_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()

    def dying_run() -> None:
        with make_console("live", stream) as console:
            for event in list(fakerun.events())[:20]:
                console.listener(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dying_run()
    hidden, shown = stream.getvalue().rfind("\x1b[?25l"), stream.getvalue().rfind("\x1b[?25h")
    assert 0 <= hidden < shown


def test_choose_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert choose_mode(Terminal(), json=False) == "live"
    assert choose_mode(Terminal(), json=True) == "json"
    assert choose_mode(io.StringIO(), json=False) == "plain"
    monkeypatch.setenv("TERM", "dumb")
    assert choose_mode(Terminal(), json=False) == "plain"


def test_json_is_one_event_a_line_and_reads_back_as_the_same_event() -> None:
    stream, events = io.StringIO(), list(fakerun.events())
    with make_console("json", stream) as console:
        for event in events:
            console.listener(event)
    lines = stream.getvalue().splitlines()
    assert [decode_event(line) for line in lines] == events
    assert list(msgspec.json.decode(lines[0]))[:2] == ["event", "time"]


def test_json_refuses_what_is_no_event() -> None:
    with pytest.raises(ValueError, match="unknown event 'nonsense'"):
        decode_event(b'{"event":"nonsense"}')
    with pytest.raises(msgspec.ValidationError):
        decode_event(b'{"event":"progress"}')


def test_json_documentation_names_every_event_and_field() -> None:
    text = (Path(__file__).parents[3] / "docs" / "json-output.md").read_text(encoding="utf-8")
    for kind in get_args(Event):
        name = msgspec.json.decode(encode_event(kind(**dict.fromkeys(kind.__dataclass_fields__)), NOON))[
            "event"
        ]
        section = re.search(rf"^### `{name}`\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"docs/json-output.md has no section for {name}"
        documented = set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE))
        assert documented == set(kind.__dataclass_fields__), name


@pytest.mark.parametrize(
    "kind",
    [
        RunResult,
        RoundResult,
        CaseResult,
        PhaseStats,
        ServiceGap,
        InjectedFault,
        FaultTurn,
        Recovery,
        CheckResult,
        Finding,
    ],
)
def test_json_documentation_names_every_field_of_a_result(kind: Any) -> None:
    text = (Path(__file__).parents[3] / "docs" / "json-output.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)`", text[text.index("## Results") :]))
    assert {field.name for field in fields(kind)} <= documented


class BrokenPipe(io.StringIO):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("mode", ["live", "plain", "json"])
def test_a_reader_that_goes_away_does_not_end_the_run(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    with make_console(mode, BrokenPipe()) as console:  # type: ignore[arg-type] # pytest parameters are str
        for event in fakerun.events():
            console.listener(event)
    assert [record.message for record in caplog.records] == [
        "output is lost ([Errno 32] Broken pipe); the run goes on, see its run directory"
    ]


def test_a_defect_of_the_console_is_logged_and_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with make_console("plain", io.StringIO()) as console:
        console.listener(Progress(3))  # type: ignore[arg-type]
        console.listener(Progress("after it"))
    assert caplog.records[0].exc_info


def test_a_fault_that_was_not_healed_stays_on_the_screen() -> None:
    events = [event for event in fakerun.events() if not isinstance(event, FaultHealed | RunFinished)]
    view = View()
    for event in events:
        view = advance(view, event, 0.0)
    assert [fault.member for fault in view.faults][:2] == ["etcd-2", "etcd-1"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_that_cannot_say_everything_gets_escapes(encoding: str) -> None:
    raw = io.BytesIO()
    stream: TextIO = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    screen = LiveScreen(stream, width=100)
    screen.open()
    for event in (Progress("日本"), *fakerun.events()):
        screen.show(event)
        screen.tick()
    screen.close()
    assert b"violated" in raw.getvalue()


def test_a_pipe_in_a_real_process_carries_no_control_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.console.fakerun", "0"],
        capture_output=True, timeout=60, check=True, cwd=Path(__file__).parents[3],
        env=os.environ | {"TERM": "xterm", "FORCE_COLOR": "", "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.stderr == b""
    assert not CONTROL.search(done.stdout.decode("ascii"))


class StoppedTerminal(Terminal):
    """A terminal after Ctrl-S: a write does not return until somebody lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_terminal_that_stops_does_not_stop_the_run_and_loses_nothing() -> None:
    stream = StoppedTerminal()
    with make_console("json", stream) as console:
        for event in fakerun.events():  # would hang here if the listener wrote by itself
            console.listener(event)
        assert not stream.getvalue()
        stream.go_on.set()
    assert len(stream.getvalue().splitlines()) == len(list(fakerun.events()))

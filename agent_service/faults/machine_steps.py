"""Steps of faults on what the member lives on: its cgroup, its clock, its data directory, its agent, its host.

Paths are absolute, as text: these values are kept as JSON.
"""

from __future__ import annotations

import shlex
from typing import TypeAlias

from agent_service.faults.step import Step


class MachineStep(Step, frozen=True):
    """Base of these."""


# --- cgroups ------------------------------------------------------------------------------------------------


class EnterCgroup(MachineStep, frozen=True, tag="enter-cgroup"):
    """Make a cgroup of the fault's own and move the process into it."""

    directory: str
    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"make cgroup {self.directory} and move process {self.pid} into it"


class SetCgroup(MachineStep, frozen=True, tag="set-cgroup"):
    """Write one value of a cgroup."""

    file: str
    value: str

    def __str__(self) -> str:
        return f"write {self.value} to {self.file}"


class LeaveCgroup(MachineStep, frozen=True, tag="leave-cgroup"):
    """Move what is in the fault's own cgroup to the one above, and remove it."""

    directory: str

    def __str__(self) -> str:
        return f"move everything out of cgroup {self.directory} and remove it"


class CgroupHolds(MachineStep, frozen=True, tag="cgroup-holds"):
    """The process is in that cgroup."""

    directory: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} is in cgroup {self.directory}"


class CgroupShows(MachineStep, frozen=True, tag="cgroup-shows"):
    """A cgroup's file has that line, for as long as the fault is held."""

    file: str
    line: str

    def __str__(self) -> str:
        return f"{self.file} says {self.line}"


class CgroupTook(MachineStep, frozen=True, tag="cgroup-took"):
    """A cgroup's file has that line; the cgroup may go before the fault does."""

    file: str
    line: str

    def __str__(self) -> str:
        return f"{self.file} says {self.line}"


class CgroupShowsNot(MachineStep, frozen=True, tag="cgroup-shows-not"):
    """A cgroup's file has that line no more; or there is no such cgroup."""

    file: str
    line: str

    def __str__(self) -> str:
        return f"{self.file} no longer says {self.line}"


class ThrottleFelt(MachineStep, frozen=True, tag="throttle-felt"):
    """Writes from within the cgroup to a file beside etcd's take as long as its limits say; 0 is no limit."""

    group: str
    directory: str
    bytes_per_second: int
    operations_per_second: int

    def __str__(self) -> str:
        return f"felt by writes from within cgroup {self.group}"


class CgroupAbsent(MachineStep, frozen=True, tag="cgroup-absent"):
    """There is no such cgroup."""

    directory: str

    def __str__(self) -> str:
        return f"there is no cgroup {self.directory}"


# --- the member ---------------------------------------------------------------------------------------------


class ForeseeEnd(MachineStep, frozen=True, tag="foresee-end"):
    """From now on the fault may end etcd by one of these signals, without anybody sending one."""

    signals: tuple[int, ...]

    def __str__(self) -> str:
        return f"expect that etcd may end by signal {' or '.join(map(str, self.signals))}"


class ForeseeNoEnd(MachineStep, frozen=True, tag="foresee-no-end"):
    """An end is unexpected again."""

    def __str__(self) -> str:
        return "expect no end of etcd any more"


class ShiftClock(MachineStep, frozen=True, tag="shift-clock"):
    """Stop etcd and start it in a time namespace whose monotonic clock is ahead by so many seconds."""

    seconds: int
    grace_seconds: float

    def __str__(self) -> str:
        return f"start etcd anew in a time namespace, its monotonic clock {self.seconds:+d} s off"


class RestoreClock(MachineStep, frozen=True, tag="restore-clock"):
    """Start etcd anew with the host's clock, unless it has it; start it if it has ended."""

    grace_seconds: float

    def __str__(self) -> str:
        return "start etcd anew with the host's own monotonic clock"


class ClockShifted(MachineStep, frozen=True, tag="clock-shifted"):
    """The member lives, and its monotonic clock is off by so many seconds."""

    seconds: int

    def __str__(self) -> str:
        return f"the monotonic clock of etcd is {self.seconds:+d} s off"


class ClockIsHosts(MachineStep, frozen=True, tag="clock-is-hosts"):
    """The member has the host's monotonic clock, if it lives."""

    def __str__(self) -> str:
        return "etcd has the host's own monotonic clock"


class SetDataAside(MachineStep, frozen=True, tag="set-data-aside"):
    """Rename the member's data directory."""

    directory: str
    aside: str

    def __str__(self) -> str:
        return f"move {self.directory} aside, to {self.aside}"


class BringDataBack(MachineStep, frozen=True, tag="bring-data-back"):
    """Rename it back; where a member has made new data meanwhile, remove the old."""

    directory: str
    aside: str

    def __str__(self) -> str:
        return f"move {self.aside} back to {self.directory}, or remove it if there are new data"


class PathAbsent(MachineStep, frozen=True, tag="path-absent"):
    """There is no such file or directory."""

    path: str

    def __str__(self) -> str:
        return f"there is no {self.path}"


# --- the host -----------------------------------------------------------------------------------------------


class SetWallClock(MachineStep, frozen=True, tag="set-wall-clock"):
    """Set the wall clock so that it is so far ahead of the time since boot; nothing in another boot."""

    boot_id: str
    since_boot_ns: int

    def __str__(self) -> str:
        return f"set the wall clock to the time since boot plus {self.since_boot_ns / 1e9:.3f} s"


class WallClockIs(MachineStep, frozen=True, tag="wall-clock-is"):
    """The wall clock is so far ahead of the time since boot, to half a second; or this is another boot."""

    boot_id: str
    since_boot_ns: int

    def __str__(self) -> str:
        return f"the wall clock is {self.since_boot_ns / 1e9:.3f} s ahead of the time since boot"


class Strike(MachineStep, frozen=True, tag="strike"):
    """Order a blow against the agent or the host, to fall a second later. ``order`` is its file."""

    order: str
    what: tuple[str, ...]

    def __str__(self) -> str:
        return f"a second later: {shlex.join(self.what)}"


class CallOff(MachineStep, frozen=True, tag="call-off"):
    """If the blow has not fallen yet, it does not fall."""

    order: str

    def __str__(self) -> str:
        return "call off what has not happened yet"


class StrikeOrdered(MachineStep, frozen=True, tag="strike-ordered"):
    """Somebody lives who will carry out the order."""

    order: str

    def __str__(self) -> str:
        return "it is ordered"


class StoodStill(MachineStep, frozen=True, tag="stood-still"):
    """The order says that every thread of the agent stood still, for nearly as long as was wanted."""

    order: str
    seconds: float

    def __str__(self) -> str:
        return f"the agent stood still for {self.seconds:g} s"


class AgentReplaced(MachineStep, frozen=True, tag="agent-replaced"):
    """Another agent runs than that process."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"the agent that was process {self.pid} is gone"


class AnotherBoot(MachineStep, frozen=True, tag="another-boot"):
    """The host has booted since."""

    boot_id: str

    def __str__(self) -> str:
        return "the host has booted anew"


MachineAction: TypeAlias = (
    EnterCgroup
    | SetCgroup
    | LeaveCgroup
    | ForeseeEnd
    | ForeseeNoEnd
    | ShiftClock
    | RestoreClock
    | SetDataAside
    | BringDataBack
    | SetWallClock
    | Strike
    | CallOff
)
Looking: TypeAlias = (
    CgroupHolds
    | CgroupShows
    | CgroupTook
    | CgroupShowsNot
    | CgroupAbsent
    | ClockShifted
    | ClockIsHosts
    | PathAbsent
    | WallClockIs
    | StrikeOrdered
    | StoodStill
    | AgentReplaced
    | AnotherBoot
)
"""Checks that only look."""
MachineCheck: TypeAlias = Looking | ThrottleFelt

"""What passes between the controller and the child process that runs a play: one JSON object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


class PlayRequest(msgspec.Struct, frozen=True):
    """The one line on the child's standard input. When that input ends, the play is to end at once."""

    playbook: str
    inventory: str
    scratch: str
    """A folder for ansible-runner's files; Ansible's own output is in ``OUTPUT`` under it."""
    variables: msgspec.Raw
    """An object: Ansible's extra variables."""
    limit: str
    tags: str
    env: dict[str, str]
    timeout_seconds: int
    capture_fact: str | None = None
    """Send the values that the play gives this fact."""


OUTPUT = "artifacts/play/stdout"


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Base of the lines on the child's standard output."""


class TaskStarted(Event, frozen=True, tag="task"):
    """A task begins on all its hosts."""

    name: str


class HostFailed(Event, frozen=True, tag="failed"):
    """A task failed on a host, or the host could not be reached."""

    host: str
    task: str
    message: str
    unreachable: bool


class FactCaptured(Event, frozen=True, tag="fact"):
    """The value of ``capture_fact`` on a host."""

    host: str
    value: msgspec.Raw


class NoHosts(Event, frozen=True, tag="no-hosts"):
    """A play found no host that its pattern and the limit name."""


class Summary(Event, frozen=True, tag="summary"):
    """Counts per host, sent once when Ansible got to its end."""

    changed: dict[str, int]
    failed: tuple[str, ...]


class PlayEnded(Event, frozen=True, tag="ended"):
    """The last line: ansible-runner's status and Ansible's exit code."""

    status: str
    code: int


PlayEvent: TypeAlias = TaskStarted | HostFailed | FactCaptured | NoHosts | Summary | PlayEnded

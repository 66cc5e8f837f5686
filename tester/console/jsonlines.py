"""``--json``: one event, one JSON object, one line (``docs/json-output.md``).

The fields of an event are those of its class in ``tester.events``, nested results as in ``tester.results``.
Two are added in front: ``event``, the name of the class in kebab case, and ``time``, when it was written.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TextIO, get_args

import msgspec

from tester.console.stream import Output
from tester.events import Event

_TYPES: dict[str, type[Event]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(): kind for kind in get_args(Event)
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


class _Envelope(msgspec.Struct):
    event: str


def encode_event(event: Event, time: datetime) -> bytes:
    """One line without its newline. ``time`` is aware; it is written in UTC with milliseconds."""
    stamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"event": _NAMES[type(event)], "time": stamp} | msgspec.to_builtins(event))


def decode_event(line: bytes | str) -> Event:
    """The event of one line.

    Raises:
        ValueError: it is no line of ``--json``.
    """
    try:
        kind = _TYPES[msgspec.json.decode(line, type=_Envelope).event]
    except KeyError as error:
        raise ValueError(f"unknown event {error}") from error
    return msgspec.json.decode(line, type=kind)


class JsonScreen:
    """Writes every event to the stream, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._out = Output(stream)

    def open(self) -> None:
        """Nothing to do."""

    def tick(self) -> None:
        """Nothing to do: a line is written once."""

    def close(self) -> None:
        """Everything is written already."""

    def show(self, event: Event) -> None:
        """Write one line."""
        self._out.write(encode_event(event, datetime.now(UTC)).decode() + "\n")
        self._out.flush()

"""The layer's end of the socket over which the agent tells it what to do."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from agent_service.disk.messages import (
    LONGEST_LINE,
    Answer,
    Ask,
    DropRule,
    Full,
    LosePower,
    Refusal,
    Request,
    Revive,
    SetRule,
    State,
)

if TYPE_CHECKING:
    from agent_service.disk.backing import Backing
    from agent_service.disk.rules import Rules

_log: Final = logging.getLogger(__name__)
_PATIENCE_SECONDS: Final = 5.0


class Control:
    """Answers one request a connection, one at a time."""

    def __init__(self, path: str, backing: Backing, rules: Rules) -> None:
        self._backing = backing
        self._rules = rules
        self._lost_blocks = 0
        self._lost_names = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 - of a layer that was killed
        self._socket.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101 - nobody listens yet

    def start(self) -> None:
        """Answer from now on, in a thread of its own, until the process ends."""
        self._socket.listen()
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(_PATIENCE_SECONDS)
                try:
                    line = connection.makefile("rb").readline(LONGEST_LINE)
                    connection.sendall(msgspec.json.encode(self._answer(line)) + b"\n")
                except OSError as error:
                    _log.warning("a request was not answered: %s", error)

    def _answer(self, line: bytes) -> Answer:
        try:
            self._do(msgspec.json.decode(line, type=Request))
        except (msgspec.MsgspecError, OSError) as error:
            return Refusal(str(error))
        return State(
            rules=self._rules.snapshot(),
            powerless=self._backing.powerless,
            delayed=self._rules.delayed,
            failed=self._rules.failed,
            lost_blocks=self._lost_blocks,
            lost_names=self._lost_names,
        )

    def _do(self, request: Request) -> None:
        match request:
            case SetRule():
                self._set(request)
            case DropRule():
                if isinstance(self._rules.snapshot().get(request.fault), Full):
                    self._backing.limit_room(None)
                self._rules.drop(request.fault)
            case LosePower():
                if not self._backing.powerless:
                    lost = self._backing.lose_power()
                    self._lost_blocks, self._lost_names = lost.blocks, lost.names
                self._rules.wake()
            case Revive():
                self._backing.revive()
            case Ask():
                pass
            case _:
                assert_never(request)

    def _set(self, request: SetRule) -> None:
        if self._rules.snapshot().get(request.fault) == request.rule:
            return
        if isinstance(request.rule, Full):
            self._backing.limit_room(request.rule.room_bytes)
        self._rules.put(request.fault, request.rule)

"""One way to write each fault in a file, for tests that go through all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.partitions import Cut
from tester.scenario.faults import FAULTS, Place
from tester.scenario.faults.hosts import BlowSection
from tests.unit.scenario.cases import fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tester.inventory import Host
    from tester.scenario.faults import FaultSection

KEYS: Final[dict[str, dict[str, object]]] = {
    "stop": {"grace": "1s"},
    "kill": {},
    "pause": {},
    "restart": {"grace": "1s"},
    "rolling-restart": {"grace": "1s"},
    "crash-loop": {"every": "500ms"},
    "isolate": {},
    "partition": {"partition": "leader-alone"},
    "client-port": {"action": "reject"},
    "peer-port": {},
    "lose-data": {},
    "freeze": {},
    "cpu-throttle": {"percent": 20},
    "memory-limit": {"limit": "1GiB"},
    "clock-offset": {"offset": "1h", "grace": "1s"},
    "wall-clock": {"offset": "1h"},
    "reboot": {},
    "power-off": {"abrupt": True},
    "agent-kill": {},
    "agent-hang": {"hang": "2s"},
    "network": {"traffic": "both", "delay": "50ms", "jitter": "10ms", "loss": "1%"},
    "slow-fsync": {"delay": "200ms"},
    "slow-io": {"delay": "50ms", "jitter": "20ms"},
    "io-error": {"operations": ["fsync", "write"]},
    "power-loss": {},
    "corrupt-file": {},
    "disk-full": {},
    "disk-throttle": {"bandwidth": "1MiB", "operations": "100/s"},
    "failpoint": {"terms": {"beforeCommit": "sleep(5)"}},
}
"""By kind: keys that make it quick and its effect plain."""


def examples() -> dict[str, FaultSection]:
    """Every fault that agents are asked for and that a lease holds.

    Raises:
        KeyError: a fault has no example here: give it one, and it is tested with the rest.
    """
    return {
        kind: fault(kind, **KEYS[kind])
        for kind, section in FAULTS.items()
        if section.on_agent is not None and not issubclass(section, BlowSection)
    }


def agent_blows() -> dict[str, FaultSection]:
    """What ends or stops an agent by itself: it may come beside any other fault."""
    return {kind: fault(kind, **KEYS[kind]) for kind in ("agent-kill", "agent-hang")}


def place(host: Host, members: Sequence[Host]) -> Place:
    """A host that, in a partition, drops everybody else."""
    others = tuple(member.name for member in members if member.name != host.name)
    return Place(host, members, Cut(others, "both"))

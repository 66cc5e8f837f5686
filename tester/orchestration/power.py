"""Switching a host on: by the script that the inventory names. The lab's inventory names one of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tester.orchestration.scripts import ScriptError, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from tester.inventory import Host

_POWER_ON_SECONDS: Final = 120.0


async def switch_on(host: Host, outputs: Path) -> None:
    """Call ``etcd_chaos_power_on`` with the host's name; its output goes to a file in ``outputs``.

    Returns when the script has ended: the host boots then. A host that is on stays as it is, if the script is sound.

    Raises:
        ScriptError: there is no script, or it failed.
    """
    if host.power_on is None:
        raise ScriptError(
            f"nobody can switch {host.name} on", remedy="name a script in the inventory: etcd_chaos_power_on"
        )
    await run_script((host.power_on, host.name), outputs / f"power-on-{host.name}.log", _POWER_ON_SECONDS)

"""The inventory as Ansible resolves it, for commands that need it outside a run."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tester.inventory import Inventory, inventory_of
from tester.orchestration.plays import Playbooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(frozen=True, slots=True)
class Session:
    """An inventory and its playbooks. Ansible's output is thrown away at the end."""

    inventory: Inventory
    playbooks: Playbooks


@asynccontextmanager
async def open_session(
    source: Path, on_progress: Callable[[str], None], *, healing: bool = False
) -> AsyncIterator[Session]:
    """Resolve an inventory; contacts no host.

    Raises:
        InventoryError: as ``inventory_of`` says.
    """
    with tempfile.TemporaryDirectory(prefix="etcd-chaos-") as artifacts:
        playbooks = Playbooks(source, Path(artifacts), on_progress)
        yield Session(inventory_of(await playbooks.resolve(), source, healing=healing), playbooks)

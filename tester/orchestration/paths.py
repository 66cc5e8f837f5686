"""Where the project's own files and the controller's folders are.

Playbooks, roles and scenarios lie beside the packages in a source checkout and under ``tester/share`` in an
installed wheel; everything here works the same in both.
"""

from __future__ import annotations

import os
from pathlib import Path

import tester
from tester.errors import InfrastructureError


def share_dir() -> Path:
    """The folder that holds ``playbooks``, ``roles``, ``scenarios``, ``requirements`` and ``ansible.cfg``.

    Raises:
        InfrastructureError: neither a checkout nor a complete installation.
    """
    package = Path(tester.__file__).resolve().parent
    for folder in (package.parent, package / "share"):
        if (folder / "ansible.cfg").is_file() and (folder / "playbooks").is_dir():
            return folder
    raise InfrastructureError(
        f"{package}: no playbooks beside this package or in it",
        remedy="install etcd-chaos again, or run it from a checkout",
    )


def playbook_dir() -> Path:
    """The playbooks, one verb each."""
    return share_dir() / "playbooks"


def roles_dir() -> Path:
    """The roles, one noun each."""
    return share_dir() / "roles"


def scenario_dir() -> Path:
    """The built-in scenarios."""
    return share_dir() / "scenarios"


def ansible_cfg() -> Path:
    """The Ansible configuration every play of this tool runs with."""
    return share_dir() / "ansible.cfg"


def agent_lock() -> Path:
    """The pinned and hashed requirements of the agent."""
    return share_dir() / "requirements" / "agent.txt"


def load_lock() -> Path:
    """The pinned and hashed requirements of the agent on a load host, and of its load."""
    return share_dir() / "requirements" / "load.txt"


def cache_dir() -> Path:
    """What can be fetched or built again: ``$ETCD_CHAOS_CACHE`` or ``~/.cache/etcd-chaos``."""
    return _from_environment("ETCD_CHAOS_CACHE", ".cache")


def state_dir() -> Path:
    """What must be kept, the CA above all: ``$ETCD_CHAOS_STATE`` or ``~/.local/state/etcd-chaos``."""
    return _from_environment("ETCD_CHAOS_STATE", ".local/state")


def _from_environment(variable: str, under_home: str) -> Path:
    if named := os.environ.get(variable):
        return Path(named).expanduser().absolute()
    return Path.home() / under_home / "etcd-chaos"

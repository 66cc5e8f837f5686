"""The inventory of a lab, as a user would write one for his own hosts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import tester

if TYPE_CHECKING:
    from tester.orchestration.lab.spec import LabSpec


def render_inventory(spec: LabSpec) -> dict[str, str]:
    """File names below the inventory directory, and what is in them."""
    groups = {"etcd": spec.hosts[: spec.size - spec.load], "load": spec.hosts[spec.size - spec.load :]}
    hosts = {
        group: {"hosts": {host.name: {"ansible_host": str(host.address)} for host in members}}
        for group, members in groups.items()
        if members
    }
    variables = {"etcd_chaos_lab": str(spec.directory), "pki_dir": str(spec.directory / "pki"), **COMMON}
    files = {"hosts.yml": yaml.safe_dump(hosts, sort_keys=False)}
    return files | {
        f"group_vars/{group}.yml": yaml.safe_dump(variables, sort_keys=False, width=200) for group in hosts
    }


def render_power_on(spec: LabSpec) -> str:
    """A program that switches on the host whose name it is given; for ``etcd_chaos_power_on``."""
    # The package imports the module before it is run, and runpy warns of that.
    quiet = ("-W", "ignore::RuntimeWarning:runpy")
    command = (sys.executable, *quiet, "-m", "tester.orchestration.lab.machine", spec.name)
    path = str(Path(tester.__file__).parents[1])
    return f'#!/bin/sh\nPYTHONPATH={shlex.quote(path)} exec {shlex.join(command)} "$1"\n'


COMMON = {
    "ansible_user": "root",
    "ansible_python_interpreter": "/usr/bin/python3",
    "ansible_ssh_private_key_file": "{{ etcd_chaos_lab }}/ssh/id_ed25519",
    "ansible_ssh_common_args": (
        "-F none -o IdentitiesOnly=yes -o UserKnownHostsFile={{ etcd_chaos_lab }}/ssh/known_hosts"
    ),
    # Named by host: switching a host off closes its connection. Short: a socket's path has a limit.
    "ansible_control_path": "{{ etcd_chaos_lab }}/ssh/%%h",
    # `etcd-chaos lab up` wrote it.
    "etcd_chaos_power_on": "{{ etcd_chaos_lab }}/power-on",
    # A lab is for trying: the newest etcd that Debian has.
    "etcd_builds": [{"source": "debian", "suite": "sid"}],
}
"""How the hosts are reached and what they run: the same for every lab, and in the project's ``inventory/``."""

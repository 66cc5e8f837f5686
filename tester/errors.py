"""Every error this tool raises on purpose, and the exit code each one means.

::

    EtcdChaosError                         exit 3
    ├── UsageError                         exit 2   the command line
    ├── ScenarioError                      exit 2   all mistakes of a scenario file at once
    ├── InventoryError                     exit 2   the inventory names no host, or a wrong one
    ├── InfrastructureError                exit 3   hosts, agents, Ansible, this machine
    │   ├── AnsibleError                            a play failed; carries task and host
    │   ├── AgentError                              an agent refused or could not be reached
    │   ├── ClusterError                            the cluster did not form or did not recover
    │   └── LoadError                               a client died, or the load never ran
    ├── HistoryError                       exit 3   a saved history is malformed; 2 where a command was given it
    ├── FaultIneffectiveError              exit 3   a fault had no effect: nothing was tested
    │   └── FaultUnreachedError                     etcd came by none of the failpoints that were set
    ├── ActionError                        exit 3   an action of a case was refused, or did not come to its end
    ├── HealError                          exit 4   a fault could not be healed
    └── Interrupted                        exit 130 Ctrl-C or SIGTERM

A verdict ``invalid`` is a result, not an exception (exit 1). Codes accumulate: the worst is kept.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the command returns. ``worst`` orders them by how much they matter, not by number."""

    VALID = 0
    INVALID = 1
    USAGE = 2
    INFRASTRUCTURE = 3
    UNHEALED = 4
    INTERRUPTED = 130

    @staticmethod
    def worst(*codes: ExitCode) -> ExitCode:
        """The code to keep of several; ``VALID`` of none."""
        return max(codes, key=_SEVERITY.index, default=ExitCode.VALID)


# An unhealed host outranks everything: a person must act. An invalid verdict outranks the rest: it is the
# finding the run was for, and an interruption or a lost host afterwards does not take it back.
_SEVERITY = (
    ExitCode.VALID,
    ExitCode.USAGE,
    ExitCode.INFRASTRUCTURE,
    ExitCode.INTERRUPTED,
    ExitCode.INVALID,
    ExitCode.UNHEALED,
)


class EtcdChaosError(Exception):
    """Base of all: a message that names the place, and a remedy that says what to do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(EtcdChaosError):
    """The command line asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class ScenarioError(EtcdChaosError):
    """A scenario file is wrong; ``message`` has one ``file:line:column: text`` per mistake."""

    exit_code = ExitCode.USAGE


class InventoryError(EtcdChaosError):
    """The inventory cannot be read, names no host, or forbids what the scenario asks."""

    exit_code = ExitCode.USAGE


class InfrastructureError(EtcdChaosError):
    """Hosts, agents, Ansible or this machine failed: nothing is said about etcd."""


class AnsibleError(InfrastructureError):
    """A playbook failed."""


class AgentError(InfrastructureError):
    """An agent refused a request or could not be reached."""


class ClusterError(InfrastructureError):
    """The cluster did not form."""


class LoadError(InfrastructureError):
    """A client of the load died, or the load never ran."""


class HistoryError(EtcdChaosError):
    """A saved history or end state cannot be read, or contradicts itself."""


class FaultIneffectiveError(EtcdChaosError):
    """A fault was injected and had no effect."""


class FaultUnreachedError(FaultIneffectiveError):
    """A failpoint was set, one of all there are, and the load did not come by it: no error of anybody's."""


class ActionError(EtcdChaosError):
    """An action of a case was refused, or did not come to its end."""


class HealError(EtcdChaosError):
    """A fault could not be healed; the message names the host and what is left on it."""

    exit_code = ExitCode.UNHEALED


class Interrupted(EtcdChaosError):  # noqa: N818 - not an error of anybody's: a person asked for it
    """Ctrl-C or SIGTERM."""

    exit_code = ExitCode.INTERRUPTED

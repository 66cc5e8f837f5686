"""Throwaway systemd hosts on this machine, for a first run and for the project's own tests.

A host is a ``systemd-nspawn --boot`` machine: an overlay over one cached Debian root, a network namespace and
a cgroup of its own. All hosts of a lab hang on a bridge inside the lab's *switch* namespace; the only thing
that reaches this machine's own network is one veth, ``ec-NAME``.

``spec`` says where everything of a lab lies and how it is called, ``preflight`` whether this machine can hold
it, ``machine`` switches one host on and off, ``removal`` takes everything away, and ``control`` ties it
together. The hosts themselves are built by the role ``lab_host``.
"""

from tester.orchestration.lab.control import HostStatus, Lab, LabStatus
from tester.orchestration.lab.spec import LabError, LabHost, LabSpec

__all__ = ["HostStatus", "Lab", "LabError", "LabHost", "LabSpec", "LabStatus"]

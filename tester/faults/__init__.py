"""A case's fault on its members, driven through the agents: injected, renewed, healed on every way out."""

from tester.faults.case_fault import CaseFault
from tester.faults.scene import FaultTiming, Scene
from tester.faults.specs import FaultAgent, fault_id, fault_spec

__all__ = ["CaseFault", "FaultAgent", "FaultTiming", "Scene", "fault_id", "fault_spec"]

"""The faults of a case on its members, driven through the agents: injected, renewed, healed on every way out."""

from tester.faults.case_fault import CaseFault
from tester.faults.composition import CaseFaults
from tester.faults.scene import FaultTiming, Scene
from tester.faults.specs import FaultAgent, fault_id

__all__ = ["CaseFault", "CaseFaults", "FaultAgent", "FaultTiming", "Scene", "fault_id"]

"""Cases as a file would write them, for tests."""

from __future__ import annotations

from pydantic import TypeAdapter

from tester.scenario.faults import Fault, FaultSection
from tester.scenario.model import CaseSection

_ADAPTER: TypeAdapter[FaultSection] = TypeAdapter(Fault)


def fault(kind: str, **keys: object) -> FaultSection:
    """A fault with the keys of a file, times with their units."""
    return _ADAPTER.validate_python({"fault": kind, **keys})


def single(kind: str, name: str = "c", **keys: object) -> CaseSection:
    """A case with one fault (``none``: without); keys of the case and of the fault side by side."""
    own = {key: value for key, value in keys.items() if key in CaseSection.model_fields}
    rest = {key: value for key, value in keys.items() if key not in own}
    faults = () if kind == "none" else ({"fault": kind, **rest},)
    return CaseSection.model_validate({"name": name, "faults": faults, **own})

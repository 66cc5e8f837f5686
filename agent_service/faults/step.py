"""What every step of a fault is."""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step"):
    """Base of all actions and checks."""

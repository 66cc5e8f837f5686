"""The base of every part of a scenario file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Names of scenarios and cases: they become parts of file names and fault ids."""


class Section(BaseModel):
    """Immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

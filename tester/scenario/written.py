"""A scenario's plain values as YAML that reads back as the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from tester.scenario.tree import Plain

_WIDTH: Final = 115


class _Dumper(yaml.SafeDumper):
    """Floats without an exponent: ``tree`` takes 1.0e-05 for text."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    digits = f"{value:.18f}".rstrip("0")
    return dumper.represent_scalar("tag:yaml.org,2002:float", digits + "0" * digits.endswith("."))


_Dumper.add_representer(float, _float)


def written(said: dict[str, Plain], comment: str) -> str:
    """The text of a scenario; ``comment`` is its first line."""
    text = yaml.dump(said, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"# {comment}\n{text}"

"""What of the tester a load host gets, as a wheel: the modules that a worker imports, and no others.

Which they are is read from their sources, so that no list has to be kept. Imports for type checkers alone do not
count.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import tester
from tester.orchestration.agent_wheel import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "etcd_chaos_load"
WORKER = "tester.load.workers.hosted"
"""As ``agent_service.load.launch`` starts it."""


def load_wheel() -> tuple[str, bytes]:
    """File name and content of the wheel."""
    root = Path(tester.__file__).parents[1]
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(_needed(root))}
    return packed(_NAME, files)


def _needed(root: Path) -> set[Path]:
    """The files of a worker, and of all that they import of this package."""
    waiting, found = [WORKER], set[Path]()
    while waiting:
        path = _file_of(root, waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        package = ".".join(path.parent.relative_to(root).parts)
        waiting += [package, package.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()))]
    return found


def _file_of(root: Path, module: str) -> Path | None:
    """Where a module lies; ``None``: it is none, or not of this package."""
    if module.partition(".")[0] != tester.__name__:
        return None
    path = root.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imported(node)

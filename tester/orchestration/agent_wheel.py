"""The agent as a wheel of its own, packed from the very ``agent_service`` that this controller imports.

It is the same in a checkout and in an installation, needs no build backend, and its bytes depend on the
sources alone, so that they can stand for "the agent's version" (``docs/adr/shipping-the-agent.md``).
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

import agent_service

_NAME = "etcd_chaos_agent"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows
_FILE_MODE = 0o100644 << 16
_SHIPPED = frozenset({".py", ".typed"})


def agent_wheel() -> tuple[str, bytes]:
    """File name and content of the wheel."""
    package = Path(agent_service.__file__).parent
    files = {
        f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.suffix in _SHIPPED
    }
    return packed(_NAME, files, b"[console_scripts]\netcd-chaos-agent = agent_service.cli:main\n")


def packed(name: str, files: dict[str, bytes], entry_points: bytes = b"") -> tuple[str, bytes]:
    """File name and content of a wheel of this version with these files."""
    version = agent_service.__version__
    info = f"{name}-{version}.dist-info"
    contents = dict(files)
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: etcd-chaos\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entry_points:
        contents[f"{info}/entry_points.txt"] = entry_points
    contents[f"{info}/RECORD"] = _record(contents, f"{info}/RECORD")
    return f"{name}-{version}-py3-none-any.whl", _zipped(contents)


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{own_name},,", ""]).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _FILE_MODE
            # Stored, not deflated: another zlib would give other bytes for the same sources.
            archive.writestr(entry, content)
    return buffer.getvalue()

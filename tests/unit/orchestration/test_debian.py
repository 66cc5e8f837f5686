from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tester.errors import InfrastructureError
from tester.orchestration.debian import debian_mirror

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
Types: deb
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://not.a.field/debian

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main
"""


def apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = "sources.list" if name == "main" else f"sources.list.d/{name.replace('_', '.')}"
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "mirror"),
    [
        ({"debian_sources": DEB822}, "http://mirror.example/debian"),
        ({"main": "deb http://one.example/debian/ sid main contrib\n"}, "http://one.example/debian/"),
        ({"main": "deb [arch=amd64 signed-by=/k] http://o.example/debian bookworm main # x\n"},
         "http://o.example/debian"),
        # Another archive borrows the suite's name; Debian's own wins although it comes later.
        ({"main": "deb https://vendor.example/apt bookworm main\n", "debian_sources": DEB822},
         "http://mirror.example/debian"),
        ({"main": "deb http://mirrors.example/pub/linux bookworm main\n"}, "http://mirrors.example/pub/linux"),
    ],
)  # fmt: skip
def test_the_mirror_is_the_one_apt_uses(tmp_path: Path, files: dict[str, str], mirror: str) -> None:
    assert debian_mirror(apt(tmp_path, **files)) == mirror


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"main": "# deb http://mirror.example/debian bookworm main\n"},
        {"main": "deb-src http://mirror.example/debian bookworm main\n"},
        {"main": "deb http://security.example/debian-security bookworm-security main\n"},
        {"vendor_list": "deb https://vendor.example/apt bookworm stable\n"},
        {"debian_sources": DEB822.replace("Types: deb", "Types: deb-src")},
        {"debian_sources.save": DEB822},
    ],
)
def test_without_a_debian_archive_the_remedy_is_named(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(InfrastructureError, match="no source") as caught:
        debian_mirror(apt(tmp_path, **files))
    assert "mirror" in (caught.value.remedy or "")

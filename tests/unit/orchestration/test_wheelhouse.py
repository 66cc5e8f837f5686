from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import agent_service
from agent_service.load import launch
from tester.errors import InfrastructureError
from tester.orchestration import wheelhouse
from tester.orchestration.agent_wheel import agent_wheel
from tester.orchestration.load_wheel import WORKER, load_wheel
from tester.orchestration.paths import agent_lock, share_dir
from tester.orchestration.wheelhouse import HostPython, platform_tags

REQUIREMENTS = share_dir() / "requirements"


def names(path: Path) -> set[str]:
    lines = path.read_text().splitlines()
    return {
        canonicalize_name(Requirement(line.split("#")[0]).name) for line in lines if re.match(r"\w", line)
    }


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_the_agents_wheel_is_the_same_for_the_same_sources() -> None:
    assert agent_wheel() == agent_wheel()


def test_the_agents_wheel_records_every_file() -> None:
    name, content = agent_wheel()
    assert re.fullmatch(r"etcd_chaos_agent-[\d.]+-py3-none-any\.whl", name)
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        (record,) = (entry for entry in wheel.namelist() if entry.endswith("/RECORD"))
        rows = [line.split(",") for line in wheel.read(record).decode().splitlines()]
        assert {row[0] for row in rows} == set(wheel.namelist())
        for path, digest, size in rows[:-1]:
            data = wheel.read(path)
            assert digest == "sha256=" + base64.urlsafe_b64encode(
                hashlib.sha256(data).digest()
            ).decode().rstrip("=")
            assert int(size) == len(data)
        shipped = {path for path in wheel.namelist() if path.endswith(".py")}
    package = Path(agent_service.__file__).parent
    assert shipped == {
        f"agent_service/{path.relative_to(package).as_posix()}" for path in package.rglob("*.py")
    }


def test_a_host_gets_every_package_that_the_agent_imports() -> None:
    imported = set()
    for path in Path(agent_service.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    theirs = {canonicalize_name(name) for name in imported - set(sys.stdlib_module_names) - {"agent_service"}}
    assert theirs <= set(pins(agent_lock()))
    assert theirs - {"starlette"} <= names(
        REQUIREMENTS / "agent.in"
    )  # starlette is FastAPI's and comes with it


def test_the_agent_needs_nothing_that_the_controller_lacks() -> None:
    project = tomllib.loads((share_dir() / "pyproject.toml").read_text())
    declared = {canonicalize_name(Requirement(line).name) for line in project["project"]["dependencies"]}
    assert names(REQUIREMENTS / "agent.in") - {"pip"} <= declared
    controller = pins(REQUIREMENTS / "controller.txt")
    shared = pins(agent_lock()).items() - {("pip", pins(agent_lock())["pip"])}
    assert shared <= controller.items()


def test_the_load_needs_nothing_that_the_agent_or_the_controller_pins_otherwise() -> None:
    load = pins(REQUIREMENTS / "load.txt").items()
    assert pins(agent_lock()).items() <= load
    assert load - pins(agent_lock()).items() <= pins(REQUIREMENTS / "controller.txt").items()
    # not what the controller has beside
    assert not {"numpy", "ansible-core", "ansible-runner", "cryptography", "rich"} & dict(load).keys()


def test_a_load_host_gets_all_that_a_worker_imports_and_no_more(tmp_path: Path) -> None:
    for _, content in (agent_wheel(), load_wheel()):
        zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path)  # noqa: S202 - ours
    shipped = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("tester/**/*.py")}
    look = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib;"
        f"importlib.import_module({WORKER!r});"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.partition('.')[0] in ('tester', 'agent_service')))"
    )
    argv = [sys.executable, "-I", "-c", look, str(tmp_path)]
    imported = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout.split()
    assert all(path.startswith(str(tmp_path)) for path in imported)
    used = {Path(path).relative_to(tmp_path).as_posix() for path in imported}
    assert used - {path for path in used if path.startswith("agent_service")} <= shipped
    assert not any("orchestration" in path or "checkers" in path for path in shipped)
    assert load_wheel() == load_wheel()


def test_the_worker_is_the_one_that_the_agent_starts() -> None:
    assert WORKER == launch.PROGRAM


@pytest.mark.parametrize("lock", ["agent.txt", "load.txt", "controller.txt", "dev.txt"])
def test_locks_are_hashed_and_name_no_place(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    entries = re.split(r"\n(?=\w)", text)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|file:/|--find-links|--index-url|--extra-index-url", text)


def test_platforms_are_all_that_the_hosts_library_can_run() -> None:
    tags = platform_tags(HostPython(python="3.11", machine="x86_64", glibc="2.19"))
    assert tags == (
        "manylinux_2_19_x86_64",
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    )
    with pytest.raises(InfrastructureError, match="too old"):
        platform_tags(HostPython(python="3.11", machine="x86_64", glibc="2.12"))


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Instead of downloading, pip "finds" two wheels."""
    calls: list[tuple[str, ...]] = []

    async def run_command(argv: tuple[str, ...], **_: object) -> None:
        calls.append(argv)
        folder = Path(argv[argv.index("--dest") + 1])
        folder.mkdir()  # noqa: ASYNC240 - a test may block
        (folder / "pip-26.0-py3-none-any.whl").write_bytes(b"pip")
        (folder / "uvloop-0.22.0-cp311-cp311-manylinux2014_x86_64.whl").write_bytes(b"uvloop")

    monkeypatch.setattr(wheelhouse, "run_command", run_command)
    return calls


async def test_a_wheelhouse_is_built_once(tmp_path: Path, fake_pip: list[tuple[str, ...]]) -> None:
    host = HostPython(python="3.12", machine="x86_64", glibc="2.36")
    built = await wheelhouse.build_wheelhouse(host, tmp_path, print)
    again = await wheelhouse.build_wheelhouse(host, tmp_path, print)
    assert (built.built, again.built) == (True, False)
    assert again.key == built.key
    (call,) = fake_pip
    assert "--require-hashes" in call
    assert call[call.index("--python-version") + 1] == "3.12"
    other = await wheelhouse.build_wheelhouse(host.model_copy(update={"python": "3.13"}), tmp_path, print)
    assert other.key != built.key


async def test_a_wheelhouse_installs_everything_but_pip_by_hash(
    tmp_path: Path, fake_pip: list[tuple[str, ...]]
) -> None:
    built = await wheelhouse.build_wheelhouse(
        HostPython(python="3.12", machine="x86_64", glibc="2.36"), tmp_path, print
    )
    with tarfile.open(built.archive) as tar:
        assert built.pip in tar.getnames()
        install = tar.extractfile("install.txt").read().decode()
    requirements = dict(line.split(" --hash=sha256:") for line in install.splitlines())
    assert set(requirements) == {"uvloop==0.22.0", f"etcd_chaos_agent=={agent_service.__version__}"}
    assert requirements["uvloop==0.22.0"] == hashlib.sha256(b"uvloop").hexdigest()


async def test_a_load_host_gets_another_wheelhouse(tmp_path: Path, fake_pip: list[tuple[str, ...]]) -> None:
    host = HostPython(python="3.12", machine="x86_64", glibc="2.36")
    plain = await wheelhouse.build_wheelhouse(host, tmp_path, print)
    built = await wheelhouse.build_wheelhouse(host.model_copy(update={"load": True}), tmp_path, print)
    assert built.key != plain.key
    assert [Path(call[call.index("--requirement") + 1]).name for call in fake_pip] == [
        "agent.txt",
        "load.txt",
    ]
    with tarfile.open(built.archive) as tar:
        install = tar.extractfile("install.txt").read().decode()
    assert f"etcd_chaos_load=={agent_service.__version__} --hash" in install
    assert f"etcd_chaos_agent=={agent_service.__version__} --hash" in install


async def test_only_the_newest_archives_are_kept(tmp_path: Path, fake_pip: list[tuple[str, ...]]) -> None:
    (tmp_path / "wheelhouse").mkdir()
    for number in range(20):
        (tmp_path / "wheelhouse" / f"{number}.tar").touch()
    built = await wheelhouse.build_wheelhouse(
        HostPython(python="3.12", machine="x86_64", glibc="2.36"), tmp_path, print
    )
    left = list(built.archive.parent.glob("*.tar"))
    assert len(left) == 8
    assert built.archive in left

"""Certificate and key of the member: written for its user alone, on no command line, gone when they should be."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr, ValidationError

from agent_service import membertls
from agent_service.errors import RefusedError
from agent_service.launch import check_spec, etcd_argv
from agent_service.models import MemberTls
from tests.agent.settings import agent_settings
from tests.unit.member.settings import member_spec

if TYPE_CHECKING:
    from agent_service.settings import AgentSettings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
MATERIAL = MemberTls(ca=CERTIFICATE, certificate=CERTIFICATE, key=SecretStr(KEY))


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    made = agent_settings(tmp_path)
    made.state_dir.mkdir()
    return made


def test_flags() -> None:
    settings = agent_settings(Path("/x"))
    directory = "/x/state/member-tls"
    client = (
        f"--cert-file={directory}/member.crt",
        f"--key-file={directory}/member.key",
        f"--trusted-ca-file={directory}/ca.crt",
    )
    peer = (
        f"--peer-cert-file={directory}/member.crt",
        f"--peer-key-file={directory}/member.key",
        f"--peer-trusted-ca-file={directory}/ca.crt",
        "--peer-client-cert-auth",
    )
    assert membertls.flags(settings, member_spec()) == ()
    assert membertls.flags(settings, member_spec(tls="auto")) == ("--auto-tls", "--peer-auto-tls")
    assert membertls.flags(settings, member_spec(tls="own")) == (*client, *peer)
    asking = member_spec(tls="own", client_cert_auth=True, flags={"pre-vote": "true"})
    assert membertls.flags(settings, asking) == (*client, "--client-cert-auth", *peer)
    argv = etcd_argv(Path("/etcd"), asking, Path("/data"), membertls.flags(settings, asking))
    assert argv[-9:] == (*client, "--client-cert-auth", *peer, "--pre-vote=true")


def test_files_are_for_their_owner_and_go_as_a_whole(settings: AgentSettings) -> None:
    membertls.install(settings, MATERIAL)
    membertls.install(settings, MATERIAL)
    directory = membertls.directory_of(settings)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {path.name: path for path in directory.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert files["member.key"].read_text() == KEY
    membertls.remove(settings)
    assert not directory.exists()
    membertls.remove(settings)


def test_a_directory_of_somebody_else_is_left_alone(settings: AgentSettings) -> None:
    directory = membertls.directory_of(settings)
    directory.mkdir()
    (directory / "theirs").touch()
    with pytest.raises(RefusedError, match="was not made by this agent"):
        membertls.install(settings, MATERIAL)
    with pytest.raises(RefusedError, match="was not made by this agent"):
        membertls.remove(settings)
    assert [path.name for path in directory.iterdir()] == ["theirs"]


def test_a_member_without_its_certificate_is_refused(settings: AgentSettings) -> None:
    with pytest.raises(RefusedError, match="certificate of its own, and there is none"):
        check_spec(settings, member_spec(tls="own"))
    with pytest.raises(RefusedError, match="needs a CA"):
        check_spec(settings, member_spec(tls="auto", client_cert_auth=True))


def test_nothing_shows_the_key() -> None:
    assert "c2VjcmV0" not in f"{MATERIAL!r} {MATERIAL}"
    assert MemberTls.model_validate_json(MATERIAL.model_dump_json()) == MATERIAL


@pytest.mark.parametrize("text", ["", "no pem", "-----BEGIN CERTIFICATE-----\n\x00", KEY])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        MemberTls(ca=text, certificate=CERTIFICATE, key=SecretStr(KEY))

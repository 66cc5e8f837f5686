"""Certificate and key of the member, on this host alone: a request brings them, terminate takes them away.

They lie in a directory of the agent's own beside the member's record, mode 0700, files 0600, owned by the user that
runs etcd. Neither record, nor answers, nor command lines, nor the audit log hold what is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service import datadir
from agent_service.durable import write_durably
from agent_service.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service.models import MemberSpec, MemberTls
    from agent_service.settings import AgentSettings

_DIRECTORY: Final = "member-tls"
_CA, _CERTIFICATE, _KEY = "ca.crt", "member.crt", "member.key"


def directory_of(settings: AgentSettings) -> Path:
    """Where they lie."""
    return settings.state_dir / _DIRECTORY


def install(settings: AgentSettings, material: MemberTls) -> None:
    """Write them, in place of older ones.

    Raises:
        RefusedError: the directory is not the agent's.
        UnavailableError: they cannot be written.
    """
    directory = directory_of(settings)
    datadir.create_owned(
        directory,
        (settings.state_dir,),
        host=settings.host,
        purpose="certificate of the member",
        user=settings.member_user,
    )
    owner = directory.stat()
    for name, content in (
        (_CA, material.ca),
        (_CERTIFICATE, material.certificate),
        (_KEY, material.key.get_secret_value()),
    ):
        # Before it has its name: afterwards whoever owns the directory could have put something else there.
        write_durably(directory / name, content.encode(), owner=(owner.st_uid, owner.st_gid))


def remove(settings: AgentSettings) -> None:
    """Take them away; it is fine if there are none. Raises as ``datadir.remove_owned``."""
    datadir.remove_owned(directory_of(settings), (settings.state_dir,))


def check(settings: AgentSettings, spec: MemberSpec) -> None:
    """Whether a member that needs a certificate has one.

    Raises:
        RefusedError: it has none, or is to ask clients for certificates that no CA could vouch for.
    """
    if spec.client_cert_auth and spec.tls != "own":
        raise RefusedError(
            "client_cert_auth needs a CA to verify clients with", remedy="start the member with tls own"
        )
    if spec.tls == "own" and not (directory_of(settings) / _KEY).is_file():
        raise RefusedError(
            "the member is to have a certificate of its own, and there is none here",
            remedy="put it first: PUT /v1/member/tls",
        )


def flags(settings: AgentSettings, spec: MemberSpec) -> tuple[str, ...]:
    """What the command line says about TLS; members always ask each other for certificates of their CA."""
    if spec.tls == "off":
        return ()
    if spec.tls == "auto":
        return ("--auto-tls", "--peer-auto-tls")
    directory = directory_of(settings)
    files = (("cert-file", _CERTIFICATE), ("key-file", _KEY), ("trusted-ca-file", _CA))
    client = tuple(f"--{flag}={directory / name}" for flag, name in files)
    peer = tuple(f"--peer-{flag}={directory / name}" for flag, name in files)
    asked = ("--client-cert-auth",) if spec.client_cert_auth else ()
    return (*client, *asked, *peer, "--peer-client-cert-auth")

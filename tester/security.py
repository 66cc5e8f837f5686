"""Certificates, users and passwords of one cluster: made for a round, kept in memory, gone with it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from agent_service.models import MemberTls
from tester.etcd.credentials import ClientTls, Login
from tester.etcd.endpoint import Endpoint
from tester.etcd.users import ROOT
from tester.orchestration.certificates import (
    Identity,
    encode_certificates,
    encode_key,
    issue_ca,
    issue_leaf,
    utc_now,
)
from tester.scenario.model import Tls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tester.inventory import Host
    from tester.scenario.model import ClusterSection

_LOAD_USER = "etcd-chaos-load"
_CLIENT = "etcd-chaos-client"


@dataclass(frozen=True, slots=True)
class Security:
    """What a cluster asks of whom. ``members`` is empty unless they have certificates of our CA."""

    tls: Tls = Tls.OFF
    members: Mapping[str, MemberTls] = field(default_factory=dict, repr=False)
    client: ClientTls | None = None
    root: Login | None = None
    load: Login | None = None

    def admin_endpoints(self, hosts: Sequence[Host]) -> tuple[Endpoint, ...]:
        """Where each member answers the tester itself: as ``root`` where there are users."""
        return tuple(
            Endpoint(host.name, host.address, host.client_port, self.client, self.root) for host in hosts
        )

    def load_endpoints(self, hosts: Sequence[Host]) -> tuple[Endpoint, ...]:
        """Where each member answers load and watchers: as a user that reaches the load's keys alone."""
        return tuple(replace(endpoint, login=self.load) for endpoint in self.admin_endpoints(hosts))

    def url(self, plain: str) -> str:
        """A member's URL, with the scheme that it speaks."""
        return plain if self.tls is Tls.OFF else plain.replace("http://", "https://", 1)


def make_security(section: ClusterSection, hosts: Sequence[Host]) -> Security:
    """Keys and passwords that nobody has seen before."""
    root = load = None
    if section.auth:
        root, load = Login(ROOT, secrets.token_urlsafe(24)), Login(_LOAD_USER, secrets.token_urlsafe(24))
    if section.tls is Tls.OFF:
        return Security(root=root, load=load)
    if section.tls is Tls.AUTO:
        return Security(Tls.AUTO, client=ClientTls(), root=root, load=load)
    now = utc_now()
    authority = issue_ca(now)
    ca = encode_certificates(authority.certificate)
    members = {}
    for host in hosts:
        pair = issue_leaf(Identity(host.name, host.address, calls=True), authority, now)
        members[host.name] = MemberTls(
            ca=ca.decode(),
            certificate=encode_certificates(pair.certificate).decode(),
            key=SecretStr(encode_key(pair.key).decode()),
        )
    client = ClientTls(ca)
    if section.client_cert_auth:
        pair = issue_leaf(Identity(_CLIENT), authority, now)
        client = ClientTls(ca, encode_certificates(pair.certificate), encode_key(pair.key))
    return Security(Tls.OWN, members, client, root, load)

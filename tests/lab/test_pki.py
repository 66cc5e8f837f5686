from __future__ import annotations

from typing import TYPE_CHECKING

from tester.orchestration.plays import Playbooks

if TYPE_CHECKING:
    from tester.orchestration.lab import Lab

HOST_DIR = "/etc/etcd-chaos/pki"


async def test_every_host_gets_its_own_certificate_and_no_key_is_shown(lab: Lab) -> None:
    playbooks = Playbooks(lab.inventory, lab.spec.directory / "ansible", print)
    first = await playbooks.run("deploy", tags=["pki"])
    again = await playbooks.run("deploy", tags=["pki"])
    assert not any(again.changed.values())

    pki = lab.spec.directory / "pki"
    for host in lab.hosts:
        modes = await lab.run(host.name, ("stat", "--format=%a:%U", HOST_DIR, f"{HOST_DIR}/*"))
        assert modes.split() == ["700:root", "600:root", "600:root", "600:root"]
        for name, source in (("agent.crt", f"hosts/{host.name}.crt"), ("ca.crt", "ca.crt")):
            assert await lab.run(host.name, ("cat", f"{HOST_DIR}/{name}")) == (pki / source).read_text()
    keys = [line for path in pki.rglob("*.key") for line in path.read_text().splitlines()[1:-1]]
    for outcome in (first, again):
        said = outcome.output.read_text()
        assert not any(line in said for line in keys)

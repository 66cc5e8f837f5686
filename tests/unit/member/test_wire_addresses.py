"""What an address on the wire may be: it becomes part of firewall rules and of etcd's flags."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent_service.models import Address, EndpointUrl

ADDRESS: TypeAdapter[str] = TypeAdapter(Address)
URL: TypeAdapter[str] = TypeAdapter(EndpointUrl)


def takes(kind: TypeAdapter[str], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("given", "kept"),
    [("10.0.0.2", "10.0.0.2"), ("FD00:0::3", "fd00::3"), ("::", "::"), ("fe80::1", "fe80::1")],
)
def test_addresses_are_kept_in_their_shortest_form(given: str, kept: str) -> None:
    assert ADDRESS.validate_python(given) == kept


HOSTILE = [
    "fe80::1%eth0",
    "fe80::1%} } flush ruleset",
    "fe80::1%",
    "fe80::1%eth0\n",
    "::ffff:10.0.0.2",
    "10.0.0.2\n",
    " 10.0.0.2",
    "10.0.0.2/8",
    "10.0.0.0-10.9.9.9",
    "{ 10.0.0.2, 10.0.0.3 }",
    "010.0.0.2",
    "\N{FULLWIDTH DIGIT ONE}0.0.0.2",
    "@set",
    "localhost",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_an_address_is_nothing_but_an_address(text: str) -> None:
    assert not takes(ADDRESS, text)
    assert not takes(URL, f"http://{text}:2380")
    assert not takes(URL, f"http://[{text}]:2380")


@pytest.mark.parametrize("url", ["http://10.0.0.2:2380", "https://[fd00::3]:1/", "http://[::1]:65535"])
def test_endpoint_urls(url: str) -> None:
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.2:2380\n",
        "\x01http://10.0.0.2:2380",
        "http://10.0.0.2:23\t80",
        "http://10.0.0.2:0",
        "http://10.0.0.2:65536",
        "http://10.0.0.2:\N{FULLWIDTH DIGIT TWO}380",
        "http://10.0.0.2",
        "http://[10.0.0.2]:2380",
        "http://fd00::3:2380",
        "http://user@10.0.0.2:2380",
        "http://10.0.0.2:2380//",
        "http://10.0.0.2:2380/?q",
        "http://10.0.0.2:2380,http://10.0.0.3:2380",
        "unix://10.0.0.2:2380",
        "http://[fe80::1%25eth0]:2380",
    ],
)
def test_an_endpoint_url_is_nothing_but_one(url: str) -> None:
    assert not takes(URL, url)


@given(st.text(alphabet="0123456789abcdef:.% {};\n/-", max_size=45) | st.text(max_size=20))
def test_what_is_taken_has_no_letter_that_a_ruleset_could_read(text: str) -> None:
    if takes(ADDRESS, text):
        kept = ADDRESS.validate_python(text)
        assert re.fullmatch(r"[0-9a-f:.]+", kept)
        assert ip_address(kept) == ip_address(text)

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may call a registry, and what that means."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import (
    Repository,
    check_tag,
    has_host,
    is_loopback,
)


@pytest.mark.parametrize(
    ("text", "host", "name", "scheme"),
    [
        ("registry.example.org/team", "registry.example.org", "team", ""),
        ("oci://registry.example.org/team/web", "registry.example.org", "team/web", ""),
        ("https://registry.example.org:8443/team/", "registry.example.org:8443", "team", "https"),
        ("http://localhost:5000/x", "localhost:5000", "x", "http"),
        ("localhost/x", "localhost", "x", ""),
        ("[::1]:5000/x", "[::1]:5000", "x", ""),
        ("Registry.Example.org/x", "registry.example.org", "x", ""),
        ("registry.example.org", "registry.example.org", "", ""),
    ],
)
def test_a_repository_is_a_host_and_a_path(text: str, host: str, name: str, scheme: str) -> None:
    assert Repository.parse(text) == Repository(host, name, scheme)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "team/web",
        "web",
        "s3://bucket/x",
        "registry.example.org/Team",
        "registry.example.org/a:1",
        "registry.example.org/a@sha256:00",
        "registry.example.org/../x",
        "user@registry.example.org/x",
    ],
)
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(DriverError):
        Repository.parse(text)


def test_an_image_is_a_repository_below_the_users() -> None:
    assert str(Repository.parse("registry.example.org/team").child("web")) == (
        "registry.example.org/team/web"
    )
    assert str(Repository.parse("registry.example.org").child("web")) == "registry.example.org/web"
    with pytest.raises(DriverError, match="cannot be the name"):
        Repository.parse("registry.example.org").child("Web")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("a.localhost:1", True),
        ("10.0.0.1:5000", False),
        ("localhost.example.org", False),
        ("registry.example.org:5000", False),
        ("127.0.0.1.nip.test", False),
    ],
)
def test_loopback_is_told_by_the_name_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_host_has_a_dot_or_a_port() -> None:
    assert [
        has_host(t) for t in ("a.b/c", "a:1/c", "localhost/c", "a/c", "./a", "../a", "/a.b")
    ] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("tag", ["", "-x", ".x", "a/b", "a:b", "x" * 129])
def test_what_can_be_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(DriverError, match="cannot be a tag"):
        check_tag(tag)

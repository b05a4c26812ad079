# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server from the role nginx does and is, seen from inside of its host.

There may be no curl, no ps and no Python in there: bash talks to the port, /proc tells the rest.
"""

from __future__ import annotations

import shlex

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://as_service"]

PORT = 8080


def request(host: Host, path: str) -> tuple[str, dict[str, str], str]:
    """Return the status line, the headers (names in lower case) and the body of a GET."""
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && "
        f"printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3"
    )
    answer = host.check_output(f"bash -c {shlex.quote(script)}").replace("\r\n", "\n")
    head, _blank, body = answer.partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value for name, _colon, value in (x.partition(": ") for x in lines)}
    return status, headers, body


def processes(host: Host) -> list[str]:
    """Return the user ids (real, effective, saved, file system) of each process of nginx."""
    script = (
        'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = nginx ] && '
        "grep ^Uid: $p/status; done; true"
    )
    found: str = host.check_output(script)
    return found.splitlines()


def test_the_site_is_served(host: Host) -> None:
    status, headers, body = request(host, "/")
    assert status == "HTTP/1.1 200 OK"
    assert headers["content-type"] == "text/html"
    assert "<html" in body


def test_the_health_request_is_answered(host: Host) -> None:
    status, _headers, body = request(host, "/healthz")
    assert (status, body) == ("HTTP/1.1 200 OK", "ok")


def test_the_health_check_ends_well(host: Host) -> None:
    assert host.run("/usr/local/bin/nginx-healthcheck").rc == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/there-is-no-such-page"])
def test_every_answer_carries_the_security_headers(
    host: Host, path: str, name: str, value: str
) -> None:
    assert request(host, path)[1].get(name) == value


def test_the_version_is_not_told(host: Host) -> None:
    _status, headers, body = request(host, "/there-is-no-such-page")
    assert headers["server"] == "nginx"
    assert "nginx/" not in body


def test_no_process_runs_as_root(host: Host) -> None:
    expected = host.check_output("id -u www-data")
    found = processes(host)
    assert len(found) > 1  # the master and a worker at least
    assert {identity for line in found for identity in line.split()[1:]} == {expected}


def test_the_site_belongs_to_root(host: Host) -> None:
    assert set(host.check_output("find /srv/www -printf '%U:%G\\n'").splitlines()) == {"0:0"}

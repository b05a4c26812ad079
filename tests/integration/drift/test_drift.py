# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift of real instances: each way of tampering is found, and what was left alone is clean."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import Report
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import find_instances
from ansible_collections.kiln.immutable.plugins.plugin_utils.drift_check import (
    Asked,
    checker_of,
    expectation,
    version_of,
)
from ansible_collections.kiln.immutable.plugins.plugin_utils.manifests import (
    image_manifest,
    layers_manifest,
)
from ansible_collections.kiln.immutable.plugins.plugin_utils.wanted_version import stored_image
from ansible_collections.kiln.immutable.tests.integration.drift.instances import (
    Start,
    Web,
    docker,
    play,
)

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")

IN_SHELL = r"""
set -eu
# A flipped byte, of which no time tells: even the change time could be that of the deployment.
touch -r /etc/nginx/nginx.conf /dev/shm/ref
printf '#' | dd of=/etc/nginx/nginx.conf bs=1 seek=40 conv=notrunc 2> /dev/null
touch -r /dev/shm/ref /etc/nginx/nginx.conf
rm /dev/shm/ref
chmod u+s /usr/bin/env
echo 'intruder:x:0:0::/:/bin/sh' >> /etc/passwd
cp -p /usr/bin/true /usr/bin/ls.new && mv /usr/bin/ls.new /usr/bin/ls
rm /etc/debian_version
ln -sfn /usr/bin/true /etc/alternatives/awk
printf '* * * * * root /usr/bin/true\n' > /etc/cron.d/job
mkdir -p /var/lib/undeclared && echo data > /var/lib/undeclared/file
chmod 0666 /etc/shells
chown 33:33 /srv/www
echo hidden > /tmp/.hidden
ln /usr/bin/passwd /var/tmp/linked
mknod /var/tmp/disk b 254 0
echo /var/tmp/x.so > /etc/ld.so.preload
mkdir -p /root/.ssh && echo 'ssh-ed25519 AAAA intruder' > /root/.ssh/authorized_keys
rm /etc/issue && mkdir /etc/issue
mkfifo /var/tmp/pipe
echo shared > /dev/shm/kept
rm -r /usr/share/bug
sed -i '/^Package: bash$/,/^Version/s/^Version: .*/Version: 99/' /var/lib/dpkg/status
cp /usr/bin/sleep /var/tmp/gone && cp /usr/bin/sleep /var/tmp/foreign
(exec setsid /var/tmp/gone 300 > /dev/null 2>&1 &)
(exec setsid /var/tmp/foreign 300 > /dev/null 2>&1 &)
for try in 1 2 3 4 5 6 7 8 9; do [ -n "$(cat /proc/[0-9]*/comm | grep gone)" ] || sleep 0.2; done
rm /var/tmp/gone
"""

FROM_OUTSIDE = r"""
import os, sys
root = f"/proc/{sys.argv[1]}/root"
# cap_net_raw+ep, in version 2 of the attribute (capabilities(7)).
value = bytes.fromhex("0100000200200000" + "00" * 12)
os.setxattr(f"{root}/usr/bin/dd", "security.capability", value)
"""

TAMPERINGS = {
    "a flipped byte": ("file", "/etc/nginx/nginx.conf", "changed", "content"),
    "a setuid bit": ("file", "/usr/bin/env", "changed", "mode 0755 -> 4755"),
    "a new user": ("file", "/etc/passwd", "changed", "content"),
    "a replaced binary": ("file", "/usr/bin/ls", "changed", "content"),
    "a deleted file": ("file", "/etc/debian_version", "removed", ""),
    "a deleted directory": ("file", "/usr/share/bug", "removed", ""),
    "a link elsewhere": ("file", "/etc/alternatives/awk", "changed", "target"),
    "a cron job": ("file", "/etc/cron.d/job", "added", ""),
    "a file outside of the state": ("file", "/var/lib/undeclared/file", "added", ""),
    "another mode": ("file", "/etc/shells", "changed", "mode"),
    "another owner": ("file", "/srv/www", "changed", "owner 0:0 -> 33:33"),
    "a hidden file": ("file", "/tmp/.hidden", "added", ""),
    "a hard link": ("file", "/var/tmp/linked", "added", ""),
    "a device node": ("file", "/var/tmp/disk", "added", "254:0"),
    "a preloaded library": ("file", "/etc/ld.so.preload", "added", ""),
    "a key that may log in": ("file", "/root/.ssh/authorized_keys", "added", ""),
    "another type": ("file", "/etc/issue", "changed", "file -> directory"),
    "a pipe": ("file", "/var/tmp/pipe", "added", "fifo"),
    "a file in shared memory": ("file", "/dev/shm/kept", "added", ""),
    "a capability": ("file", "/usr/bin/dd", "changed", "security.capability added"),
    "a package": ("package", "tamper:all", "added", "6.6"),
    "a package's file": ("file", "/usr/share/tamper/payload", "added", ""),
    "a package's version": ("package", "bash:", "changed", "-> 99"),
    "a deleted program that runs": ("process", "/var/tmp/gone", "deleted", ""),
    "a foreign program that runs": ("process", "/var/tmp/foreign", "foreign", ""),
    "a process from outside": ("process", "/usr/bin/sleep", "entered", "sleep 301"),
    "a mount": ("mount", "/media", "added", "tmpfs"),
    "another limit": ("setting", "memory", "changed", ""),
    "another network": ("setting", "networks", "changed", ""),
    "another restart policy": ("setting", "restart", "changed", "no -> always"),
}

PLAIN = Asked()

Check = Callable[..., Report]


@pytest.fixture(scope="module")
def check(web: Web, toolbox: str) -> Check:
    """Give a function that looks for the drift of an instance."""
    assert toolbox
    shop = Workshop.at(Home.at(None))
    catalog = Catalog(shop.home.catalog)

    def checked(name: str, asked: Asked = PLAIN, number: str = web.number) -> Report:
        (instance,) = find_instances([name])
        version = version_of(catalog, instance, "web", number)
        checker = checker_of(shop, "", mirror=None, say=lambda text: None)
        (report,) = checker.check([(instance, expectation(shop, version, asked))], asked.rules)
        return report

    return checked


def package(folder: Path) -> bytes:
    """Return a Debian package."""
    top = folder / "tamper"
    (top / "DEBIAN").mkdir(parents=True)
    (top / "DEBIAN" / "control").write_text(
        "Package: tamper\nVersion: 6.6\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        "Description: tampering\n"
    )
    (top / "usr" / "share" / "tamper").mkdir(parents=True)
    (top / "usr" / "share" / "tamper" / "payload").write_text("x")
    made = folder / "tamper.deb"
    argv = ["dpkg-deb", "--build", "--root-owner-group", str(top), str(made)]
    subprocess.run(argv, check=True, capture_output=True)
    return made.read_bytes()


@pytest.fixture(scope="module")
def tampered(
    start: Start, check: Check, toolbox: str, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """Tamper with an instance in every way, and look once."""
    name = start()
    deb = package(tmp_path_factory.mktemp("package"))
    outside = ("run", "--rm", "--network", "none", "--entrypoint", "")
    sees = ("--pid", "host", "--userns", "host", "--cap-add", "SYS_PTRACE")
    unconfined = ("--security-opt", "apparmor=unconfined")
    (instance,) = find_instances([name])
    # A sealed image refuses packages, until it is told that it is being baked.
    install = "set -e; cat > /dev/shm/x.deb; mkdir /run/kiln; dpkg --install /dev/shm/x.deb"
    install += " > /dev/null; rm /dev/shm/x.deb; rmdir /run/kiln"
    docker("exec", "-i", "-u", "0", name, "sh", "-c", install, stdin=deb)
    docker("exec", "-i", "-u", "0", name, "sh", stdin=IN_SHELL.encode())
    docker("exec", "-d", name, "sleep", "301")
    may = ("--cap-add", "SETFCAP", *unconfined, toolbox)
    docker(*outside, *sees, *may, "python3", "-I", "-c", FROM_OUTSIDE, str(instance.pid))
    might = ("--cap-add", "SYS_ADMIN", "--cap-add", "SYS_CHROOT", *unconfined, toolbox)
    mount = ("nsenter", "-t", str(instance.pid), "-m", "mount", "-t", "tmpfs", "x", "/media")
    docker(*outside, *sees, *might, *mount)
    docker("update", "--memory", "256m", "--memory-swap", "256m", "--restart", "always", name)
    network = f"{name}-net"
    docker("network", "create", "--internal", network)
    try:
        docker("network", "connect", network, name)
        settings = {"memory": 0, "networks": ["bridge"], "restart": "no"}
        return check(name, Asked(settings=settings))
    finally:
        docker("network", "disconnect", "--force", network, name)
        docker("network", "rm", network)


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_each_tampering_is_found(tampered: Report, tampering: str) -> None:
    kind, subject, how, detail = TAMPERINGS[tampering]
    found = [
        one
        for one in tampered.findings
        if one.kind.value == kind and one.how == how and detail in one.detail
        if one.subject == subject or (subject.endswith(":") and one.subject.startswith(subject))
    ]
    assert found, "\n".join(map(str, tampered.findings))


def test_nothing_but_the_tampering_is_found(tampered: Report) -> None:
    expected = {subject for _kind, subject, _how, _detail in TAMPERINGS.values()}
    # What the tampering brings along: its folders, and the database of dpkg.
    along = (
        "/var/lib/dpkg/",
        "/var/lib/undeclared",
        "/root/.ssh",
        "/usr/share/tamper",
        "/usr/share/bug",
        "/var/log/dpkg.log",
        "/run/mount",
        "bash:",
    )
    others = [
        one
        for one in tampered.findings
        if one.subject not in expected and not one.subject.startswith(along)
    ]
    assert list(map(str, others)) == []


@pytest.mark.parametrize("options", [(), HARDENED, ("--init",)], ids=["plain", "hardened", "init"])
def test_an_instance_that_was_left_alone_is_clean(
    start: Start, check: Check, options: tuple[str, ...]
) -> None:
    report = check(start(*options))
    assert report.findings == ()


def test_what_a_rule_lets_pass_is_told_with_its_reason(
    start: Start, checkout: Path, web: Web
) -> None:
    name = start()
    docker("exec", "-u", "0", name, "sh", "-c", "echo 1 > /var/lib/app.pid")
    given = {"kiln_instances": [name], "kiln_version": web.number}
    done = play(checkout, "drift.yml", "-e", json.dumps(given), ends=2)
    assert "file /var/lib/app.pid added" in done.stdout
    assert f"Drifted: {name}." in done.stdout
    rule = {"file": "/var/lib/*.pid", "reason": "the old release writes it"}
    done = play(checkout, "drift.yml", "-e", json.dumps({**given, "kiln_ignore": [rule]}))
    assert "let pass: file /var/lib/app.pid added" in done.stdout
    assert "the old release writes it" in done.stdout


def test_other_settings_than_asked_for_are_found(start: Start, check: Check) -> None:
    name = start("--env", "DEBUG=1", "--cap-add", "NET_ADMIN", "--network", "host", "--user", "0")
    wanted: dict[str, Any] = {"read_only": True, "env.MODE": "prod"}
    report = check(name, Asked(settings=wanted, whole_environment=True))
    found = {one.subject for one in report.findings if one.kind.value == "setting"}
    assert found >= {
        *("cap_add", "env.DEBUG", "env.MODE", "network_is_host", "read_only", "user"),
    }


def test_an_instance_of_something_else_is_found(start: Start, check: Check, toolbox: str) -> None:
    report = check(start(image=toolbox, words=["sleep", "300"]))
    assert report.findings[0].kind.value == "image"
    assert len(report.findings) > 100


def test_an_instance_that_stopped_is_read_too(start: Start, check: Check) -> None:
    name = start()
    docker("exec", "-u", "0", name, "sh", "-c", "echo 1 >> /etc/passwd; rm /etc/issue")
    docker("kill", name)
    report = check(name)
    assert [str(one) for one in report.findings] == [
        "file /etc/issue removed",
        "file /etc/passwd changed: content",
    ]
    assert any("processes" in one for one in report.unseen)


def test_the_kept_manifest_is_what_the_layers_hold(web: Web, toolbox: str) -> None:
    assert toolbox
    shop = Workshop.at(Home.at(None))
    version = Catalog(shop.home.catalog).version("web", web.number)
    assert version is not None
    image = stored_image(shop, version)
    assert image_manifest(shop.layout, image) == layers_manifest(shop.layout, image.layers)

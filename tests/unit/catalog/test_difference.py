# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In what two versions differ, and how it is said."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.catalog.difference import (
    Changed,
    Contents,
    LayerSize,
    Shown,
    compare,
    config_settings,
    headlines,
    render_difference,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.listing import EntryType
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import TreeEntry


def file(
    path: str, digest: str = "sha256:aaaaaaaaaaaa", mode: int = 0o644, mtime: int = 1
) -> TreeEntry:
    return TreeEntry(path, EntryType.FILE, mode, 0, 0, mtime, 5, digest, "", (0, 0), (), 0)


def contents(*files: TreeEntry, **more: object) -> Contents:
    given: dict[str, object] = {"packages": {}, "layers": [], "config": {}, "checks": {}, **more}
    return Contents(files={one.path: one for one in files}, **given)  # type: ignore[arg-type]


def test_equal_versions_have_no_difference() -> None:
    one = contents(file("etc/a"), packages={"bash:amd64": "5.2"}, layers=[LayerSize("app", "d", 1)])
    found = compare(one, one)
    assert not any(found.as_json().values())
    assert render_difference("web", found)[2] == "packages: no difference"


def test_packages_go_up_down_come_and_leave() -> None:
    old = contents(packages={"a:amd64": "1.0-1", "b:amd64": "2:1", "c:all": "1"})
    new = contents(packages={"a:amd64": "1.0-1+deb12u1", "b:amd64": "9", "d:all": "1"})
    assert [(one.name, one.how) for one in compare(old, new).packages] == [
        ("a:amd64", "upgraded"),
        ("b:amd64", "downgraded"),
        ("c:all", "removed"),
        ("d:all", "added"),
    ]


def test_a_file_differs_by_content_mode_and_owner_and_not_by_its_time() -> None:
    old = contents(file("etc/a"), file("etc/b"), file("etc/c"), file("etc/d"))
    new = contents(
        file("etc/a", "sha256:bbbbbbbbbbbb"), file("etc/b", mode=0o4755), file("etc/c", mtime=9)
    )
    assert compare(old, new).files == (
        Changed(
            "/etc/a",
            "changed",
            "file 0644 0:0 5 bytes aaaaaaaaaaaa",
            "file 0644 0:0 5 bytes bbbbbbbbbbbb",
        ),
        Changed(
            "/etc/b",
            "changed",
            "file 0644 0:0 5 bytes aaaaaaaaaaaa",
            "file 4755 0:0 5 bytes aaaaaaaaaaaa",
        ),
        Changed("/etc/d", "removed", "file 0644 0:0 5 bytes aaaaaaaaaaaa", None),
    )


def test_layers_of_the_same_name_are_told_apart() -> None:
    old = contents(layers=[LayerSize("base", "sha256:1", 5), LayerSize("base", "sha256:2", 6)])
    new = contents(layers=[LayerSize("base", "sha256:1", 5), LayerSize("base", "sha256:3", 7)])
    assert [one.name for one in compare(old, new).layers] == ["base (2)"]


def test_each_setting_of_a_configuration_is_a_line() -> None:
    document = {
        "architecture": "amd64",
        "config": {
            "Env": ["PATH=/bin", "MODE=a=b"],
            "Cmd": ["a", "b"],
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"x": "y"},
        },
    }
    assert config_settings(document) == {
        "architecture": "amd64",
        "Env.PATH": "/bin",
        "Env.MODE": "a=b",
        "Cmd": "a, b",
        "ExposedPorts.80/tcp": "",
        "Labels.x": "y",
    }


CHANGELOG = """\
openssl (3.0.17-1~deb12u2) bookworm-security; urgency=medium

  * CVE-2025-9230 (out-of-bounds read)
    in the handling of keys
  * CVE-2025-9232

 -- A <a@example.org>  Mon, 29 Sep 2025 21:16:12 +0200

openssl (3.0.17-1~deb12u1) bookworm; urgency=medium

  * New upstream version

 -- A <a@example.org>  Mon, 01 Sep 2025 21:16:12 +0200

openssl (3.0.16-1~deb12u1) bookworm; urgency=medium

  * Old news

 -- A <a@example.org>  Mon, 01 Aug 2025 21:16:12 +0200
"""


def test_headlines_are_those_of_the_versions_between() -> None:
    assert headlines(CHANGELOG, "3.0.16-1~deb12u1", "3.0.17-1~deb12u2") == (
        "3.0.17-1~deb12u2: CVE-2025-9230 (out-of-bounds read)",
        "3.0.17-1~deb12u2: CVE-2025-9232",
        "3.0.17-1~deb12u1: New upstream version",
    )
    assert headlines(CHANGELOG, "3.0.16-1~deb12u1", "3.0.17-1~deb12u1") == (
        "3.0.17-1~deb12u1: New upstream version",
    )
    assert headlines("nonsense", "1", "2") == ()


def test_a_person_is_shown_counts_headlines_and_as_many_files_as_asked_for() -> None:
    old = contents(*(file(f"etc/{n}") for n in range(5)), checks={"hardening.score": "80"})
    found = compare(old, contents(checks={"hardening.score": "91"}))
    lines = render_difference("web 1.0.1 -> 1.0.2", found, Shown(files=2))
    assert "files: 5 removed" in lines
    assert "  and 3 more" in lines
    assert "  ~ hardening.score 80 -> 91" in lines

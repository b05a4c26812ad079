# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found in a finished root: whole layers in, statements out."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.trust.examination import (
    Root,
    examine,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.exposure import (
    exposure_statement,
    secrets_statement,
    unused_allowances,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.secrets import AllowedSecret

_KEY = "-----BEGIN " + "PRIVATE KEY-----\n" + base64.b64encode(bytes(range(96))).decode() + "\n"
UNITS = "usr/lib/systemd/system"
DPKG = "var/lib/dpkg"


def status(*packages: tuple[str, str]) -> str:
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: {version}\n"
        for name, version in packages
    )


BASE = {
    "bin": "->usr/bin",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "usr/bin/su": "program",
    "usr/bin/sh": "program",
    "usr/share/doc/shell/copyright": "Format: x/copyright-format/1.0/\n\nLicense: Expat\n",
    f"{DPKG}/status": status(("login", "1.0"), ("shell", "2.0")),
    f"{DPKG}/info/login.list": "/.\n/bin\n/bin/su\n",
    f"{DPKG}/info/shell.list": "\n".join(
        ["/.", "/usr/bin/sh", *(f"/{UNITS}/{name}" for name in ("web.service", "web.socket")), ""]
    )
    + f"/{UNITS}/own.socket\n",
    f"{UNITS}/web.service": "[Service]\nExecStart=/bin/web\n",
    f"{UNITS}/web.socket": "[Socket]\nListenStream=80\nListenStream=/run/web\n",
    f"{UNITS}/own.socket": "[Socket]\nListenStream=/run/own\n",
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def layer(
    layout: Layout, files: Mapping[str, str], modes: Mapping[str, int] | None = None
) -> Layer:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = (modes or {}).get(name, 0o644)
            if name.startswith("owned-by-nobody"):
                info.uid = 4711
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
            data = content.encode() if info.isreg() else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    stored = store_layer(layout, [stream.getvalue()])
    assert stored is not None
    return stored


def root(layout: Layout, *above: Mapping[str, str], modes: Mapping[str, int] | None = None) -> Root:
    return examine(layout, [layer(layout, files, modes) for files in (BASE, *above)])


def exposed(found: Root, *ports: str) -> Any:
    return exposure_statement(found, ports).predicate


def test_each_package_is_of_the_layer_that_brought_its_version(layout: Layout) -> None:
    found = root(
        layout,
        {f"{DPKG}/status": status(("login", "1.0"), ("shell", "2.1"))},
        {f"{DPKG}/status": status(("login", "1.0"), ("shell", "2.1"), ("web", "3"))},
    )
    told = {one.name: (one.version, one.layer, one.licences) for one in found.packages}
    assert told == {
        "login": ("1.0", 0, ()),
        "shell": ("2.1", 1, ("Expat",)),
        "web": ("3", 2, ()),
    }


def test_layers_are_read_once(layout: Layout) -> None:
    first = root(layout)
    layout.path(first.tree.layers[0].descriptor.digest).unlink()
    assert examine(layout, first.tree.layers).packages == first.packages


def test_setuid_programs_are_told_with_their_package(layout: Layout) -> None:
    found = exposed(root(layout, modes={"usr/bin/su": 0o4755, "usr/bin/sh": 0o755}))
    assert found["setuid"] == [
        {"path": "/usr/bin/su", "mode": "4755", "layer": 0, "package": "login"}
    ]
    assert found["counts"]["setuid"] == 1


def test_what_everybody_may_write_is_told_but_for_sticky_folders(layout: Layout) -> None:
    files = {"tmp/": "", "srv/": "", "srv/x": "", "srv/link": "->x"}
    modes = {"tmp/": 0o1777, "srv/": 0o777, "srv/x": 0o666, "srv/link": 0o777}
    found = exposed(root(layout, files, modes=modes))
    assert [one["path"] for one in found["world_writable"]] == ["/srv", "/srv/x"]


def test_files_of_nobody_and_of_no_package_are_told(layout: Layout) -> None:
    found = exposed(root(layout, {"owned-by-nobody": "", "usr/bin/dropped": "x", "srv/x": "y"}))
    assert [(one["path"], one["owner"]) for one in found["unowned"]] == [
        ("/owned-by-nobody", "4711:0")
    ]
    assert [one["path"] for one in found["unpackaged"]] == ["/usr/bin/dropped"]


def test_ports_and_enabled_units_are_told(layout: Layout) -> None:
    wants = "etc/systemd/system/sockets.target.wants"
    found = exposed(
        root(
            layout,
            {
                f"{wants}/web.socket": f"->/{UNITS}/web.socket",
                f"{wants}/own.socket": f"->/{UNITS}/own.socket",
            },
        ),
        "8080/tcp",
    )
    assert found["listening"] == [
        {"kind": "exposed", "port": "8080/tcp"},
        {"kind": "socket", "unit": "web.socket", "listens": ["80"]},
    ]


def test_a_masked_unit_is_not_started(layout: Layout) -> None:
    found = exposed(
        root(
            layout,
            {
                "etc/systemd/system/multi-user.target.wants/web.service": "->/x",
                "etc/systemd/system/web.service": "->/dev/null",
            },
        )
    )
    assert found["listening"] == []


def test_a_secret_counts_in_the_layer_that_has_it_last(layout: Layout) -> None:
    found = secrets_statement(root(layout, {"srv/key": "x" + _KEY}, {"srv/key": _KEY}))
    assert found.predicate["findings"] == [
        {"path": "/srv/key", "rule": "private-key", "line": 1, "layer": 2}
    ]
    assert found.predicate["found"] == 1


def test_a_secret_that_a_later_layer_removes_is_not_in_the_root(layout: Layout) -> None:
    assert secrets_statement(root(layout, {"k": _KEY}, {".wh.k": ""})).predicate["found"] == 0


def test_an_allowed_secret_is_told_with_its_reason(layout: Layout) -> None:
    made = root(layout, {"srv/key": _KEY})
    rules = [AllowedSecret("/srv/*", "Of the tests."), AllowedSecret("/none", "Old.")]
    found = secrets_statement(made, rules).predicate
    assert (found["found"], found["findings"]) == (0, [])
    assert [one["reason"] for one in found["allowed"]] == ["Of the tests."]
    assert unused_allowances(made, rules) == rules[1:]


def test_a_root_without_a_package_database_is_examined_too(layout: Layout) -> None:
    found = exposed(examine(layout, [layer(layout, {"usr/bin/x": "program"})]))
    assert found["counts"] == {
        "setuid": 0,
        "world_writable": 0,
        "unowned": 0,
        "unpackaged": 0,
        "listening": 0,
    }

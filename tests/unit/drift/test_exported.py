# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance that does not run, from its engine's export."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.exported import (
    as_exported,
    read_export,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import Instance
from ansible_collections.kiln.immutable.plugins.module_utils.drift.manifest import Entry

INSTANCE = Instance.from_document(
    {
        "Id": "c",
        "Name": "/web-1",
        "Image": "sha256:1",
        "State": {"Running": False},
        "Mounts": [{"Type": "volume", "Name": "v", "Destination": "/srv/data", "RW": True}],
        "HostConfig": {"Tmpfs": {"/run": ""}},
    }
)


def export(*members: tuple[str, Any]) -> bytes:
    """Return a tar of files (content), links (-> target), hard links (= name) and folders."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif what.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, what[3:]
            elif what.startswith("= "):
                info.type, info.linkname = tarfile.LNKTYPE, what[2:]
            elif what.startswith("cap "):
                info.pax_headers = {"SCHILY.xattr.security.capability": what[4:]}
            info.size = len(what) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(what.encode() if info.isreg() else b""))
    return stream.getvalue()


def test_an_export_is_read_in_pieces_of_any_size() -> None:
    status = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
    content = export(
        ("etc/", None),
        ("etc/app", "text"),
        ("etc/same", "= etc/app"),
        ("etc/link", "-> app"),
        ("var/lib/dpkg/status", status),
    )
    pieces = (content[at : at + 700] for at in range(0, len(content), 700))
    found = read_export(pieces, INSTANCE)
    digest = "sha256:" + hashlib.sha256(b"text").hexdigest()
    assert found.entries["etc/app"].digest == digest
    assert found.entries["etc/same"] == found.entries["etc/app"]._replace(path="etc/same")
    assert found.entries["etc/link"].link == "app"
    assert found.packages == {"a:all": "1"}
    assert found.processes is None
    assert set(found.mounts) == {"srv/data", "run"}


def test_what_the_engine_puts_there_is_left_out() -> None:
    found = read_export(
        [export(("dev/", None), ("dev/console", "x"), ("etc/hosts", "x"))], INSTANCE
    )
    assert set(found.entries) == {"dev"}


def test_capabilities_are_compared_and_other_attributes_cannot_be() -> None:
    found = read_export([export(("ping", "cap abc"))], INSTANCE)
    assert found.entries["ping"].xattrs == (("security.capability", "abc"),)
    xattrs = (("security.capability", "abc"), ("user.a", "b"))
    wanted = Entry("ping", "file", 0o644, 0, 0, 7, None, "", (0, 0), xattrs)
    assert as_exported({"ping": wanted})["ping"].xattrs == found.entries["ping"].xattrs


def test_an_export_that_breaks_off_is_no_instance() -> None:
    content = export(("etc/app", "text" * 500))
    with pytest.raises(DriverError, match="no tar"):
        read_export([content[:700]], INSTANCE)

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package database of dpkg, and the order of Debian versions."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.trust.packages import (
    compare_versions,
    installed_packages,
    licences_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1:1.2.13.dfsg-1)
Version: 1:1.2.13.dfsg-1+b1
Maintainer: Mark <broonie@example.org>
Description: compression library - runtime
 A long text.
Homepage: http://zlib.example.net/

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
"""


def test_installed_packages_are_read_with_their_sources() -> None:
    adduser, zlib = installed_packages(STATUS)
    assert (adduser.name, adduser.source, adduser.source_version) == ("adduser", "adduser", "3.134")
    assert (zlib.source, zlib.source_version) == ("zlib", "1:1.2.13.dfsg-1")
    assert zlib.summary == "compression library - runtime"
    assert zlib.identity == ("zlib1g", "amd64")


def test_an_image_without_packages_has_none() -> None:
    assert installed_packages("") == []


def test_only_machine_readable_copyright_files_name_licences() -> None:
    head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
    text = (
        head + "Files: *\nLicense: GPL-2+\n text\n\nFiles: x\nLicense: Expat\n\nLicense: GPL-2+\n"
    )
    assert licences_of(text) == ("Expat", "GPL-2+")
    assert licences_of("License: GPL-2+\n") == ()


VERSIONS = st.from_regex(
    r"\A([0-9]:)?[0-9][a-zA-Z0-9.+~]{0,6}(-[a-zA-Z0-9.+~]{1,4})?\Z", fullmatch=True
)


@given(VERSIONS, VERSIONS)
@settings(max_examples=60, deadline=None)
def test_versions_are_ordered_as_dpkg_orders_them(first: str, second: str) -> None:
    found = compare_versions(first, second)
    operator = "lt" if found < 0 else "gt" if found > 0 else "eq"
    asked = ["dpkg", "--compare-versions", first, operator, second]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0, operator


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1", "1.0"),
        ("1.0-1", "1.0-1+deb12u1"),
        ("1.9", "1.10"),
        ("2.0", "1:1.0"),
        ("1.0", "1.0a"),
        ("1.0a", "1.0+"),
    ],
)
def test_a_version_is_older_than_another(older: str, newer: str) -> None:
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)

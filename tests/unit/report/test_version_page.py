# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a version: what is on it, that it stands alone, and that text stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Control
from ansible_collections.kiln.immutable.plugins.module_utils.report.version_page import (
    VersionPage,
    control_rows,
    render_page,
    write_page,
)

SUMMARY: dict[str, Any] = {
    "name": "web",
    "version": "1.0.4",
    "digest": "sha256:ab",
    "image": "kiln/web:1.0.4",
    "run": "docker run kiln/web:1.0.4",
    "seconds": 38.25,
    "layers": [
        {"name": "base bookworm", "done": "cached", "seconds": 0.0, "bytes": 2048, "stored": 1024},
        {"name": "nginx", "done": "run", "seconds": 5.2, "bytes": 1024, "stored": 512},
    ],
}
RULE = {"rule": "umask", "title": "Umask is set", "severity": "medium"}
SCAN = {
    "profile": "cis_level1_server",
    "product": "debian12",
    "content": "0.1.82",
    "score": 89.5,
    "counts": {"passed": 2, "failed": 1, "waived": 1, "not_applicable": 1, "unclear": 1},
    "failed": [RULE],
    "waived": [{**RULE, "rule": "no_nginx", "reason": "It is a web server."}],
    "unclear": [{**RULE, "rule": "who_knows"}],
    "passed": ["one_rule", "two_rule"],
    "not_applicable": ["grub"],
}
GOSS = {
    "counts": {"passed": 1, "failed": 1, "skipped": 0},
    "failed": [{"test": "Port tcp:443: listening", "said": "it is not"}],
    "passed": ["User www-data: exists"],
}
LYNIS = {
    "version": "3.1.4",
    "hardening_index": 67,
    "tests": 157,
    "warnings": [{"test": "PKGS-7392", "text": "Old packages"}],
    "suggestions": [{"test": "BANN-7126", "text": "Add a banner"}],
}
PAGE = VersionPage(SUMMARY, "A site", "container", "bookworm", "2026-01-10T10:00:00Z")
WHOLE = replace(
    PAGE,
    summary={**SUMMARY, "findings": {"compliance": SCAN, "goss": GOSS, "lynis": LYNIS}},
    packages=("nginx 1.22.1-9",),
    attestations=("https://slsa.dev/provenance/v1",),
    waived=(("no_nginx", "It is a web server."),),
)


class Text(HTMLParser):
    """The text of a page, and the attributes that could fetch something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words = ""
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data} " if self.open[-1:] != ["style"] else ""


def words(page: VersionPage) -> str:
    return " ".join(Text(render_page(page)).words.split())


def test_a_page_says_what_the_version_is() -> None:
    said = words(PAGE)
    for expected in ("web 1.0.4", "A site", "sha256:ab", "3.0 KiB", "38.2 s", "base bookworm"):
        assert expected in said
    assert "None are kept with this version." in said
    assert "Compliance" not in said


def test_a_page_says_what_was_found_out() -> None:
    said = words(WHOLE)
    for expected in (
        *("89.5 %", "Umask is set", "It is a web server.", "who_knows", "two_rule", "grub"),
        *("1 of 2", "Port tcp:443: listening", "it is not", "User www-data: exists"),
        *("67", "PKGS-7392", "Add a banner", "nginx 1.22.1-9", "https://slsa.dev/provenance/v1"),
    ):
        assert expected in said


def test_a_page_stands_alone_and_its_elements_are_closed() -> None:
    text = render_page(WHOLE)
    page = Text(text)
    assert page.open == []
    assert page.fetched == []
    assert not re.search(r"<script|@import|url\(", text)


def test_text_stays_text() -> None:
    page = render_page(replace(PAGE, description="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_controls_are_those_of_the_image_s_kind_with_waivers_of_either_side() -> None:
    mine = Control(
        "ssh-macs", "hardening_ssh", "MACs", cis={"bookworm": ("5.1.15",)}, anssi=("R9",)
    )
    controls = [
        mine,
        replace(mine, control="ssh-never", waiver="It is not done."),
        replace(mine, control="boot-password", kinds=("vm",)),
        replace(mine, control="ssh-new", releases=("trixie",)),
    ]
    rows = control_rows(controls, "container", "bookworm", {"ssh-macs": "Old clients."})
    assert [(row["id"], row["references"], row["waiver"]) for row in rows] == [
        ("ssh-macs", "CIS 5.1.15; R9", "Old clients."),
        ("ssh-never", "CIS 5.1.15; R9", "It is not done."),
    ]
    assert "Old clients." in words(replace(PAGE, controls=rows))


def test_the_page_of_a_version_has_its_place_in_the_home(tmp_path: Path) -> None:
    path = write_page(tmp_path, PAGE)
    assert path == tmp_path / "reports" / "web" / "1.0.4.html"
    assert path.read_text("utf-8") == render_page(PAGE)


def test_the_disks_are_on_it_with_what_they_said_when_they_were_booted() -> None:
    one = {"format": "qcow2", "size": 1 << 30, "blob": {"size": 1 << 20, "digest": "sha256:d1"}}
    disks = {
        "artefacts": [one],
        "root_hash": "f00d",
        "command_line": "roothash=f00d ro",
        "booted": {"seconds": 38.25, "tests": "2 passed in 9.1s", "console": "/somewhere"},
    }

    page = render_page(replace(PAGE, summary={**SUMMARY, "disks": disks}, console="<up>"))

    for text in ("qcow2", "1.0 GiB", "1.0 MiB", "sha256:d1", "roothash=f00d ro", "up after 38.2"):
        assert text in page
    assert "its tests said 2 passed in 9.1s" in page
    assert "&lt;up&gt;" in page


def test_a_version_without_disks_says_nothing_of_them() -> None:
    assert "Disks" not in render_page(PAGE)

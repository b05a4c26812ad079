# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ab_update writes: what is installed from where, and what a healthy boot is."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.slots import (
    PARTS,
    Release,
)

SOURCE = "https://images.example.org/web/"
WEB = Release("web", "1.0.3")
UUID = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
PATTERNS = {"%M": "web", "@v": r"[0-9.]+", "@u": r"[0-9a-f-]{36}", "@l": "[0-9]+", "@d": "[0-9]+"}

Files = dict[str, dict[str, Any]]


def rendered(checkout: Path, **variables: Any) -> Files:
    """Return the files that the role puts in place, by path.

    Its templates are rendered as Ansible's module does, without Ansible's own start.
    """
    role = checkout / "roles" / "ab_update"
    texts = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    texts.filters |= {"to_json": json.dumps, "ternary": lambda asked, yes, no: yes if asked else no}
    given = {**yaml.safe_load((role / "defaults" / "main.yml").read_text("utf-8")), **variables}

    def lookup(kind: str, name: str, template_vars: Mapping[str, Any] | None = None) -> str:
        if kind == "ansible.builtin.file":
            return (role / "files" / name).read_text("utf-8").rstrip("\n")
        text = (role / "templates" / name).read_text("utf-8")
        return texts.from_string(text).render(**given, **(template_vars or {}), lookup=lookup)

    return {one["path"]: one for one in json.loads(lookup("ansible.builtin.template", "files.j2"))}


def unit(content: str) -> configparser.RawConfigParser:
    """Return what a unit or a transfer says."""
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(content)
    return parser


def matches(pattern: str, name: str) -> bool:
    """Whether systemd-sysupdate would take *name* for *pattern* (sysupdate.d(5))."""
    found = re.split(r"(%M|@[vuld])", pattern)
    return bool(re.fullmatch("".join(PATTERNS.get(one, re.escape(one)) for one in found), name))


@pytest.fixture
def transfers(checkout: Path) -> Mapping[str, configparser.RawConfigParser]:
    """Return the transfers for machines with a source, by the part that each is for."""
    files = rendered(checkout, ab_update_source=SOURCE, ab_update_tries=2)
    found = [
        (path, unit(one["content"]))
        for path, one in sorted(files.items())
        if path.startswith("/usr/lib/sysupdate.d/")
    ]
    return {Path(path).stem.rpartition("-")[2]: one for path, one in found}


def test_the_kernel_is_installed_last(transfers: Mapping[str, Any]) -> None:
    assert list(transfers) == ["verity", "root", "kernel"]


def test_each_part_that_is_published_is_found(transfers: Mapping[str, Any]) -> None:
    published = {
        "root": f"web_1.0.3_{UUID}.root",
        "verity": f"web_1.0.3_{UUID}.verity",
        "kernel": "web_1.0.3.efi",
    }

    assert {name.rpartition(".")[2] for name in published.values()} == set(PARTS)
    for part, name in published.items():
        source = transfers[part]["Source"]
        assert source["Path"] == SOURCE
        assert matches(source["MatchPattern"], name)


def test_the_disk_s_own_version_is_known_as_one(transfers: Mapping[str, Any]) -> None:
    for part in ("root", "verity"):
        assert matches(transfers[part]["Target"]["MatchPattern"], WEB.label)
    patterns = transfers["kernel"]["Target"]["MatchPattern"].split()
    for name in (WEB.kernel(3), "web_1.0.3.efi", "web_1.0.3+0-3.efi"):
        assert any(matches(pattern, name) for pattern in patterns)


def test_a_new_kernel_has_its_tries_in_its_name(transfers: Mapping[str, Any]) -> None:
    target = transfers["kernel"]["Target"]

    assert (target["TriesLeft"], target["TriesDone"]) == ("2", "0")
    assert {"@l", "@d"} < set(re.findall("@.", target["MatchPattern"].split()[0]))


def test_two_versions_are_kept_and_the_running_one_always(transfers: Mapping[str, Any]) -> None:
    for one in transfers.values():
        assert one["Target"]["InstancesMax"] == "2"
        assert one["Transfer"]["ProtectVersion"] == "%A"
        assert one["Transfer"]["Verify"] == "yes"


def test_the_partitions_are_those_of_a_verified_root(transfers: Mapping[str, Any]) -> None:
    kinds = {part: transfers[part]["Target"]["MatchPartitionType"] for part in ("root", "verity")}

    assert kinds == {"root": "root", "verity": "root-verity"}


def test_without_a_source_nothing_is_installed(checkout: Path) -> None:
    files = rendered(checkout, ab_update_timer=True)
    there = [path for path, one in files.items() if one.get("state") != "absent"]

    assert not [path for path in there if "sysupdate" in path]


def test_who_asks_for_nothing_is_healthy_when_no_unit_failed(checkout: Path) -> None:
    files = rendered(checkout)
    required = "/etc/systemd/system/boot-complete.target.requires/"

    assert files["/usr/lib/kiln/health"]["content"] == ""
    assert files[required + "systemd-boot-check-no-failures.service"]["state"] == "link"


def test_each_check_is_a_line(checkout: Path) -> None:
    files = rendered(checkout, ab_update_checks=["true", "test -e /run/up"], ab_update_patience=30)
    service = unit(files["/etc/systemd/system/kiln-health.service"]["content"])

    assert files["/usr/lib/kiln/health"]["content"] == "true\ntest -e /run/up\n"
    assert service["Service"]["ExecStart"] == "/usr/lib/kiln/healthy 30"
    assert int(service["Service"]["TimeoutStartSec"]) > 30


def test_a_boot_that_is_not_complete_in_time_starts_the_machine_anew(checkout: Path) -> None:
    drop_in = unit(
        rendered(checkout, ab_update_limit=120)[
            "/etc/systemd/system/boot-complete.target.d/60-kiln.conf"
        ]["content"]
    )

    assert drop_in["Unit"]["JobTimeoutSec"] == "120"
    assert drop_in["Unit"]["OnFailure"] == "reboot.target"

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions that publish disks: what they are told, what they say, and what check mode leaves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.action import (
    disk_publish_aws,
    disk_publish_azure,
    disk_publish_google,
    disk_publish_libvirt,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.tests.integration.publish.disks import record_version

ACTIONS = {
    "aws": disk_publish_aws.ActionModule,
    "azure": disk_publish_azure.ActionModule,
    "google": disk_publish_google.ActionModule,
    "libvirt": disk_publish_libvirt.ActionModule,
}
AZURE: dict[str, Any] = {"subscription": "s", "resource_group": "images", "location": "x"}

# Keeps volumes as files of a folder, whose name it takes for the address.
VIRSH = """\
#!/bin/sh
echo "$*" >> "$3/asked"
case "$4" in
vol-list) for volume in "$3"/*.qcow2; do [ -e "$volume" ] && echo " ${volume##*/} $volume"; done ;;
vol-create-as) : ;;
vol-upload) cp "${10}" "$3/$8" ;;
vol-download) cat "$3/$8" > "${10}" ;;
vol-clone) cp "$3/$8" "$3/${10}" ;;
vol-delete) rm "$3/$8" ;;
vol-path) echo "$3/$8" ;;
esac
exit 0
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with one version that has disks in all formats."""
    folder = tmp_path_factory.mktemp("published") / "home"
    record_version(folder, forms=("raw", "vhd", "tar.gz", "qcow2"))
    return folder


def step(place: str, home: Path, *, looks: bool = False, **options: Any) -> dict[str, Any]:
    """Let the action of *place* do its step."""
    task = SimpleNamespace(args={"image": "web-vm", **options}, check_mode=looks, diff=True)
    templar = SimpleNamespace(template=lambda value: value)
    action = ACTIONS[place](task, None, None, None, templar, None)
    return dict(action.step({"kiln_home": str(home)}))


@pytest.mark.parametrize(
    ("place", "options", "said"),
    [
        ("aws", {"version": "9.9.9"}, r"no version 9\.9\.9 of web-vm"),
        ("aws", {"region": "eu-west-1", "deprecate_after": 0}, "whole number of days from 1"),
        ("aws", {"region": "eu-west-1", "tags": "team"}, "option tags must be a mapping"),
        ("aws", {"region": "eu-west-1", "tpm": "perhaps"}, "option tpm must be true or false"),
        ("aws", {"profile": "nobody"}, r"AWS cannot be asked: .*\(nobody\) could not be found"),
        ("azure", {}, "No subscription of Azure is named"),
        ("azure", {"subscription": "s"}, "option resource_group is not given.*kiln_azure_res"),
        ("azure", AZURE, "No storage account of Azure is named"),
        ("azure", {**AZURE, "storage_account": "a", "gallery": "g"}, "need each other"),
        ("azure", {**AZURE, "storage_account": "My_Disks"}, "storage_account is 'My_Disks'"),
        ("google", {"bucket": "b"}, "option project is not given.*kiln_google_project"),
        ("google", {"project": "p", "bucket": "b"}, "Google takes whole GiB"),
        ("libvirt", {"name": "a/b"}, "option name is 'a/b'"),
    ],
)
def test_what_is_wrong_with_the_options_is_said_in_a_sentence(
    place: str, options: dict[str, Any], said: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(DriverError, match=said):
        step(place, home, **options)


@pytest.mark.parametrize(
    ("place", "module", "options", "package"),
    [
        ("aws", "boto3", {"region": "eu-west-1"}, "boto3"),
        ("azure", "azure.identity", {**AZURE, "storage_account": "abc"}, "azure-identity"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    place: str,
    module: str,
    options: dict[str, Any],
    package: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(DriverError, match=f"needs the Python package {package}.*pip install"):
        step(place, home, **options)


def test_a_connection_string_that_is_none_is_said_without_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey")

    with pytest.raises(DriverError, match=r"^AZURE_STORAGE_CONNECTION_STRING is no connection"):
        step("azure", home, **AZURE)


def test_virsh_that_is_not_installed_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / "git"
    git.symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DriverError, match="The program virsh is not installed"):
        step("libvirt", home)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a virsh on the PATH that knows one pool; return its folder."""
    programs, folder = tmp_path / "programs", tmp_path / "pool"
    programs.mkdir()
    folder.mkdir()
    (programs / "virsh").write_text(VIRSH)
    (programs / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return folder


def test_check_mode_lists_the_steps_and_takes_none(home: Path, pool: Path, tmp_path: Path) -> None:
    tfvars = tmp_path / "images.auto.tfvars.json"
    options: dict[str, Any] = {"uri": str(pool), "tfvars": str(tfvars)}

    looked = step("libvirt", home, looks=True, **options)

    assert looked["changed"] is True
    assert looked["steps"] == [
        "Upload web-vm 1.0.1 to the volume web-vm_1.0.1.qcow2 of the pool default",
        f"Write {tfvars}",
    ]
    assert looked["diff"]["after"] == "".join(f"{one}\n" for one in looked["steps"])
    assert looked["path"] == ""
    assert not tfvars.exists()
    assert "vol-create-as" not in (pool / "asked").read_text()

    done = step("libvirt", home, **options)

    assert done["steps"] == looked["steps"]
    assert done["path"] == str(pool / "web-vm_1.0.1.qcow2")
    volume = {"format": "qcow2", "name": "web-vm_1.0.1.qcow2", "pool": "default"}
    assert json.loads(tfvars.read_text()) == {"web_vm_volume": volume}
    again = step("libvirt", home, **options)
    assert (again["changed"], again["steps"], again["path"]) == (False, [], done["path"])


def test_terraform_is_told_in_a_file_that_it_reads(home: Path, pool: Path, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"images\.json, which is no \.tfvars\.json"):
        step("libvirt", home, uri=str(pool), tfvars=str(tmp_path / "images.json"))

    assert list(pool.iterdir()) == []

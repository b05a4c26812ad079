# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example for Packer: a template that Packer 1.6 takes whole, with the roles of our bake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import store_disk
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.files import (
    plan_files,
    write_files,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "packer"
TEMPLATE = (EXAMPLE / "image.pkr.hcl").read_text("utf-8")
BUILDERS = ("docker", "qemu", "amazon-ebs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the example with the archive that the template's provisioner looks for."""
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder)
    (folder / "kiln-immutable.tar.gz").touch()
    return folder


def packer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Packer in *folder*, without asking for newer versions of itself."""
    # The template's provisioner asks ansible-playbook for its version.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    private = {"PACKER_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
    return subprocess.run(
        ["packer", *arguments],
        cwd=folder,
        env={**os.environ, **private, "PATH": path, "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packer_takes_the_template_with_all_builders_and_both_provisioners(copy: Path) -> None:
    for builder in BUILDERS:
        for way in ("remote", "local"):
            assert f'source "{builder}" "{way}" {{' in TEMPLATE
            assert f'"source.{builder}.{way}",' in TEMPLATE
    done = packer(copy, "validate", "image.pkr.hcl")
    assert done.returncode == 0, done.stdout + done.stderr


def test_packer_refuses_the_template_when_something_is_wrong_with_it(copy: Path) -> None:
    wrong = TEMPLATE.replace("ssh_timeout", "ssh_patience", 1)
    (copy / "image.pkr.hcl").write_text(wrong, "utf-8")
    done = packer(copy, "validate", "image.pkr.hcl")
    assert done.returncode != 0
    assert "ssh_patience" in done.stdout


def test_packer_starts_from_a_disk_of_ours_by_the_list_of_checksums(copy: Path) -> None:
    layout = Layout(copy / "store")
    layout.ensure()
    disk = store_disk(layout, [b"disk"], form="qcow2", name="web-vm", size=4, root_hash="")
    (file,) = plan_files([disk], copy / "disks", name="web-vm", version="1.0.3")
    write_files(layout, [file], copy / "disks")
    checksum = f"disk_checksum=file:{copy / 'disks' / 'SHA256SUMS'}"

    taken = packer(copy, "validate", "-var", f"disk={file.path}", "-var", checksum, "image.pkr.hcl")
    unlisted = copy / "disks" / "web-vm_1.0.4.qcow2"
    other = packer(copy, "validate", "-var", f"disk={unlisted}", "-var", checksum, "image.pkr.hcl")

    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert "no checksum found" in other.stdout


def test_its_files_are_in_packer_s_own_format(copy: Path) -> None:
    done = packer(copy, "fmt", "-check", "-diff", ".")
    assert (done.returncode, done.stdout) == (0, "")


def test_plugins_are_named_in_a_file_that_old_packers_are_not_given() -> None:
    plugins = (EXAMPLE / "plugins.pkr.hcl").read_text("utf-8")
    named = set(re.findall(r"github\.com/hashicorp/([a-z]+)", plugins))
    kinds = re.findall(
        r'^\s*(?:source|provisioner|post-processor) "([a-z-]+)"', TEMPLATE, re.MULTILINE
    )
    core = {"shell", "file"}
    wanted = {kind.partition("-")[0] for kind in kinds if kind not in core}
    assert named == wanted
    assert "required_plugins" not in TEMPLATE


def test_its_playbook_calls_the_roles_of_the_baked_example() -> None:
    (play,) = yaml.safe_load((EXAMPLE / "web.yml").read_text("utf-8"))
    definition = yaml.safe_load((ROOT / "examples/images/web.yml").read_text("utf-8"))
    layers = [(one["role"], one.get("vars", {})) for one in definition["layers"]]
    roles = [(one["role"], one.get("vars", {})) for one in play["roles"]]
    assert roles.pop() == ("kiln.immutable.seal", {})
    assert [role for role, _values in roles] == [role for role, _values in layers]
    for (_role, ours), (_name, theirs) in zip(roles, layers, strict=True):
        assert {**ours, "nginx_site_src": ""} == {**theirs, "nginx_site_src": ""}

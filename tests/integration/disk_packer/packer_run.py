# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packer's qemu builder, which goes on with the disk of a baked version as the example says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[3] / "examples" / "packer" / "disk"
DISK = Path("output") / "server.qcow2"
SECONDS = 1500


def run_packer(folder: Path, disk: Path, template: Path = TEMPLATE) -> Path:
    """Run *template* on *disk*, a qcow2 whose name says so; return the disk that came of it.

    :param folder: for all that Packer writes; what it says is in ``packer.log`` there.

    Raises RuntimeError with what it said last when it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cloud_init, key = folder / "cloud-init", folder / "key"
    shutil.copytree(template / "cloud-init", cloud_init)
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "packer", "-f", str(key)]
    subprocess.run(make, check=True)
    public = key.with_suffix(".pub").read_text("utf-8").strip()
    told = "#cloud-config\n" + json.dumps({"ssh_authorized_keys": [public]}) + "\n"
    (cloud_init / "user-data").write_text(told, "utf-8")
    with disk.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    variables = {
        "disk": str(disk),
        "disk_checksum": f"sha256:{checksum}",
        "cloud_init": str(cloud_init),
        "private_key": str(key),
        "accelerator": "tcg",
        "ansible_playbook": str(Path(sys.executable).with_name("ansible-playbook")),
        "output": str(folder / DISK.parent),
    }
    command = ["packer", "build", "-color=false", "-timestamp-ui"]
    command += [f"-var={name}={value}" for name, value in variables.items()]
    # What tunes Ansible here is none of Packer's.
    (folder / "plain.cfg").write_text("", "utf-8")
    own = {
        "ANSIBLE_CONFIG": str(folder / "plain.cfg"),
        "CHECKPOINT_DISABLE": "1",
        "PACKER_CACHE_DIR": str(folder / "cache"),
        "TMPDIR": str(folder),
    }
    log = folder / "packer.log"
    with log.open("wb") as stream:
        done = subprocess.run(
            [*command, "disk.pkr.hcl"],
            cwd=template,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"Packer failed:\n{log.read_text('utf-8', 'replace')[-6000:]}")
    return folder / DISK

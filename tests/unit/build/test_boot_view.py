# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scanner is told of the boot of a root that does not run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.boot_view import (
    PRELUDE,
    boot_options,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.finished_root import TARGET


def test_file_systems_in_memory_are_mounted_as_fstab_says() -> None:
    fstab = (
        "# a comment tmpfs\n"
        "UUID=1 / ext4 defaults 0 1\n"
        "tmpfs /tmp tmpfs mode=1777,size=50%,nosuid,nodev,noexec 0 0\n"
        "tmpfs /dev/shm tmpfs defaults 0 0\n"
    )
    assert boot_options(fstab) == (
        *("--tmpfs", f"{TARGET}/proc"),
        *("--tmpfs", "/tmp:rw,mode=1777,nosuid,nodev,noexec"),
        *("--tmpfs", "/dev/shm:rw"),
    )


def told(root: Path) -> dict[str, str]:
    """Return the parameters that the prelude leaves below *root*'s proc."""
    (root / "proc").mkdir()
    script = PRELUDE.replace(TARGET, str(root))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    files = (path for path in (root / "proc" / "sys").rglob("*") if path.is_file())
    return {
        str(path.relative_to(root / "proc" / "sys")).replace("/", "."): path.read_text().strip()
        for path in files
    }


def test_of_several_files_the_last_one_counts(tmp_path: Path) -> None:
    for name, text in {
        "usr/lib/sysctl.d/50-default.conf": "kernel.a = 1\n-net.b=2\nnet.*.c = 1\n-net.d\n",
        "usr/lib/sysctl.d/70-hidden.conf": "kernel.hidden = 1\n",
        "etc/sysctl.d/70-hidden.conf": "# nothing\n",
        "etc/sysctl.d/99-x.conf": "kernel.a =   0\n; kernel.e = 1\nnet.f = 4 5\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert told(tmp_path) == {"kernel.a": "0", "net.b": "2", "net.f": "4 5"}


def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kernel.a = 1\n")
    (tmp_path / "etc" / "sysctl.d").mkdir(parents=True)
    (tmp_path / "etc" / "sysctl.d" / "99-sysctl.conf").symlink_to(tmp_path / "outside")

    assert told(tmp_path) == {}


def test_of_a_container_only_the_scanners_own_environment_is_told(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    (tmp_path / "etc" / "sysctl.d").mkdir(parents=True)
    (tmp_path / "etc" / "sysctl.d" / "1.conf").write_text("kernel.a = 1\n")

    assert told(tmp_path) == {}
    (own,) = (tmp_path / "proc").iterdir()
    assert own.readlink() == Path("/proc") / own.name

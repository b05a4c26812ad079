# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the initrd lays over a read-only root: tried on a root of a few files, without a boot.

The program runs in mount namespaces of its own, where a read-only file system stands for the root
and a loop device for the disk of the state.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

STATE = """\
/etc cover 0755 0:0
/home cover 0755 0:0
/srv/up tmpfs 0750 33:33
/var cover-lasting 0755 0:0
/var/lib/app volume 0700 7:7
/var/lib/app/in volume 0750 8:8"""

# The paths of the program are below /run, which is in memory in the namespace.
BOOT = """\
set -eu
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/sysroot
mount -t tmpfs none /run/sysroot
cd /run/sysroot
mkdir -p etc home srv/up usr/lib/kiln var/lib/app var/lib/systemd
echo image > etc/name
echo image > var/lib/app/begins
: > etc/machine-id
cat > usr/lib/kiln/state
cd /
mount -o remount,ro /run/sysroot
sed 's#/sysroot#/run/sysroot#g' "$1" > /run/kiln-state
sh /run/kiln-state $2 >&2
cd /run/sysroot
eval "$3"
"""


@dataclass(frozen=True, slots=True)
class Boot:
    """Boots the root, and asks it something in the shell."""

    program: Path
    told: str

    def ask(self, question: str) -> str:
        """Return what *question* prints in the root of a machine that was just booted."""
        done = self.try_to(question)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def try_to(self, question: str) -> subprocess.CompletedProcess[str]:
        """Return how *question* ends, or the boot before it."""
        argv = ["unshare", "--mount", "sh", "-c", BOOT, "boot"]
        return subprocess.run(
            [*argv, str(self.program), self.told, question],
            input=STATE,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def program(checkout: Path) -> Path:
    return checkout / "roles" / "boot" / "files" / "kiln-state"


@pytest.fixture
def forgets(program: Path) -> Boot:
    """Return a machine without a place for its state."""
    return Boot(program, "covered")


@pytest.fixture
def keeps(program: Path, tmp_path: Path) -> Iterator[Boot]:
    """Return a machine whose state is on a disk of its own, blank at first."""
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(64 << 20)
    losetup = ["losetup", "--find", "--show", str(disk)]
    device = subprocess.run(losetup, check=True, capture_output=True, text=True).stdout.strip()
    yield Boot(program, f"covered {device}")
    subprocess.run(["losetup", "--detach", device], check=True)


def test_the_root_cannot_be_written_and_what_covers_it_can(forgets: Boot) -> None:
    question = "for path in usr etc var home srv/up; do touch $path/x && echo $path; done; true"

    assert forgets.ask(question).split() == ["etc", "var", "home", "srv/up"]


def test_what_is_covered_begins_with_what_the_image_has(forgets: Boot) -> None:
    assert forgets.ask("cat etc/name var/lib/app/begins").split() == ["image", "image"]


def test_modes_and_owners_are_those_declared(forgets: Boot) -> None:
    said = forgets.ask("stat -c '%a %u %g' srv/up var/lib/app var/lib/app/in")

    assert said.splitlines() == ["750 33 33", "700 7 7", "750 8 8"]


def test_a_blank_disk_is_made_the_state_s_and_keeps_it(keeps: Boot) -> None:
    first = keeps.ask("echo kept > var/lib/app/own; echo kept > var/own; cat etc/machine-id")
    second = keeps.ask("cat var/lib/app/begins var/lib/app/own var/own etc/machine-id")

    assert second.split() == ["image", "kept", "kept", first]
    assert len(first) == 32


def test_what_is_in_another_one_that_is_kept_is_kept_too(keeps: Boot) -> None:
    keeps.ask("echo kept > var/lib/app/in/own")

    assert keeps.ask("cat var/lib/app/in/own") == "kept"


def test_what_is_made_at_the_first_boot_has_its_name_at_its_end(keeps: Boot) -> None:
    assert keeps.ask("find /run/kiln/state -name '*.new'; ls /run/kiln/state/data/var/lib") == (
        "app\nsystemd"
    )


def test_a_first_boot_that_ends_early_is_made_up_for(keeps: Boot, tmp_path: Path) -> None:
    text = keeps.program.read_text("utf-8")
    cut = tmp_path / "cut"
    cut.write_text(text.replace("    sync\n", "    exit 9\n"), "utf-8")
    assert Boot(cut, keeps.told).try_to("true").returncode == 9
    keeps.ask("echo kept > var/lib/app/own")

    assert keeps.ask("cat var/lib/app/begins var/lib/app/own").split() == ["image", "kept"]


def test_what_is_only_covered_is_forgotten(keeps: Boot) -> None:
    keeps.ask("echo changed > etc/name")

    assert keeps.ask("cat etc/name") == "image"


def test_nothing_is_laid_over_a_root_that_is_the_machine_s_own(program: Path) -> None:
    own = Boot(program, "writable")

    change = "mount -o remount,rw /run/sysroot; echo own > etc/name"
    done = own.try_to(f"{change}; grep -c sysroot.*overlay /proc/mounts")

    assert done.returncode == 1, done.stderr
    assert done.stdout.strip() == "0"


def test_a_disk_of_somebody_else_stops_the_boot(keeps: Boot) -> None:
    device = keeps.told.split()[1]
    subprocess.run(["mkfs.ext2", "-q", device], check=True, capture_output=True)

    done = keeps.try_to("echo up")

    assert done.returncode != 0
    assert "up" not in done.stdout
    assert "holds ext2 and not state" in done.stderr

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an image's root boots it: kernel, initrd and the words that the kernel is given. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ...core.errors import DriverError
from ..definition_model import DiskSpec

OPTIONS_FOLDER = "etc/kernel/cmdline.d"
STATE_LABEL = "kiln-state"
STATE_OPTION = "kiln.state"
"""Tells the initrd of the role ``boot`` where what lasts is."""
WRITABLE_OPTION = "kiln.root=writable"
"""Tells it that nothing is to be laid over the root."""

_KERNEL = "boot/vmlinuz-"
# Nobody sits at the console: what does not come up goes off, and gives nobody a shell. A kernel
# that stopped starts again.
_FAILS_CLOSED = ("rd.shell=0", "rd.emergency=poweroff", "panic=10")
# Who boots by counting has another version to go back to.
_FAILS_OVER = ("rd.shell=0", "rd.emergency=reboot", "panic=10")
# Else systemd 257 wants to mount the system partition on a folder that it cannot make. Two versions
# on one disk need the partition, and the role ``ab_update`` makes the folder.
_MOUNTS_NOTHING_MORE = "systemd.gpt_auto=no"


@dataclass(frozen=True, slots=True)
class BootFiles:
    """Paths in the root, without a leading slash.

    :param release: of the kernel, as uname(1) says it.
    :param options: files with words for the kernel, in the order in which they are read.
    """

    release: str
    kernel: str
    initrd: str
    os_release: str
    options: tuple[str, ...]


def find_boot_files(paths: Collection[str], image: str) -> BootFiles:
    """Return the newest kernel in *paths* and what goes with it; DriverError when it lacks any.

    :param image: its name, for the message.
    """
    releases = [path.removeprefix(_KERNEL) for path in paths if path.startswith(_KERNEL)]
    if not releases:
        raise DriverError(
            f"{image} has no kernel, and is to become a disk.",
            hint="Add the layers kiln.immutable.kernel and kiln.immutable.boot.",
        )
    release = max(releases, key=_by_number)
    initrd = f"boot/initrd.img-{release}"
    if initrd not in paths:
        raise DriverError(
            f"{image} has the kernel {release} and no /{initrd}.",
            hint="Add the layer kiln.immutable.boot behind the one that installs the kernel.",
        )
    options = [
        path for path in paths if path.startswith(OPTIONS_FOLDER + "/") and path.endswith(".conf")
    ]
    return BootFiles(
        release, _KERNEL + release, initrd, "usr/lib/os-release", tuple(sorted(options))
    )


def command_line(spec: DiskSpec, root: Collection[str], files: Mapping[str, bytes]) -> str:
    """Return what the kernel is told.

    :param root: the words by which the root is found and verified.
    :param files: what the image's own files give, by path; they are read in order of their names.
    """
    mode = ("rw", WRITABLE_OPTION) if spec.writable else ("ro",)
    words = [*root, *mode, *(_FAILS_CLOSED if spec.slots is None else _FAILS_OVER)]
    if spec.slots is None and not spec.writable:
        words.append(_MOUNTS_NOTHING_MORE)
    if spec.state is not None:
        words.append(f"{STATE_OPTION}={spec.state.device or 'LABEL=' + STATE_LABEL}")
    for path in sorted(files):
        for line in files[path].decode("utf-8", "replace").splitlines():
            words += line.partition("#")[0].split()
    if spec.console:
        words += ["console=tty0", f"console={spec.console}"]
    words += spec.command_line
    return " ".join(dict.fromkeys(words))


def _by_number(release: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.+-]", release)
    ]

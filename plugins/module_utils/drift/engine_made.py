# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine itself puts into every container: it is no drift, as long as it is just that."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..oci.digest import sha256_bytes
from .instance import Instance
from .manifest import Entry
from .reading import KERNEL_FILE_SYSTEMS, Mount

_EMPTY = sha256_bytes(b"")
_OWN_FILES = frozenset(("etc/hosts", "etc/hostname", "etc/resolv.conf"))
INIT = ("sbin/docker-init", "usr/sbin/docker-init")
"""Where the engine mounts its own first process, depending on whether the image merged /usr."""

# OCI runtime-spec v1.1, config-linux.md, "Default Devices".
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
# The same document, runtime-linux.md, "Dev symbolic links".
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}


def engine_files(mounts: Mapping[str, Mount], wanted: Collection[str]) -> dict[str, Entry]:
    """Return, by path, the names that the engine makes in the root and in ``/dev``.

    :param wanted: names that the version has; a directory that leads to a mount is made where it
        has none.
    """
    made = [
        _entry(".dockerenv", "file", 0o755, digest=_EMPTY),
        _entry("dev", "directory", 0o755),
        _entry("dev/shm", "directory", 0o1777),
        _entry("etc/mtab", "symlink", 0o777, link="/proc/mounts"),
        *(_entry(f"dev/{name}", "char", 0o666, device=pair) for name, pair in _DEVICES.items()),
        *(_entry(f"dev/{name}", "symlink", 0o777, link=to) for name, to in _LINKS.items()),
    ]
    found = {one.path: one for one in made}
    for path in mounts:
        above = path.rpartition("/")[0]
        while above and above not in found and above not in wanted:
            found[above] = _entry(above, "directory", 0o755)
            above = above.rpartition("/")[0]
    return found


def given_devices(instance: Instance) -> frozenset[str]:
    """Return the paths of host devices that it was given: which ones they are is a setting."""
    devices = instance.host_config.get("Devices") or ()
    return frozenset(str(one.get("PathInContainer") or "").strip("/") for one in devices)


def is_engine_mount(mount: Mount, instance: Instance) -> bool:
    """Say whether the engine mounts *mount* in every container, or was told to in its settings."""
    if mount.path in _OWN_FILES or (mount.path in INIT and instance.host_config.get("Init")):
        return True
    if mount.path in ("dev", "dev/shm"):
        return mount.type == "tmpfs"
    top = mount.path.partition("/")[0]
    if top in ("proc", "sys"):
        # The engine covers parts of both, with nothing or with themselves.
        return mount.type in KERNEL_FILE_SYSTEMS or mount.type == "tmpfs"
    return mount.path in ("dev/pts", "dev/mqueue", "dev/console") and (
        mount.type in KERNEL_FILE_SYSTEMS
    )


def _entry(
    path: str,
    kind: str,
    mode: int,
    *,
    digest: str | None = None,
    link: str = "",
    device: tuple[int, int] = (0, 0),
) -> Entry:
    return Entry(path, kind, mode, 0, 0, 0, digest, link, device, ())

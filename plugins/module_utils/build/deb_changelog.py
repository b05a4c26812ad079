# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changelog in a ``.deb``, read without unpacking the rest (deb(5), ar(5))."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"!<arch>\n"
_NAMES = ("changelog.Debian.gz", "changelog.Debian", "changelog.gz", "changelog")


def deb_changelog(path: Path, package: str) -> str | None:
    """Return the Debian changelog of *package* in the file at *path*, None when it has none.

    The newest entry of a rebuild for one architecture is in a file of its own, which is not read.
    """
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return None
        while header := stream.read(60):
            name, size = header[:16].decode("ascii", "replace").strip(" /"), int(header[48:58])
            if name.startswith("data.tar"):
                return _in_data(stream, package)
            stream.seek(size + size % 2, 1)
    return None


def _in_data(stream: BinaryIO, package: str) -> str | None:
    folder = f"./usr/share/doc/{package}/"
    found: dict[str, bytes] = {}
    try:
        # By the stream's own form; one that this Python cannot read has no changelog for us.
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                if member.isreg() and member.name.startswith(folder):
                    content = archive.extractfile(member)
                    name = member.name.removeprefix(folder)
                    if content is not None and name in _NAMES:
                        found[name] = content.read()
    except (tarfile.TarError, EOFError, OSError):
        pass
    for name in _NAMES:
        if name in found:
            return _text(found[name])
    return None


def _text(content: bytes) -> str | None:
    try:
        whole = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError):
        return None
    return whole.decode("utf-8", "replace")

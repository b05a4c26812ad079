# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers: a compressed tar in a layout, and how one is stored."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..core.errors import DriverError
from . import capture
from .compress import DEFAULT_LEVEL, Compressor
from .descriptor import LAYER_GZIP, Descriptor
from .digest import parse
from .layout import Layout

CAPTURE_SOURCE: str = inspect.getsource(capture)
"""The source text of the capture program, for ``python3 -I -c SOURCE snapshot|capture ...``.

Read through the module's loader, so that it is there too when Ansible runs us from a zip file.
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer.

    :param descriptor: the blob, a tar compressed with gzip.
    :param diff_id: the digest of the uncompressed tar (OCI image-spec v1.1, config.md).
    :param size: bytes of the uncompressed tar.
    """

    descriptor: Descriptor
    diff_id: str
    size: int

    def as_json(self) -> dict[str, Any]:
        """Return a JSON object that from_json reads."""
        return {
            "descriptor": self.descriptor.as_json(),
            "diffID": self.diff_id,
            "size": self.size,
        }

    @classmethod
    def from_json(cls, value: object) -> Layer:
        """Read what as_json gave; DriverError when it is malformed."""
        if not isinstance(value, dict):
            raise DriverError(f"A layer must be a JSON object, not {value!r}.")
        diff_id, size = value.get("diffID"), value.get("size")
        if not isinstance(diff_id, str) or not isinstance(size, int) or isinstance(size, bool):
            raise DriverError(f"This layer is malformed: {value!r}.")
        parse(diff_id)
        return cls(Descriptor.from_json(value.get("descriptor")), diff_id, size)


def store_layer(
    layout: Layout, chunks: Iterable[bytes], *, level: int = DEFAULT_LEVEL
) -> Layer | None:
    """Compress the tar in *chunks* into *layout* and return the layer.

    Returns None, and stores nothing, when the tar has no entry (it is empty or all zero blocks).
    An exception from *chunks* leaves nothing either, so a producer that finds out late that its
    tar is not whole must raise it before it ends.

    :param level: gzip level, 1 to 9.
    """
    digest = hashlib.sha256()
    size = 0
    holds_entries = False
    with layout.writer() as writer:
        with Compressor(writer.write, level) as compressor:
            for chunk in chunks:
                holds_entries = holds_entries or chunk.count(0) != len(chunk)
                digest.update(chunk)
                size += len(chunk)
                compressor.write(chunk)
        if not holds_entries:
            return None
        return Layer(writer.commit(LAYER_GZIP), "sha256:" + digest.hexdigest(), size)

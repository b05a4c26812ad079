# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of versions: made at the end of a bake, and found again to look for drift."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ..module_utils.core.errors import DriverError
from ..module_utils.drift.manifest import (
    MEDIA_TYPE,
    Manifest,
    describe,
    manifest_of,
    pack,
    unpack,
)
from ..module_utils.drift.reading import STATUS
from ..module_utils.oci.image import Image
from ..module_utils.oci.layer import Layer
from ..module_utils.oci.layout import Layout
from ..module_utils.oci.predicates import MANIFEST
from ..module_utils.oci.statement import Statement
from ..module_utils.trust.attachments import Attached, read_attached, write_attached
from ..module_utils.trust.examination import Root, examine
from ..module_utils.trust.notary import kept_statements

_KIND = "files"


def layers_manifest(layout: Layout, layers: Sequence[Layer]) -> Manifest:
    """Return the manifest of the root that *layers* make; each that is new is read once."""
    return _manifest(examine(layout, layers))


def _manifest(root: Root) -> Manifest:
    return manifest_of(root.tree, root.text(STATUS).encode("latin-1").decode("utf-8", "replace"))


def keep_manifest(layout: Layout, image: Image, root: Root) -> Statement:
    """Keep the manifest of *image* beside its statements; return the statement that names it.

    *root* is what its layers make.
    It is attached to the index, as the statements are: the image's own digest does not know it.
    """
    manifest = _manifest(root)
    content = manifest.encode()
    digest = image.index.digest
    kept = Attached(MEDIA_TYPE, pack(content))
    if read_attached(layout, digest, _KIND) != [kept]:
        write_attached(layout, digest, _KIND, [kept])
    return Statement(MANIFEST, describe(content, manifest))


def image_manifest(layout: Layout, image: Image) -> Manifest:
    """Return the manifest of a version: the one that its bake kept, else from its layers.

    What was kept counts only when it is what its statement names. DriverError when the store has
    neither.
    """
    with contextlib.suppress(DriverError):
        named = [
            str(one.predicate.get("digest"))
            for one in kept_statements(layout, image)
            if one.predicate_type == MANIFEST
        ]
        attached = read_attached(layout, image.index.digest, _KIND)
        if named and attached:
            return unpack(attached[0].content, named[-1])
    return layers_manifest(layout, image.layers)

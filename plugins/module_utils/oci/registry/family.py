# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that belongs to one index or manifest, whether it is read from a layout or a registry."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from ...core.errors import DriverError
from ..descriptor import Descriptor
from ..layout import Layout
from ..references import named
from .client import Document, fallback_tag

T = TypeVar("T")
U = TypeVar("U")

ATTACHED = ("", ".sig", ".att", ".sbom", ".statements", ".files")
"""What the tags of things that belong to a manifest end with: cosign's, the list of referrers of
distribution-spec's fallback, and the statements that nobody needs to have signed."""


@dataclass(frozen=True, slots=True)
class Family:
    """An index or manifest with what it leads to.

    :param documents: manifests and indexes, each after those that it names; it is the last.
    :param blobs: the rest, by digest.
    """

    documents: tuple[Document, ...]
    blobs: dict[str, Descriptor]

    @property
    def root(self) -> Document:
        """The index or manifest itself."""
        return self.documents[-1]


def family(root: Descriptor, read: Callable[[Descriptor], bytes]) -> Family:
    """Follow *root* to all that it names (image-spec v1.1); a subject is no part of it.

    :param read: gives the bytes of an index or manifest, verified.
    """
    documents: dict[str, Document] = {}
    blobs: dict[str, Descriptor] = {}

    def follow(descriptor: Descriptor) -> None:
        content = read(descriptor)
        value = parsed(content, descriptor.digest)
        value.pop("subject", None)
        for child, is_document in named(value):
            if not is_document:
                blobs.setdefault(child.digest, child)
            elif child.digest not in documents:
                follow(child)
        documents[descriptor.digest] = Document(descriptor, content)

    follow(root)
    return Family(tuple(documents.values()), blobs)


def parsed(content: bytes, digest: str) -> dict[str, object]:
    """Read the JSON object of a manifest; DriverError when it is none."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DriverError(f"Manifest {digest} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise DriverError(f"Manifest {digest} is not a JSON object.")
    return value


def stored(layout: Layout, digest: str) -> Descriptor:
    """Describe a manifest or index of *layout* that only its digest is known of.

    MissingBlob when it is not there.
    """
    path = layout.path(digest)
    size = path.stat().st_size if path.exists() else 0
    content = layout.read(Descriptor("", digest, size))
    kind = parsed(content, digest).get("mediaType")
    if not isinstance(kind, str):
        raise DriverError(f"Manifest {digest} does not say its media type.")
    return Descriptor(kind, digest, size)


def known_documents(layout: Layout, digests: Iterable[str]) -> dict[str, list[str]]:
    """Return which manifests each of the indexes leads to, itself first, that *layout* can read."""
    found = {}
    for digest in digests:
        if (layout.root / "index.json").exists() and layout.has(digest):
            with contextlib.suppress(DriverError):
                whole = family(stored(layout, digest), layout.read)
                found[digest] = [one.descriptor.digest for one in reversed(whole.documents)]
    return found


def attached_tags(whole: Family) -> list[str]:
    """Return the tags under which something may be attached to a manifest of *whole*."""
    prefixes = [fallback_tag(document.descriptor.digest) for document in whole.documents]
    return [prefix + suffix for prefix in prefixes for suffix in ATTACHED]


def side_by_side(step: Callable[[T], U], items: Iterable[T], parallel: int) -> list[U]:
    """Take *step* for each item, *parallel* at once; what they return, in the items' order.

    The first error ends it: steps that have not begun are left out, and it is raised when those
    that have begun are done.
    """
    with ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="registry") as pool:
        futures = [pool.submit(step, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Also when interrupted: nothing new is begun then.
            for future in futures:
                future.cancel()
        wait(futures)
        for future in futures:
            if not future.cancelled() and (error := future.exception()) is not None:
                raise error
        return [future.result() for future in futures]

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake does about a blob that turns out damaged or missing while it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..core.errors import DriverError
from ..oci.damage import LostBlob
from ..oci.references import closure
from .record_files import RecordFile, record_files
from .records import Cache


@contextlib.contextmanager
def mending(cache: Cache) -> Iterator[None]:
    """Do about a blob of *cache* that the block finds lost what can be done, and say so."""
    try:
        yield
    except LostBlob as error:
        raise give_up_blob(cache, error) from error


def give_up_blob(cache: Cache, error: LostBlob) -> DriverError:
    """Set the blob of *error* aside and drop the records that count on it; return what to say.

    The next bake then makes again what it was. Other bakes may go on meanwhile: what one of them
    has put in the place of the damaged blob stays, and so do the records of it.
    """
    if error.root != cache.layout.root:
        return error
    aside = cache.layout.set_aside(error.digest)
    users = []
    for record in record_files(cache):
        if _counts_on(cache, record, error.digest):
            record.path.unlink(missing_ok=True)
            users.append(record.label)
    where = f" It was moved to {aside}." if aside is not None else ""
    whose = f" It is part of: {', '.join(users)}." if users else ""
    return DriverError(
        f"{error.message}{whose}{where}",
        hint="Run the bake again: it makes it anew. kiln.immutable.fsck looks for more of it.",
        details=error.details,
    )


def _counts_on(cache: Cache, record: RecordFile, digest: str) -> bool:
    """Whether *record* leads to the blob of *digest*, and that is not there as it says."""
    if record.kind == "latest":
        return False
    if record.bake is not None:
        sizes = closure(cache.layout, record.bake.index).sizes
    else:
        sizes = dict(record.blobs)
    if digest not in sizes:
        return False
    path = cache.layout.path(digest)
    return not path.exists() or sizes[digest] not in {None, path.stat().st_size}

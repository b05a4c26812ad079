# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials that are drawn up once for the same packages.

Most bakes change an application and no package. Their bills differ only in the digests of the image
and of its layers, while the libraries that write them take as long as all else of a small bake's
end. So each bill is drafted with stand-ins for those digests, kept, and filled in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..core import canonical
from ..core.files import write_whole
from ..oci.predicates import CYCLONEDX, SPDX
from ..oci.statement import Statement
from . import materials as materials_module
from . import packages, sbom
from .materials import ImageLayer, Materials

_LIBRARIES = ("cyclonedx-python-lib", "packageurl-python", "py-serializable", "spdx-tools")


@dataclass(frozen=True, slots=True)
class Bills:
    """Draws up bills of materials, and keeps their drafts.

    :param folder: where drafts are kept, each by the digest of what it was made of.
    :param libraries: what a draft's bytes depend on, besides our own code.
    """

    folder: Path
    libraries: tuple[str, ...] = _LIBRARIES

    def of(self, materials: Materials) -> list[Statement]:
        """Return *materials* as CycloneDX and as SPDX, see :mod:`.sbom`.

        Raises DriverError when a library is missing.
        """
        draft, words = _draft_of(materials)
        # Kept or not, a bill is a draft that was filled in: its bytes are the same.
        text = self._text(draft)
        for word, real in words.items():
            text = text.replace(word, real)
        found = json.loads(text)
        return [Statement(kind, found[kind]) for kind in (CYCLONEDX, SPDX)]

    def _text(self, draft: Materials) -> str:
        path = self.folder / self._name(draft)
        kept = _read(path)
        if kept is not None:
            return kept
        bills = {CYCLONEDX: sbom.cyclonedx(draft).predicate, SPDX: sbom.spdx(draft).predicate}
        content = canonical.encode(bills)
        # An aid only: where it cannot be written, the next bake drafts again.
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, zlib.compress(content, 1))
        return content.decode("utf-8", "surrogateescape")

    def _name(self, draft: Materials) -> str:
        """Return the digest of all that a draft comes from: materials, libraries, our own code."""
        try:
            libraries = {name: version(name) for name in self.libraries}
        except ModuleNotFoundError as error:
            raise sbom.missing(str(error.name)) from error
        sources = (sbom.__file__, materials_module.__file__, packages.__file__, __file__)
        ours = [hashlib.sha256(Path(source).read_bytes()).hexdigest() for source in sources]
        made_of: dict[str, Any] = {"draft": asdict(draft), "libraries": libraries, "ours": ours}
        return _hex(canonical.digest(made_of))


def _draft_of(materials: Materials) -> tuple[Materials, Mapping[str, str]]:
    """Return *materials* with stand-ins for digests, and what each stands for.

    A stand-in is as long as a digest and comes from no content.
    """
    image = _stand_in("image")
    words = {image: _hex(materials.digest)}
    layers = []
    for index, layer in enumerate(materials.layers):
        word = _stand_in(f"layer {index}")
        words[word] = _hex(layer.diff_id)
        layers.append(ImageLayer(layer.name, f"sha256:{word}"))
    draft = replace(materials, digest=f"sha256:{image}", layers=layers)
    words[str(sbom.serial(draft))] = str(sbom.serial(materials))
    return draft, words


def _stand_in(what: str) -> str:
    return hashlib.sha256(f"kiln.immutable stands in for the {what}".encode()).hexdigest()


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _read(path: Path) -> str | None:
    """Return the draft at *path*; None when there is none, or one that was damaged."""
    try:
        text = zlib.decompress(path.read_bytes()).decode("utf-8", "surrogateescape")
        # The collection of garbage goes by when a draft was used.
        os.utime(path)
    except (OSError, zlib.error):
        return None
    return text

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small home with made-up blobs: two versions of an image, its base, layers and records."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BakeRecord,
    BaseRecord,
    Cache,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.canonical import digest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.damage import examine
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure

NOW = 1_800_000_000.0
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class StoreHome:
    """The home, and what its catalog would say."""

    home: Home
    cache: Cache
    versions: dict[str, str]

    @property
    def layout(self) -> Layout:
        return self.cache.layout

    def layer(self, name: str, content: str, *, age: float = 0) -> LayerRecord:
        """Store a layer and its record, last of use *age* days ago."""
        stored = store_layer(self.layout, [content.encode() * 100])
        record = LayerRecord(digest([name, content]), name, stored, 1.0, {"content": content})
        self.cache.keep_layer(record)
        self.grow_old("layers", record.key, age)
        return record

    def base(self, content: str = "a base", *, age: float = 0) -> BaseRecord:
        """Store a base and its record, last of use *age* days ago."""
        stored = store_layer(self.layout, [content.encode() * 100])
        assert stored is not None
        record = BaseRecord(digest(content), (stored,), 5, "bookworm", "amd64", 1.0)
        self.cache.keep_base(record)
        self.grow_old("bases", record.key, age)
        return record

    def grow_old(self, kind: str, key: str, days: float) -> None:
        """Let a record and the note of its use be *days* old."""
        then = NOW - days * DAY
        for path in (self.cache.record_path(kind, key), self.cache.use_path(kind, key)):
            if path.exists():
                os.utime(path, (then, then))

    def version(self, number: str, base: BaseRecord, *layers: LayerRecord) -> Image:
        """Write an image, tag it, record its bake, and let the catalog name it."""
        steps = [HistoryLayer(layer, "base") for layer in base.layers]
        steps += [HistoryLayer(record.layer, record.name) for record in layers]
        image = write_image(self.layout, ImageConfig("amd64", 0, labels={"n": number}), steps)
        self.layout.tag(f"web-{number}", image.index)
        self.cache.keep_bake(
            BakeRecord(
                digest(number),
                "web",
                number,
                image.index.digest,
                image.config.digest,
                tuple(record.key for record in layers),
            )
        )
        self.versions[f"web {number}"] = image.index.digest
        return image

    def damage(self, name: str) -> Path:
        """Change a byte of the blob of that digest, and nothing of its size."""
        path = self.layout.path(name)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return path

    def whole(self, index: str) -> bool:
        """Whether every blob that *index* leads to is there and good."""
        found = closure(self.layout, index)
        looks = [examine(self.layout.path(one), one) for one in found.sizes]
        return not found.unread and all(one is not None and one.flaw is None for one in looks)


def new_home(folder: Path) -> StoreHome:
    """Make a home in *folder* in which nothing is yet."""
    home = Home.at(str(folder), {})
    layout = Layout(home.store)
    layout.ensure()
    return StoreHome(home, Cache(home.cache, layout), {})


@pytest.fixture
def made(tmp_path: Path) -> StoreHome:
    """Return a home in which nothing is yet."""
    return new_home(tmp_path / "home")


@pytest.fixture(scope="session")
def another_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], StoreHome]:
    """Return a function that makes one more."""
    return lambda: new_home(tmp_path_factory.mktemp("home"))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that was interrupted, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

WRITER = """
import itertools, os, sys
from pathlib import Path
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

def chunks():
    for number in itertools.count():
        yield os.urandom(1 << 20)
        if number == 20:
            print("half way", flush=True)

store_layer(Layout(Path(sys.argv[1])), chunks())
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def test_a_killed_writer_leaves_a_layout_that_the_next_one_uses(layout: Layout) -> None:
    argv = [sys.executable, "-c", WRITER, str(layout.root)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        assert layout.sweep_partials() == 0
        process.send_signal(signal.SIGKILL)
    ingest = layout.root / "ingest"
    (partial,) = ingest.glob("*.partial")
    assert partial.stat().st_size > 0
    assert list((layout.root / "blobs" / "sha256").iterdir()) == []
    layout.ensure()
    layer = store_layer(layout, [b"tar"])
    assert layer is not None
    layout.tag("next", layer.descriptor)
    assert layout.sweep_partials() == 1
    assert list(ingest.glob("*.partial")) == []
    assert layout.tags() == {"next": layer.descriptor}
    layout.read(layer.descriptor)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_is_told_and_nothing_half_is_left(small_disk: Path) -> None:
    layout = Layout(small_disk)
    layout.ensure()
    with pytest.raises(DriverError) as caught:
        store_layer(layout, (os.urandom(1 << 20) for dummy in range(8)))
    written = caught.value.details["bytes"]
    assert isinstance(written, int)
    assert 3_000_000 < written < 4 << 20
    assert caught.value.message == (
        f"No space is left in {small_disk}: it was full after {written} bytes of a blob."
    )
    assert list(small_disk.rglob("*.partial")) == []
    assert store_layer(layout, [os.urandom(1 << 20)]) is not None


def test_names_survive_a_full_disk(small_disk: Path) -> None:
    layout = Layout(small_disk)
    layout.ensure()
    blob = layout.put(b"x", "text/plain")
    layout.tag("kept", blob)
    fill(small_disk / "filler")
    with pytest.raises(DriverError, match=f"No space is left in {small_disk}.* of index.json"):
        layout.tag("new", blob)
    assert layout.tags() == {"kept": blob}
    assert list(small_disk.glob(".*.partial")) == []


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the size field of ustar cannot count."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.oci.conftest import Kiln

GIB = 1 << 30


def test_a_file_of_more_than_8_gib_is_whole_in_the_layer(kiln: Kiln) -> None:
    size = 8 * GIB + 4096
    marks = {0: b"the start", 5 * GIB: b"the middle", size - 7: b"the end"}
    with (kiln.root / "big").open("wb") as stream:
        for where, mark in marks.items():
            stream.seek(where)
            stream.write(mark)
    layer = kiln.capture()
    assert layer is not None
    (kiln.root / "big").unlink()
    assert layer.size > size

    found, position, zeros = {}, 0, bytes(1 << 20)
    blob = kiln.layout.path(layer.descriptor.digest)
    tar = ["tar", "--extract", "--to-stdout", "--use-compress-program=pigz", f"--file={blob}"]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while content := process.stdout.read(1 << 20):
            if content != zeros[: len(content)]:
                text = content.strip(b"\0")
                found[position + content.index(text)] = text
            position += len(content)
    assert process.returncode == 0
    assert position == size
    assert found == marks

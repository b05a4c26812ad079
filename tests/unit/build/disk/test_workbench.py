# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the working folder of an assembly is."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    folder_options,
)

GIB = 1 << 30


def test_the_folder_is_in_memory_where_there_is_ample_room() -> None:
    (_mount, said) = folder_options(2 * GIB, 16 * GIB)

    assert "volume-opt=type=tmpfs" in said
    assert said.endswith(f"size={13 * GIB}")


def test_the_folder_is_on_the_disk_where_memory_is_short_or_nothing_is_known() -> None:
    assert folder_options(2 * GIB, 6 * GIB) == ["--volume", "/work"]
    assert folder_options(0, 16 * GIB) == ["--volume", "/work"]
    assert folder_options(GIB, 0) == ["--volume", "/work"]

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules come from their kept bytecode exactly when their source is still the same."""

from __future__ import annotations

import os
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.plugin_utils.bytecode import (
    PACKAGE,
    Finder,
    KeptBytecode,
)

NAME = f"{PACKAGE}module_utils.core.answer"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "core" / "answer.py"
    path.parent.mkdir()
    path.write_text("ANSWER = 41\n", "utf-8")
    return path


class Loader(KeptBytecode):
    """Counts what it compiles."""

    compiled = 0

    def source_to_code(self, data: Any, path: Any, **options: Any) -> CodeType:  # type: ignore[override]
        """Compile and count."""
        type(self).compiled += 1
        return super().source_to_code(data, path, **options)


@pytest.fixture
def loader(source: Path, tmp_path: Path) -> Loader:
    class Here(Loader):
        kept_in = str(tmp_path / "kept")

    return Here(NAME, str(source))


def _answer(loader: Loader) -> object:
    names: dict[str, object] = {}
    exec(loader.get_code(NAME), names)
    return names["ANSWER"]


def test_a_source_is_compiled_once(loader: Loader) -> None:
    assert [_answer(loader), _answer(loader)] == [41, 41]
    assert loader.compiled == 1


def test_an_edit_counts_with_the_same_time_and_size(loader: Loader, source: Path) -> None:
    before = source.stat()
    _answer(loader)
    source.write_text("ANSWER = 42\n", "utf-8")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _answer(loader) == 42


@pytest.mark.parametrize("keep", [0, 7, 20, -5])
def test_a_damaged_file_is_compiled_again(loader: Loader, keep: int) -> None:
    _answer(loader)
    (kept,) = Path(loader.kept_in).iterdir()
    kept.write_bytes(kept.read_bytes()[:keep])
    assert _answer(loader) == 41
    assert loader.compiled == 2


def test_a_flipped_byte_is_noticed(loader: Loader) -> None:
    _answer(loader)
    (kept,) = Path(loader.kept_in).iterdir()
    content = bytearray(kept.read_bytes())
    content[-3] ^= 1
    kept.write_bytes(content)
    assert _answer(loader) == 41
    assert loader.compiled == 2


def test_what_cannot_be_kept_is_loaded_all_the_same(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("no folder", "utf-8")
    assert _answer(loader) == 41


def test_only_files_of_the_collection_are_found(source: Path, tmp_path: Path) -> None:
    finder = Finder(str(tmp_path / "kept"))
    found = finder.find_spec(NAME, [str(source.parent)])
    assert found is not None
    assert found.origin == str(source)
    assert finder.find_spec(f"{PACKAGE}module_utils", [str(tmp_path)]) is None
    assert finder.find_spec("answer", [str(source.parent)]) is None

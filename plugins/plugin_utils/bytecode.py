# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytecode of this collection's files, kept from run to run.

Ansible's loader of collections compiles each file in each run, which for the files of a bake took
a quarter of a second. A finder before that loader takes what our plugins import from the kept
bytecode when its source is still the same.

The bytecode lies in Ansible's own home and not beside the sources, which may be another user's. It
is taken by the content of its source and not by times or sizes, so an edit always counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib import util
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from marshal import dumps, loads
from types import CodeType, ModuleType
from typing import cast

from ansible import constants

PACKAGE = "ansible_collections.kiln.immutable.plugins."
FOLDER = "kiln-bytecode"
_HASH = 8  # bytes of util.source_hash


def keep_bytecode() -> None:
    """Have later imports of this collection's modules keep their bytecode in Ansible's home.

    Without Ansible's loader (in unit tests) Python keeps it by itself, and nothing is done.
    """
    theirs = type(__spec__.loader).__module__.startswith("ansible.")
    if theirs and not any(isinstance(finder, Finder) for finder in sys.meta_path):
        home = constants.config.get_config_value("ANSIBLE_HOME")
        sys.meta_path.insert(0, Finder(os.path.join(home, FOLDER)))


class Finder:
    """Finds modules and packages of this collection by their files.

    What is no file (a package without an ``__init__.py``) is left to Ansible's own finder.
    """

    def __init__(self, folder: str) -> None:
        class Loader(KeptBytecode):
            kept_in = folder

        self._details = (Loader, [".py"])
        self._finders: dict[str, FileFinder] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module *name* is, None when another finder is to say."""
        if not name.startswith(PACKAGE):
            return None
        for place in path or ():
            finder = self._finders.get(place)
            if finder is None:
                finder = self._finders[place] = FileFinder(place, self._details)
            spec = finder.find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
        return None


class KeptBytecode(SourceFileLoader):
    """Loads a module from its kept bytecode, or compiles it and keeps that."""

    kept_in = ""

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code."""
        source = self.get_data(self.path)
        before = util.MAGIC_NUMBER + util.source_hash(source)
        # The code holds the path of its source, which tracebacks show.
        name = f"{fullname.removeprefix(PACKAGE)}.{util.source_hash(self.path.encode()).hex()}"
        kept = os.path.join(self.kept_in, name)
        content = _read(kept)
        body = content[len(before) + _HASH :]
        if content.startswith(before) and content[len(before) :].startswith(util.source_hash(body)):
            return cast(CodeType, loads(body))  # noqa: S302 (ours: nobody else writes there)
        code: CodeType = self.source_to_code(source, self.path)
        body = dumps(code)
        # What cannot be kept is compiled again.
        with contextlib.suppress(OSError):
            _write(kept, before + util.source_hash(body) + body)
        return code


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _write(path: str, content: bytes) -> None:
    """Write what is no loss when it is lost: whole, but not waiting for the disk."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(content)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise

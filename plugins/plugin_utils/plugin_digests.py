# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of the code of the modules and plugins that roles name."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible
from ansible.errors import AnsibleError
from ansible.plugins.loader import (
    action_loader,
    filter_loader,
    lookup_loader,
    module_loader,
    module_utils_loader,
    test_loader,
)
from ansible.release import __version__ as core_version

from ..module_utils.core.errors import DriverError

_CORE = Path(ansible.__file__).parent
_JINJA = (filter_loader, test_loader)
_LOADERS = (module_loader, action_loader, lookup_loader, *_JINJA)
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    rb"|import[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]+)*))",
    re.MULTILINE,
)
_STANDARD = sys.stdlib_module_names | {"ansible", "ansible_collections"}


class PluginDigests:
    """Digests of the code of modules and plugins that roles name."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._own: bool | None = None

    def __call__(self, name: str) -> str:
        """Return a text that changes when the code behind *name* does.

        For ansible-core's own it is the release. For others it is made of the bytes of the plugin
        and of what it imports from collections and from module_utils, of the release of its
        collection, and of the releases of the Python packages that it imports.
        """
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> str:
        core = f"ansible-core {core_version}"
        if name.startswith("ansible.builtin."):
            return core
        legacy = name.startswith("ansible.legacy.") or "." not in name
        if legacy and not self._has_own():
            return core
        found = {path for path in _paths(name) if not path.is_relative_to(_CORE)}
        if not found:
            if legacy:
                return core
            raise DriverError(f"The plugin {name} is not installed.")
        sources: set[Path] = set()
        packages: set[str] = set()
        for path in sorted(found):
            _follow_imports(path, sources, packages)
        digest = hashlib.sha256()
        for source in sorted(sources):
            digest.update(hashlib.sha256(source.read_bytes()).digest())
        for word in (*sorted(map(_release, packages)), *sorted({*map(_collection, sources)})):
            digest.update(word.encode() + b"\0")
        return digest.hexdigest()[:16]

    def _has_own(self) -> bool:
        """Whether short names may mean other plugins than ansible-core's: a folder has some."""
        if self._own is None:
            folders = [Path(f) for one in _LOADERS for f in (*one._extra_dirs, *(one.config or ()))]
            self._own = any(
                folder.is_dir() and not folder.is_relative_to(_CORE) for folder in folders
            )
        return self._own


def _paths(name: str) -> Iterator[Path]:
    """Give the files in which plugins called *name* are."""
    named = False
    for loader in _LOADERS:
        found = loader.find_plugin_with_context(name)
        if found.resolved and found.plugin_resolved_path:
            named = True
            yield Path(found.plugin_resolved_path)
    for jinja in () if named and not name.startswith("ansible.legacy.") else _JINJA:
        # A file may hold plugins of other names than its own; to know them it is loaded.
        try:
            plugin: Any = jinja.get_with_context(name.removeprefix("ansible.legacy.")).object
        except (AnsibleError, ImportError, KeyError):
            continue
        path = getattr(plugin, "_original_path", None)
        if path and Path(path).is_file():
            yield Path(path)


def _follow_imports(source: Path, sources: set[Path], packages: set[str]) -> None:
    """Add *source* to *sources* with what it imports, and Python's packages to *packages*."""
    if source in sources:
        return
    sources.add(source)
    for dots, module, names, plain in _IMPORT.findall(source.read_bytes()):
        imported = [word.decode() for word in re.findall(rb"\w+", names)]
        for one in [module] if dots or module else re.split(rb"[ \t,]+", plain):
            steps = one.decode().split(".") if one else []
            folder = _folder(source, len(dots), steps)
            if folder is None:
                if steps and not dots and steps[0] not in _STANDARD:
                    packages.add(steps[0])
                continue
            target = folder[0].joinpath(*folder[1])
            candidates = [target.with_suffix(".py"), target / "__init__.py"]
            candidates += [target / f"{name}.py" for name in imported]
            for candidate in candidates:
                if candidate.is_file():
                    _follow_imports(candidate, sources, packages)


def _folder(source: Path, dots: int, steps: list[str]) -> tuple[Path, list[str]] | None:
    """Return where *steps* are looked for; None for what is not a collection's nor a user's."""
    if dots:
        return source.parents[dots - 1], steps
    if steps[:1] == ["ansible_collections"] and len(steps) > 2:
        if "ansible_collections" in source.parts:
            top = Path(*source.parts[: source.parts.index("ansible_collections")])
            if top.joinpath(*steps[:3]).is_dir():
                return top, steps
        spec = importlib.util.find_spec(".".join(steps[:3]))
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            return Path(place), steps[3:]
    if steps[:2] == ["ansible", "module_utils"] and len(steps) > 2:
        for folder in (*module_utils_loader._extra_dirs, *(module_utils_loader.config or ())):
            own = Path(folder) / steps[2]
            if own.is_dir() or own.with_suffix(".py").is_file():
                return Path(folder), steps[2:]
    return None


def _release(package: str) -> str:
    """Return the release of a Python package, or the digest of its first file."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not os.path.isfile(spec.origin):
        return f"{package} absent"
    return f"{package} {hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()}"


def _collection(source: Path) -> str:
    """Return the release of the collection that *source* is part of."""
    if "ansible_collections" not in source.parts:
        return ""
    return _collection_release(Path(*source.parts[: source.parts.index("ansible_collections") + 3]))


@functools.cache
def _collection_release(top: Path) -> str:
    # One has the first file when it was installed, the other when it is a checkout.
    for name, pattern in (
        ("MANIFEST.json", rb'"version": *"([^"]*)"'),
        ("galaxy.yml", rb"(?m)^version: *(\S+)"),
    ):
        path = top / name
        found = re.search(pattern, path.read_bytes()) if path.is_file() else None
        if found is not None:
            return f"{top.parent.name}.{top.name} {found[1].decode()}"
    return ""

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spares Mitogen work that a bake would wait for. See docs/decisions/mitogen.md."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType

PREFIX = "ansible.module_utils"


def quicken() -> None:
    """Have Mitogen find a module's imports by bytecode, and send sources as they are.

    Before a module's first run Mitogen compiles it and the fifty or so files of module_utils that
    it imports, and each time anew for the next module. It also takes comments and docstrings out
    of all that it sends, for slow lines; to a container beside us that costs more than it spares.
    """
    import ansible_mitogen.module_finder
    import mitogen.minify

    ansible_mitogen.module_finder.scan = scan
    mitogen.minify.minimize_source = _as_it_is


def _as_it_is(source: bytes | str) -> str:
    return source.decode("utf-8") if isinstance(source, bytes) else source


_imports: dict[str, tuple[str, ...]] = {}
"""Names below module_utils that a file imports, by the file's path."""


def scan(
    module_name: str, module_path: str, search_path: Iterable[str]
) -> list[tuple[str, str, bool]]:
    """Return what a module imports of module_utils, directly or not: name, path, is a package.

    :param search_path: folders of module_utils, the first that has a name wins.
    """
    root = ModuleSpec(PREFIX, None)
    root.submodule_search_locations = list(search_path)
    specs: dict[str, ModuleSpec | None] = {PREFIX: root}
    waiting = deque([(module_name, module_path)])
    while waiting:
        name, path = waiting.popleft()
        for imported in _imported_by(name, path):
            if imported in specs:
                continue
            specs[imported] = child = _child(imported, specs)
            if child is not None and child.origin is not None:
                waiting.append((child.name, child.origin))
    return sorted(
        (spec.name, spec.origin, spec.submodule_search_locations is not None)
        for spec in specs.values()
        if spec is not None and spec.origin is not None
    )


def _imported_by(name: str, path: str) -> tuple[str, ...]:
    found = _imports.get(path)
    if found is None:
        from ansible_mitogen.module_finder import walk_imports

        try:
            code: CodeType | None = SourceFileLoader(name, path).get_code(name)
        except Exception as error:
            # What Mitogen's own scan raises; its caller shows it with the task.
            raise ValueError((error, name, path)) from error
        found = tuple(walk_imports(code, PREFIX))
        _imports[path] = found
    return found


def _child(name: str, specs: dict[str, ModuleSpec | None]) -> ModuleSpec | None:
    """Return where *name* is, None when it is no module: what an import names may be a function."""
    parent = specs.get(name.rpartition(".")[0])
    if parent is None or not parent.submodule_search_locations:
        return None
    return PathFinder.find_spec(name, parent.submodule_search_locations)

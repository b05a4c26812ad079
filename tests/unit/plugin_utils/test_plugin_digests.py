# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a plugin follows its code, what that imports, and the releases of both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.plugins.loader import filter_loader, module_loader, module_utils_loader
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.plugin_utils.plugin_digests import PluginDigests

MODULE = "from ansible.module_utils.own_part import x\nimport ownpackage, json\n"
FILTER = """\
class FilterModule:
    def filters(self):
        return {"kiln_test_shout": str.upper}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of plugins, as ansible.cfg or a playbook's folder has it."""
    for name in ("library", "module_utils", "filter_plugins", "packages/ownpackage"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "library" / "kiln_test_own.py").write_text(MODULE)
    (tmp_path / "module_utils" / "own_part.py").write_text("x = 1\n")
    (tmp_path / "filter_plugins" / "other_name.py").write_text(FILTER)
    (tmp_path / "packages" / "ownpackage" / "__init__.py").write_text("version = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages"), *sys.path])
    loaders = (
        (module_loader, "library"),
        (module_utils_loader, "module_utils"),
        (filter_loader, "filter_plugins"),
    )
    for loader, name in loaders:
        loader.add_directory(str(tmp_path / name))
    yield tmp_path
    for loader, name in loaders:
        loader._extra_dirs.remove(str(tmp_path / name))
        loader._paths = None
        loader._plugin_path_cache.clear()


@pytest.mark.parametrize(
    "part",
    ["library/kiln_test_own.py", "module_utils/own_part.py", "packages/ownpackage/__init__.py"],
)
def test_a_module_beside_the_playbook_counts_with_what_it_imports(folder: Path, part: str) -> None:
    before = PluginDigests()("ansible.legacy.kiln_test_own")
    assert PluginDigests()("ansible.legacy.kiln_test_own") == before
    with (folder / part).open("a") as stream:
        stream.write("# changed\n")
    assert PluginDigests()("ansible.legacy.kiln_test_own") != before


def test_a_filter_in_a_file_of_another_name_counts(folder: Path) -> None:
    before = PluginDigests()("ansible.legacy.kiln_test_shout")
    path = folder / "filter_plugins" / "other_name.py"
    path.write_text(FILTER.replace("upper", "lower"))
    assert PluginDigests()("ansible.legacy.kiln_test_shout") != before


# In a process of its own, because Ansible's finder of collections changes how Python imports.
PROGRAM = """
import sys
from ansible.plugins.loader import init_plugin_loader, module_loader
init_plugin_loader()
from ansible_collections.kiln.immutable.plugins.plugin_utils.plugin_digests import PluginDigests
print(PluginDigests()("ansible.builtin.copy"))
print(PluginDigests()("ansible.legacy.copy"))
print(PluginDigests()("kiln.immutable.whole_files"))
module_loader.add_directory(sys.argv[1])
print(PluginDigests()("ansible.legacy.copy"))
print(PluginDigests()("ansible.legacy.file"))
"""


def test_ansibles_own_go_by_its_release_until_a_folder_has_others(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("# another module of that name\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True
    )
    builtin, legacy, ours, another, file = done.stdout.splitlines()
    assert builtin.startswith("ansible-core ")
    assert legacy == file == builtin
    assert len(ours) == len(another) == 16
    assert another != ours


def test_a_plugin_of_a_collection_that_is_not_installed_is_said() -> None:
    with pytest.raises(DriverError, match="not installed"):
        PluginDigests()("no.such.plugin")

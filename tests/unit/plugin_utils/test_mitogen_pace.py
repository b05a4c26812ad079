# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quicker search for a module's imports finds what Mitogen's own finds."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import ansible.modules
import ansible_mitogen.module_finder
import pytest
from ansible_collections.kiln.immutable.plugins.plugin_utils.mitogen_pace import scan

MODULES = Path(ansible.modules.__path__[0])
MODULE_UTILS = str(Path(ansible.module_utils.__path__[0]))
OURS = Path(__file__).resolve().parents[3] / "plugins" / "modules"


@pytest.mark.parametrize(
    "path",
    [
        *(MODULES / f"{name}.py" for name in ("apt", "copy", "setup", "user")),
        OURS / "whole_files.py",
    ],
    ids=lambda path: path.stem,
)
def test_the_imports_of_a_module_are_those_that_mitogen_finds(path: Path) -> None:
    expected = ansible_mitogen.module_finder._scan_importlib_find_spec(
        f"ansible_module_{path.stem}", str(path), (MODULE_UTILS,)
    )

    found = scan(f"ansible_module_{path.stem}", str(path), (MODULE_UTILS,))

    assert len(found) > 10
    assert found == expected


def test_a_search_path_of_the_users_own_goes_first(tmp_path: Path) -> None:
    (tmp_path / "basic.py").write_text("")
    module = tmp_path / "module.py"
    module.write_text("from ansible.module_utils.basic import AnsibleModule\n")

    assert scan("module", str(module), (str(tmp_path), MODULE_UTILS)) == [
        ("ansible.module_utils.basic", str(tmp_path / "basic.py"), False)
    ]


def test_a_module_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    module = tmp_path / "broken.py"
    module.write_text("def (:\n")

    with pytest.raises(ValueError, match=r"broken\.py"):
        scan("broken", str(module), (MODULE_UTILS,))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the playbooks: all are known, and a misspelt one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.plugin_utils.play_options import (
    OPTIONS,
    PLAYBOOKS,
    refuse_unknown,
)

ROOT = Path(__file__).resolve().parents[3]


def sources(*globs: str) -> str:
    return "\n".join(path.read_text() for one in globs for path in sorted(ROOT.glob(one)))


def test_all_that_playbooks_take_is_known() -> None:
    taken = set(re.findall(r"\b(kiln_\w+) *\| *default", sources("playbooks/*.yml")))
    assert len(taken) > 60
    assert taken <= OPTIONS


def test_all_that_the_documentation_names_is_known() -> None:
    named = set(re.findall(r"-e '?(kiln_[a-z_]+[a-z])=", sources("README.md", "docs/*.md")))
    assert len(named) > 20
    assert named <= OPTIONS


def test_no_option_is_known_that_nothing_reads() -> None:
    code = sources("playbooks/*.yml", "plugins/action/*.py", "plugins/strategy/*.py")
    code += "".join(
        path.read_text()
        for path in (ROOT / "plugins" / "plugin_utils").glob("*.py")
        if path.name != "play_options.py"
    )
    assert {option for option in OPTIONS if option not in code} == set()


def test_a_misspelt_option_is_refused_with_the_right_one() -> None:
    with pytest.raises(DriverError, match=r"-e kiln_imagess: .* Write kiln_images\."):
        refuse_unknown(["kiln_home", "kiln_imagess"], PLAYBOOKS)


def test_an_option_like_no_other_is_refused_with_the_way_to_find_it() -> None:
    with pytest.raises(DriverError, match="first lines of each playbook"):
        refuse_unknown(["kiln_zqx"], PLAYBOOKS)


@pytest.mark.parametrize("extra", [["kiln_images", "kiln_home"], ["nginx_port"], []])
def test_options_and_other_variables_pass(extra: list[str]) -> None:
    refuse_unknown(extra, PLAYBOOKS)


def test_the_playbooks_of_others_have_variables_of_their_own(tmp_path: Path) -> None:
    refuse_unknown(["kiln_team"], tmp_path)

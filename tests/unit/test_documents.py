# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents that are made from data say what the data says."""

from __future__ import annotations

from pathlib import Path

import documents


def test_documents_are_up_to_date() -> None:
    assert documents.outdated() == [], "run make docs"


MAIN = {
    "short_description": "Does things",
    "description": ["Sets V(x) by O(role_a).", "Then ends."],
    "options": {
        "role_a": {
            "type": "str",
            "choices": ["no", "yes"],
            "default": "no",
            "description": "A | b",
        },
        "role_b": {
            "type": "list",
            "required": True,
            "description": ["One.", "Two."],
            "options": {"port": {"type": "int", "default": 22, "description": "The port."}},
        },
        "role_c": {"type": "dict", "description": "By rule."},
    },
}


def test_a_readme_has_a_row_for_each_variable() -> None:
    text = documents.readme("role", MAIN, "", has_controls=False)

    assert text == (
        "# role\n\nSets `x` by `role_a`. Then ends.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n"
        '| `role_a` | `"no"` | A \\| b One of `"no"`, `"yes"`. |\n'
        "| `role_b` | required | One. Two. |\n"
        "| `role_b.port` | `22` | The port. |\n"
        "| `role_c` | [by rule](defaults/main.yml) | By rule. |\n\n"
        f"{documents.MARKER}\n"
    )


def test_what_is_below_the_marker_stays() -> None:
    old = f"# old\n\n{documents.MARKER}\n\nBy hand.\n"

    text = documents.readme("role", {"short_description": "Does"}, old, has_controls=True)

    assert text == (
        "# role\n\nDoes.\n\nThe role has no variables.\n\n"
        "What it sees to, control by control: [hardening](../../docs/hardening.md#role).\n\n"
        f"{documents.MARKER}\n\nBy hand.\n"
    )


def test_a_readme_without_the_marker_keeps_what_is_below_its_table() -> None:
    old = "# old\n\n| variable |\n|---|\n| `x` |\n\nBy hand.\n\n| ways |\n|---|\n"

    text = documents.readme("role", MAIN, old, has_controls=False)

    assert text.endswith(f"{documents.MARKER}\n\nBy hand.\n\n| ways |\n|---|\n")


def test_a_document_that_is_not_there_is_outdated(tmp_path: Path) -> None:
    meta = tmp_path / "roles" / "role" / "meta"
    meta.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (meta / "argument_specs.yml").write_text(
        "argument_specs: {main: {short_description: Does things}}\n"
    )

    assert documents.outdated(tmp_path) == ["roles/role/README.md", "docs/hardening.md"]

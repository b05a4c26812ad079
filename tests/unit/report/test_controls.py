# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading controls: what a file may say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import (
    load_controls,
    load_role_controls,
)
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import (
    Control,
    Undo,
)

SPECS = "argument_specs:\n  main:\n    options:\n      shell_umask: {type: str}\n"
GOOD = """\
controls:
  - id: shell-umask
    title: New files are the owner's
    why: >-
      Others read what they
      should not.
    cis: {bookworm: ["5.4.3.3"]}
    anssi: [R36]
    openscap: [accounts_umask_etc_profile]
    variable: shell_umask
    kinds: [vm]
    releases: [trixie]
    check: test_umask
    undo:
      - remove: /etc/profile.d/60-kiln.sh
      - drop_line: {path: /etc/login.defs, match: '^UMASK'}
      - replace: {path: /etc/login.defs, match: '027$', with: ''}
      - append: {path: /etc/profile, line: umask 000}
      - create: {path: /etc/x, content: "a\\n", mode: "0644"}
      - mode: {path: /etc/y, mode: "0777"}
      - owner: {path: /etc/y, owner: "nobody:nogroup"}
      - command: usermod --shell /bin/sh nobody
"""
WAIVED = """\
controls:
  - id: disk-tmp-partition
    title: /tmp is a partition
    openscap: [partition_for_tmp]
    waiver: It is in memory.
"""


def role(folder: Path, text: str, name: str = "shell") -> Path:
    """Write a role with one variable and the controls *text*."""
    meta = folder / "roles" / name / "meta"
    meta.mkdir(parents=True)
    (meta / "argument_specs.yml").write_text(SPECS)
    (meta / "controls.yml").write_text(text)
    return meta.parent


def test_a_control_is_read_as_it_is_written(tmp_path: Path) -> None:
    (control,) = load_role_controls(role(tmp_path, GOOD))

    assert control == Control(
        control="shell-umask",
        role="shell",
        title="New files are the owner's",
        why="Others read what they should not.",
        cis={"bookworm": ("5.4.3.3",)},
        anssi=("R36",),
        openscap=("accounts_umask_etc_profile",),
        variable="shell_umask",
        kinds=("vm",),
        releases=("trixie",),
        check="test_umask",
        undo=(
            Undo("remove", path="/etc/profile.d/60-kiln.sh"),
            Undo("drop_line", path="/etc/login.defs", match="^UMASK"),
            Undo("replace", path="/etc/login.defs", match="027$"),
            Undo("append", path="/etc/profile", text="umask 000"),
            Undo("create", path="/etc/x", text="a\n", mode="0644"),
            Undo("mode", path="/etc/y", mode="0777"),
            Undo("owner", path="/etc/y", owner="nobody:nogroup"),
            Undo("command", text="usermod --shell /bin/sh nobody"),
        ),
    )
    assert control.at == "roles/shell/meta/controls.yml:2"


def test_a_control_holds_for_its_kinds_and_releases(tmp_path: Path) -> None:
    (control,) = load_role_controls(role(tmp_path, GOOD))

    assert control.holds("vm", "trixie")
    assert not control.holds("container", "trixie")
    assert not control.holds("vm", "bookworm")


def test_a_waiver_stands_for_check_and_undo(tmp_path: Path) -> None:
    (control,) = load_role_controls(role(tmp_path, WAIVED))

    assert (control.waiver, control.check, control.undo) == ("It is in memory.", "", ())
    assert control.holds("container", "bookworm")


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


HERE = "roles/shell/meta/controls.yml:"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            edited("    check: test_umask\n", ""),
            "2: controls[0].check is missing; a control without a waiver has it.",
        ),
        (
            GOOD.partition("    undo:")[0],
            "2: controls[0].undo is missing; a control without a waiver has it.",
        ),
        (
            GOOD.partition("    undo:")[0] + "    undo: []\n",
            "14: controls[0].undo has no step; say what takes the setting away.",
        ),
        (
            edited("    variable: shell_umask\n", "    variable: shell_mask\n"),
            (
                "10: controls[0].variable is shell_mask, which meta/argument_specs.yml does not "
                "have (did you mean shell_umask?)."
            ),
        ),
        (
            edited("title: New files are the owner's", "titel: New files"),
            "3: controls[0].titel is not a known key; did you mean title?",
        ),
        (
            edited('["5.4.3.3"]', "[5.4]"),
            '7: controls[0].cis.bookworm[0] is the number 5.4; write it with quotes, "5.4".',
        ),
        (
            edited("[R36]", "[36]"),
            "8: controls[0].anssi[0] is the number 36; it must be text.",
        ),
        (
            edited("kinds: [vm]", "kinds: [vn]"),
            "11: controls[0].kinds[0] is vn; it must be container or vm.",
        ),
        (
            edited("id: shell-umask", "id: Umask"),
            (
                "2: controls[0].id is Umask; an id has words of small letters and digits with - "
                "between, the topic first."
            ),
        ),
        (
            edited("      - remove: /etc", "      - delete: /etc"),
            (
                "15: controls[0].undo[0] has the operation delete; it is remove, drop_line, "
                "replace, append, create, mode, owner or command."
            ),
        ),
        (
            edited("match: '^UMASK'", "match: '('"),
            (
                "16: controls[0].undo[1].drop_line.match is (, which is no regular expression: "
                "missing ), unterminated subpattern at position 0."
            ),
        ),
        (
            edited(", match: '^UMASK'", ""),
            "16: controls[0].undo[1].drop_line.match is missing; drop_line needs it.",
        ),
        (
            edited('/etc/y, mode: "0777"', "/etc/y, mode: 777"),
            "20: controls[0].undo[5].mode.mode is the number 777; it must be text.",
        ),
        (
            edited("remove: /etc/profile.d", "remove: etc/profile.d"),
            (
                "15: controls[0].undo[0].remove is etc/profile.d/60-kiln.sh; it must be an "
                "absolute path, such as /etc/profile.d/60-kiln.sh."
            ),
        ),
        (
            WAIVED + "    check: test_tmp\n",
            "2: controls[0] has a waiver and check; what is not done cannot be proved, keep one.",
        ),
        ("", "1: the file is empty; it needs at least controls."),
        ("- id: a-b\n", "1: the file holds a list; it is a mapping with controls."),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DriverError) as caught:
        load_role_controls(role(tmp_path, text))

    assert HERE + message in caught.value.message.splitlines()


def test_two_roles_cannot_have_controls_of_one_id(tmp_path: Path) -> None:
    role(tmp_path, GOOD, "other")
    role(tmp_path, GOOD)

    with pytest.raises(DriverError, match="id is shell-umask, as at roles/other/meta"):
        load_controls(tmp_path / "roles")


def test_all_files_are_read_before_anything_is_said(tmp_path: Path) -> None:
    role(tmp_path, "", "other")
    role(tmp_path, "[]")

    with pytest.raises(DriverError) as caught:
        load_controls(tmp_path / "roles")

    assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
        "roles/other/meta/controls.yml",
        "roles/shell/meta/controls.yml",
    ]


def test_a_role_without_controls_has_none(tmp_path: Path) -> None:
    (role(tmp_path, GOOD) / "meta" / "controls.yml").unlink()

    assert load_controls(tmp_path / "roles") == ()

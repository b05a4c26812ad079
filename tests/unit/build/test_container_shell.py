# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that one process in a container runs, asked and answered over its pipes."""

from __future__ import annotations

import io
import json

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.container_shell import (
    ContainerShell,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def test_a_command_is_asked_with_its_input_and_answered_with_both_outputs() -> None:
    asked = io.BytesIO()
    shell = ContainerShell("bench", asked, io.BytesIO(b"3 4 5\nsaidwrong0 0 0\n"))

    done = shell.run(["cat"], b"given\n")

    line, _newline, given = asked.getvalue().partition(b"\n")
    assert json.loads(line) == [["cat"], 6]
    assert given == b"given\n"
    assert (done.status, done.stdout, done.stderr) == (3, b"said", b"wrong")
    assert shell.run(["true"]).status == 0


def test_a_container_that_ended_is_told_of() -> None:
    shell = ContainerShell("bench", io.BytesIO(), io.BytesIO(b""))

    with pytest.raises(DriverError, match="bench ended while mkfs ran in it"):
        shell.run(["mkfs"])

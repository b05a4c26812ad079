# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking: what runs, what does not and why, and what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_second_bake_has_nothing_to_do(team: Any) -> None:
    name = team.name()
    team.image(name, team.file_role())
    first = team.bake()
    assert name in first.hosts
    assert first.layers_run == ["app", "seal"]
    assert f"kiln/{name}:1.0.1 (in the engine)" in first.output
    assert team.cat(name, "/srv/app") == "one"
    second = team.bake()
    assert f"{name} 1.0.1: nothing to do." in second.output
    assert second.hosts <= {"localhost"}
    assert second.layers_run == []
    assert "changed=0" in second.output
    assert team.numbers(name) == ["1.0.1"]

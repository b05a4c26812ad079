# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every control's check can fail: with the setting taken away it does, in each kind of image."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    Debootstrap,
    Definition,
    load_all,
)
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import load_controls
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Control
from ansible_collections.kiln.immutable.tests.integration.controls.undoing import (
    apply,
    check,
    kept,
)
from ansible_collections.kiln.immutable.tests.testinfra.image_roles import roles_in
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[3]
CHECKS = "ansible_collections.kiln.immutable.tests.testinfra.controls"
CONTROLS = [one for one in load_controls(ROOT / "roles") if not one.waiver]
FOLDERS = [
    folder
    for folder in (
        ROOT / "examples" / "servers",
        ROOT / "examples" / "images",
        Path(__file__).parent / "images",
    )
    if folder.is_dir()
]
DEFINITIONS = load_all(FOLDERS)

# What a check does when a setting is not there. Anything else is a defect of the check.
FAILURES = (AssertionError, LookupError, ValueError)


def release_of(definition: Definition) -> str:
    assert isinstance(definition.base, Debootstrap)
    return definition.base.suite


def controls_of(definition: Definition) -> list[Control]:
    """Return the controls that an image of *definition* is to hold to."""
    roles = roles_in(definition)
    waived = {waiver.control for waiver in definition.waivers}
    return [
        control
        for control in CONTROLS
        if control.role in roles
        and control.control not in waived
        and control.holds(definition.kind, release_of(definition))
    ]


CASES = [
    pytest.param(definition, control, id=f"{definition.name}-{control.control}")
    for definition in DEFINITIONS
    for control in controls_of(definition)
]


@pytest.fixture(scope="session")
def definitions() -> tuple[Definition, ...]:
    """Return the definitions of all images that are looked at."""
    return DEFINITIONS


def function_of(control: Control) -> Callable[..., Any]:
    """Return the check of *control*."""
    module = importlib.import_module(f"{CHECKS}.test_{control.role}")
    found: Callable[..., Any] = getattr(module, control.check)
    return found


@pytest.mark.parametrize(("definition", "control"), CASES)
def test_a_control_without_its_setting_fails_its_check(
    roots: Any, definition: Definition, control: Control
) -> None:
    function, release = function_of(control), release_of(definition)
    host: Host = roots.host(definition)
    check(function, host, definition.kind, release)
    for_good = any(step.operation == "command" for step in control.undo)
    try:
        with kept(host, control.undo):
            for step in control.undo:
                apply(host, step)
            with pytest.raises(FAILURES):
                check(function, host, definition.kind, release)
        if not for_good:
            check(function, host, definition.kind, release)
    except BaseException:
        for_good = True
        raise
    finally:
        if for_good:
            roots.discard(definition)


def test_every_control_is_proved_in_some_image() -> None:
    proved = {control.control for one in DEFINITIONS for control in controls_of(one)}
    assert [one.at for one in CONTROLS if one.control not in proved] == []

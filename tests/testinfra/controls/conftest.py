# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of controls stand on: a root, its kind, its release, and which controls it has.

A check of a control that the root does not have (another kind or release, a role that is not in
the image, a waiver in its definition) is not collected.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import load_controls
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import (
    Control,
)
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import is_container
from ansible_collections.kiln.immutable.tests.testinfra.image_roles import roles_in
from testinfra.host import Host

HERE = Path(__file__).resolve().parent
ROLES = HERE.parents[2] / "roles"
LABEL = "kiln.kind"


@functools.cache
def controls_by_check() -> dict[tuple[str, str], Control]:
    """Return the controls that are checked, by the name of the test file and of the function."""
    found = load_controls(ROLES)
    return {(f"test_{one.role}.py", one.check): one for one in found if one.check}


@functools.cache
def release_of(host: Host) -> str:
    """Return the code name of the Debian release in *host*."""
    lines = host.check_output("cat /etc/os-release").splitlines()
    words = dict(line.split("=", 1) for line in lines if "=" in line)
    return str(words["VERSION_CODENAME"])


@functools.cache
def label_of(host: Host) -> str:
    """Return the kind that the label of a container says, if any."""
    if not is_container(host):
        return ""
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    name = host.backend.get_hostname()
    return str(host.backend.run_local("docker inspect --format %s %s", form, name).stdout).strip()


def kind_of(host: Host, config: pytest.Config) -> str:
    """Return whether *host* is a container or a VM: by option, definition, label, else the first.

    What runs is mostly a container of the image, whatever the image is for, so it cannot be seen.
    """
    if asked := config.getoption("kind"):
        return str(asked)
    if path := config.getoption("definition"):
        return str(load(path).kind)
    return label_of(host) or "container"


def roles_of(config: pytest.Config) -> set[str] | None:
    """Return the roles whose controls are to hold; None when nothing was said of them."""
    if asked := config.getoption("roles"):
        return set(asked.split(","))
    if path := config.getoption("definition"):
        return roles_in(load(path))
    return None


def waived_by(config: pytest.Config) -> set[str]:
    """Return the controls that the image's definition waives."""
    path = config.getoption("definition")
    return {one.control for one in load(path).waivers if one.control} if path else set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks of controls that their root does not have."""
    roles, waived = roles_of(config), waived_by(config)
    left_out = [item for item in items if not wanted(item, config, roles, waived)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def wanted(
    item: pytest.Item, config: pytest.Config, roles: set[str] | None, waived: set[str]
) -> bool:
    """Return whether *item* is to run."""
    if not isinstance(item, pytest.Function) or item.path.parent != HERE:
        return True
    if roles is not None and item.path.stem.removeprefix("test_") not in roles:
        return False
    control = controls_by_check().get((item.path.name, item.originalname))
    if control is None:
        return True
    host = item.callspec.params["_testinfra_host"] if hasattr(item, "callspec") else None
    held = host is None or control.holds(kind_of(host, config), release_of(host))
    return held and control.control not in waived


@pytest.fixture(scope="module")
def kind(_testinfra_host: Host, pytestconfig: pytest.Config) -> str:
    """Return what the image is for: ``container`` or ``vm``."""
    return kind_of(_testinfra_host, pytestconfig)


@pytest.fixture(scope="module")
def release(_testinfra_host: Host) -> str:
    """Return the code name of the root's Debian release."""
    return release_of(_testinfra_host)


@pytest.fixture(scope="module")
def suite(release: str) -> str:
    """Return the archive suite, which has the release's name."""
    return release

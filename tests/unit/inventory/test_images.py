# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of images, asked through ansible-inventory itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import ansible_collections.kiln.immutable.plugins.inventory as inventory_package

CHECKOUT = Path(__file__).parents[3]
COLLECTIONS = Path(inventory_package.__path__[0]).parents[4]
DEFINITION = "base: {debootstrap: {suite: bookworm}}\n"


def ansible_inventory(source: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("ansible-inventory")
    command: Sequence[str] = [sys.executable, str(program), "-i", str(source), *arguments]
    settings = cwd / "empty.cfg"
    settings.touch()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(cwd / "ansible-home"),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        "COLUMNS": "1000",
    }
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_example_gives_a_host_for_each_image(tmp_path: Path) -> None:
    done = ansible_inventory(
        CHECKOUT / "examples" / "kiln.images.yml", "--list", "--export", cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert "web" in listed["kiln_images"]["hosts"]


def test_a_host_has_the_path_of_its_definition_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "web.yml").write_text(DEFINITION + "name: site\n")
    (tmp_path / "team.kiln.images.yml").write_text(
        "plugin: kiln.immutable.images\npaths: [images/]\n"
    )

    done = ansible_inventory(
        tmp_path / "team.kiln.images.yml", "--host", "site", "--yaml", cwd=tmp_path / "images"
    )

    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.split("kiln_definition: ")[1]
        .strip()
        .strip("'\"")
        .endswith(str(tmp_path / "images" / "web.yml"))
    )
    assert len(done.stdout.splitlines()) == 1


def test_group_and_host_vars_beside_the_inventory_count(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "web.yml").write_text(DEFINITION)
    (tmp_path / "kiln.images.yml").write_text("plugin: kiln.immutable.images\npaths: [images/]\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "kiln_images.yml").write_text("of_all: 1\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "web.yml").write_text("of_web: 2\n")

    done = ansible_inventory(tmp_path / "kiln.images.yml", "--host", "web", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    variables = json.loads(done.stdout)
    assert (variables["of_all"], variables["of_web"]) == (1, 2)


def test_a_bad_definition_fails_with_its_own_sentence(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "web.yml").write_text("base: {debootstrap: {suite: bookwrm}}\n")
    (tmp_path / "kiln.images.yml").write_text("plugin: kiln.immutable.images\npaths: [images/]\n")

    done = ansible_inventory(tmp_path / "kiln.images.yml", "--list", cwd=tmp_path)

    assert done.returncode != 0
    assert (
        f"{tmp_path}/images/web.yml:1: base.debootstrap.suite is bookwrm; it must be bookworm or "
        "trixie (did you mean bookworm?)." in done.stderr
    )

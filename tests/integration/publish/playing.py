# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publications as users start them: by the playbook, or the task of it that reaches a place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import Subject
from ansible_collections.kiln.immutable.plugins.plugin_utils.publish_action import (
    PublishAction,
    Published,
)


def play(
    checkout: Path, home: Path, *arguments: str, given: Mapping[str, str] | None = None
) -> str:
    """Play playbooks/disks.yml with what the home *home* has; return what it printed.

    :param given: extra variables.
    """
    program = Path(sys.executable).with_name("ansible-playbook")
    playbook = str(checkout / "playbooks" / "disks.yml")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(checkout / ".collections"),
        "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_NOCOLOR": "true",
        "KILN_HOME": str(home),
    }
    extra = [word for name, value in (given or {}).items() for word in ("-e", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, str(program), playbook, *extra, *arguments],
        env={**inherited, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def perform(
    kind: type[PublishAction], subject: Subject, home: Path, **arguments: Any
) -> tuple[Published, list[str]]:
    """Have the action *kind* publish *subject* with a task's *arguments*; return what it did."""
    action = kind.__new__(kind)
    action._task = SimpleNamespace(args=arguments)
    assert set(arguments) <= set(kind._VALID_ARGS)
    steps = Steps(True, lambda what: None)
    return action.publish(subject, steps, Home.at(str(home))), steps.taken

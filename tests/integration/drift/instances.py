# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests of drift speak to the engine and run playbooks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMIT = 900  # seconds that a bake may take when none of its layers is there


def docker(*arguments: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Run the engine's client to its end and give its output."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, check=False)
    assert not check or done.returncode == 0, f"docker {arguments}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


def play(
    checkout: Path, playbook: str, *arguments: str, ends: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run one of our playbooks on the home that the environment names."""
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [sys.executable, str(program), str(checkout / "playbooks" / playbook), *arguments],
        env={**os.environ, "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000"},
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ends is None or done.returncode == ends, done.stdout + done.stderr
    return done


@dataclass(frozen=True)
class Web:
    """The example image in the engine."""

    number: str

    @property
    def image(self) -> str:
        return f"kiln/web:{self.number}"


Start = Callable[..., str]

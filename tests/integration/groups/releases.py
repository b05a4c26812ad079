# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that groups are tried with: baked once, and made others of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

from ansible_collections.kiln.immutable.tests.integration.groups.group import Group

HERE = Path(__file__).parent
LIMIT = 900  # seconds that the bake may take, when none of its layers is there


def docker(*arguments: str, check: bool = True) -> str:
    """Run the engine's client and return its output, without the last newline."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"docker {arguments}: {done.stderr}"
    return done.stdout.rstrip("\n")


def bake(checkout: Path) -> dict[str, str]:
    """Bake the balancer of the examples and the application; return their references."""
    images = [str(checkout / "examples/balancer/balancer.yml"), str(HERE / "images/app.yml")]
    done = subprocess.run(
        [
            sys.executable,
            str(Path(sys.executable).with_name("ansible-playbook")),
            "kiln.immutable.bake",
            "--inventory=localhost,",
            "--extra-vars",
            json.dumps({"kiln_images": images}),
        ],
        env={**os.environ, "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000"},
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"(?m)^(\S+) ([0-9.]+)(?:: nothing to do|, baked in)", done.stdout)
    return {name: f"kiln/{name}:{number}" for name, number in found}


def vary(image: str, name: str, change: str, program: str | None) -> None:
    """Make the image *name* of *image* by a shell command, perhaps with another program."""
    container = f"kiln-groups-{uuid.uuid4().hex[:8]}"
    (config,) = json.loads(docker("image", "inspect", image))
    entry = ["/bin/bash", "-c", program] if program else config["Config"]["Entrypoint"]
    docker(
        *("run", "--name", container, "--user", "0"),
        *("--entrypoint", "/bin/sh", image, "-c", change),
    )
    docker(
        *("commit", "--change", f"USER {config['Config']['User']}"),
        *("--change", f"ENTRYPOINT {json.dumps(entry)}", "--change", "CMD []", container, name),
    )
    docker("rm", container)


def remove(group: Group) -> None:
    """Take away all that carries the group's label."""
    label = f"label=io.kiln.group={group.name}"
    for what in (("service",), ("container",), ("volume",), ("network",), ("config",)):
        if what[0] in {"service", "config"} and group.kind != "swarm":
            continue
        every = ("--all",) if what == ("container",) else ()
        found = docker(*what, "ls", *every, "--quiet", "--filter", label).split()
        force = ("--force", "--volumes") if what == ("container",) else ()
        if found:
            docker(*what, "rm", *force, *found)

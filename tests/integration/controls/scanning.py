# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home of its own that has the layers of another one, to scan images without making them anew."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.trust.evidence import gather

LIMIT = 1500  # seconds that the bakes of all images may take, when none of their layers is there


def run_playbook(
    checkout: Path, home: Path, name: str, *arguments: str, ends: int = 0, **variables: str
) -> str:
    """Run a playbook of ours with *home* to the exit status *ends*, and return its output."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [sys.executable, str(program), f"kiln.immutable.{name}", "--inventory=localhost,"]
    argv += [f"--extra-vars=kiln_{key}='{value}'" for key, value in variables.items()]
    done = subprocess.run(
        [*argv, *arguments],
        env={**os.environ, "KILN_HOME": str(home), "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000"},
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == ends, done.stdout
    return done.stdout


@dataclass(frozen=True, slots=True)
class Scans:
    """Definitions with more asked of them, and a home in which they are baked.

    :param series: of all versions, so that no other home's is called the same in the engine.
    """

    checkout: Path
    images: Path
    home: Path
    series: str

    @property
    def version(self) -> str:
        """The number of each image's first version."""
        return f"{self.series}.1"

    def define(self, source: Path, seal: Mapping[str, Any], **changes: Any) -> None:
        """Write the definition in *source* with *changes*, and *seal* added to what it has."""
        document = yaml.safe_load(source.read_text("utf-8"))
        document = {**document, "version": self.series, **changes}
        document["seal"] = {**document.get("seal", {}), **seal}
        (self.images / source.name).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    def bake(self, *arguments: str, ends: int = 0) -> str:
        """Bake all definitions and return what was said."""
        return self.play("bake", *arguments, ends=ends, images=str(self.images))

    def play(self, name: str, *arguments: str, ends: int = 0, **variables: str) -> str:
        """Run another playbook in this home."""
        return run_playbook(self.checkout, self.home, name, *arguments, ends=ends, **variables)

    def page(self, image: str) -> str:
        """Return the report on an image's version, as HTML."""
        return (self.home / "reports" / image / f"{self.version}.html").read_text("utf-8")

    def catalogued(self, image: str) -> dict[str, Any]:
        """Return what the catalog has of an image's version; empty when it has none."""
        path = self.home / "catalog" / "images" / image / "versions" / f"{self.version}.yml"
        found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
        return found

    def statement(self, image: str, kind: str) -> dict[str, Any]:
        """Return the predicate of the one statement of type *kind* about an image's version."""
        layout = Layout(self.home / "store")
        index = self.catalogued(image)["index"]
        kept = gather(layout, index, (), created=0.0, now=time.time()).attested
        (found,) = [one.statement.predicate for one in kept if one.statement.predicate_type == kind]
        return dict(found)

    def ask_of_channel(self, channel: str, policy: Mapping[str, Any]) -> None:
        """Have the catalog ask *policy* of what goes to its one channel."""
        root = self.home / "catalog"
        settings = {"channels": [{"name": channel, "policy": dict(policy)}]}
        (root / "channels.yml").write_text(yaml.safe_dump(settings), "utf-8")
        who = ("-c", "user.name=ops", "-c", "user.email=ops@example.org")
        for command in (("add", "channels.yml"), (*who, "commit", "-qm", "Ask for a scan")):
            subprocess.run(["git", "-C", str(root), *command], check=True)

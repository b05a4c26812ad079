# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roots that are hardened, ours and those of peers, and what OpenSCAP says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.compliance import (
    scan_root,
    scanner_spec,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.compliance_result import (
    judge,
    read_scan,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    Debootstrap,
    load,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.finished_root import (
    TARGET,
    FinishedRoot,
    finished_root,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Toolbox,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import load_controls
from ansible_collections.kiln.immutable.plugins.module_utils.report.waived import reasons_by_rule
from ansible_collections.kiln.immutable.tests.testinfra.image_roles import roles_in

from . import engine
from .contenders import CHECKOUT, Build, Ground, bake_folder, playbook_program

PROFILE = "cis_level1_server"
# As scanners of a root that is not running are used: no more than where it is.
_AT_REST = (
    "oscap xccdf eval --profile xccdf_org.ssgproject.content_profile_$1 --results /tmp/results.xml"
    " /usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml >/dev/null 2>&1; cat /tmp/results.xml"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the scan of a root came to.

    :param rules: those that fail, sorted.
    :param waived: how many of them a control of the root's roles waives.
    :param failing_at_rest: how many fail when the scanner is not told what the boot brings about.
    """

    rules: tuple[str, ...]
    waived: int
    failing_at_rest: int
    scanner: str

    @property
    def failing(self) -> int:
        """How many rules fail, waived or not."""
        return len(self.rules)

    @property
    def unwaived(self) -> int:
        """How many rules fail for which nobody gives a reason."""
        return self.failing - self.waived


@dataclass(frozen=True, slots=True)
class Ours:
    """The example server, baked from the copied collection, and the same without its hardening."""

    ground: Ground

    @property
    def plain(self) -> Path:
        """The definition of the root that others would harden: all packages, no hardening."""
        return self.ground.folder / "plain" / "bench.yml"

    @property
    def hardened(self) -> Path:
        """The definition of the hardened root."""
        return self.ground.images / "bench.yml"

    @property
    def plain_image(self) -> str:
        """The engine's name of the plain root."""
        return engine.tags(f"kiln/{self.ground.name}-plain")[0]

    @property
    def image(self) -> str:
        """The engine's name of the hardened root that was baked last."""
        return engine.tags(f"kiln/{self.ground.name}")[0]

    def bake_plain(self) -> Build:
        """Bake the plain root."""
        layers = self.ground.definition["layers"][:1]
        return self._bake(self.plain, f"{self.ground.name}-plain", layers)

    def bake(self) -> Build:
        """Bake the hardened root."""
        return self._bake(self.hardened, self.ground.name, self.ground.definition["layers"])

    def change(self, role: str, number: int) -> None:
        """Give *role* a line that no cache has met and that does nothing; its layer is made anew.

        So are those above it; what is below stays cached.
        """
        tasks = self.ground.tree / "roles" / role / "tasks" / "main.yml"
        with tasks.open("a", encoding="utf-8") as stream:
            stream.write(f"# {number}\n")

    def _bake(self, path: Path, name: str, layers: list[dict[str, Any]]) -> Build:
        definition = {**self.ground.definition, "name": name, "layers": layers}
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(definition, sort_keys=False), "utf-8")
        return bake_folder(self.ground, path.parent)


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's playbook, played on the plain root over Ansible's docker connection."""

    title: str
    playbook: Path

    def image(self, ground: Ground) -> str:
        """The engine's name of the root that it left."""
        return f"{ground.name}-peer:{self._tag}"

    @property
    def _tag(self) -> str:
        return "".join(sign if sign.isalnum() else "-" for sign in self.title.lower())

    def play(self, ground: Ground, plain: str) -> Build:
        """Play it in a container of *plain*, which gets Python and starts no services first."""
        name = f"{ground.name}-peer-{self._tag}"
        run(["docker", "run", "--detach", "--name", name, "--init", plain, "sleep", "infinity"])
        run(["docker", "exec", name, "/bin/sh", "-c", _PREPARE])
        # Ansible's own defaults, not those of the checkout or the machine.
        settings = ground.folder / "peer.cfg"
        settings.write_text("", "utf-8")
        build = ground.timed(
            self.title,
            name,
            [playbook_program(), f"--inventory={name},", str(self.playbook)],
            {
                "ANSIBLE_CONFIG": str(settings),
                "ANSIBLE_COLLECTIONS_PATH": f"{self.playbook.parent}:{CHECKOUT / '.collections'}",
                "ANSIBLE_ROLES_PATH": str(self.playbook.parent / "roles"),
                "ANSIBLE_PIPELINING": "True",
                "ANSIBLE_TRANSPORT": "community.docker.docker",
                "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            },
            self.playbook.parent,
        )
        run(["docker", "commit", name, self.image(ground)])
        run(["docker", "rm", "--force", name])
        return build


_PREPARE = """\
set -eu
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/60speed
apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3 python3-apt >/dev/null
"""


class Scanner:
    """OpenSCAP of the product's own toolbox, which stays in the engine if it was there before."""

    def __init__(self, folder: Path, name: str) -> None:
        self._home = Home(folder / "scanner")
        self._name = name
        self._engine = Engine()
        self._made = ""

    def scan(self, image: str, path: Path) -> Verdict:
        """Scan the root of *image*; *path* is the definition that its waivers are from."""
        definition = load(path)
        assert isinstance(definition.base, Debootstrap)
        suite = definition.base.suite
        roles = roles_in(definition)
        controls = [one for one in load_controls(CHECKOUT / "roles") if one.role in roles]
        waivers = reasons_by_rule(definition, controls, suite)
        toolbox = self._toolbox()
        with finished_root(
            self._engine,
            toolbox,
            image,
            name=self._name,
            kind=definition.kind,
            session=self._name,
        ) as root:
            judged = judge(scan_root(toolbox, root, suite=suite, profile=PROFILE), waivers)
            at_rest = _scan_at_rest(toolbox, root)
        failing = tuple(sorted(rule.rule for rule in judged.scan.outcome("failed")))
        scanner = f"{judged.scan.scanner}, content {judged.scan.content}, {PROFILE}"
        return Verdict(failing, len(judged.waived), at_rest, scanner)

    def close(self) -> None:
        """Remove the toolbox if it was made here."""
        if self._made:
            self._engine.remove_image(self._made)

    def _toolbox(self) -> Toolbox:
        spec = scanner_spec()
        known = self._engine.image(spec.reference(self._engine.architecture())) is not None
        toolbox = ensure_toolbox(spec, engine=self._engine, home=self._home)
        if not known:
            self._made = toolbox.image
        return toolbox


def _scan_at_rest(toolbox: Toolbox, root: FinishedRoot) -> int:
    done = toolbox.run(
        ["/bin/sh", "-c", _AT_REST, "scan", PROFILE],
        env={"OSCAP_PROBE_ROOT": TARGET},
        options=root.options,
    )
    return len(read_scan(done.stdout, profile=PROFILE, product="debian12").outcome("failed"))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other side: a Dockerfile with a step for each role, whose files are those that ours made."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from . import engine
from .contenders import Ground

SETTINGS = ("etc/apt/", "etc/default/locale", "etc/timezone", "etc/localtime")
"""What the first role sets beside installing packages."""

DATABASES = ("var/lib/dpkg/", "var/cache/", "var/lib/apt/")
"""What packages leave: no file of a step, for a step that installs makes them itself."""

CHANGED = "etc/nginx/nginx.conf"

# As Debian's own container images are: no services are started, and dpkg does not wait for the
# disk. In the base, so it costs no build anything.
_BASE = """\
FROM {base}
RUN printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; \\
    echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/60speed
"""

_STEPS = """\
FROM {base}
ADD settings.tar /
RUN export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get dist-upgrade -qq -y \\
    && apt-get install -qq -y --no-install-recommends {packages} \\
    && apt-get clean && rm -rf /var/lib/apt/lists/*
ADD hardening.tar /
ADD nginx.tar /
RUN install -d -o www-data -g www-data -m 0700 /run/nginx /var/cache/nginx \\
    && nginx -e stderr -t -q \\
    && rm -rf /etc/nginx/sites-enabled/default /run/nginx.pid /var/log/apt /var/log/*.log \\
       /var/cache/debconf/*-old /var/lib/dpkg/*-old
"""


@dataclass(slots=True)
class Dockerfile:
    """Builds with the engine's own builder, whose cache holds what earlier rounds built."""

    ground: Ground
    model: str
    changes: int = 0

    @property
    def repository(self) -> str:
        """The engine's repository of the built images."""
        return f"{self.ground.name}-dockerfile"

    @property
    def _context(self) -> Path:
        return self.ground.folder / "context"

    @property
    def _base(self) -> str:
        return f"{self.ground.name}-dockerbase:1"

    def prepare(self) -> None:
        """Make the base, and take the files of the steps from our image *model*'s layers."""
        self._context.mkdir()
        text = _BASE.format(base=f"{self.ground.name}-base:1")
        run(["docker", "build", "--quiet", "--tag", self._base, "-"], stdin=text.encode(), env=_OLD)
        layers = _layers(self.model, self.ground.folder / "model.tar")
        names = [layer["name"].rpartition(".")[2] for layer in self._named()]
        if names[:3] != ["base", "hardening", "nginx"]:
            raise DriverError(f"The bench knows base, hardening and nginx, not {', '.join(names)}.")
        base, hardening, nginx = layers[1:4]
        _write(self._context / "settings.tar", base, lambda name: name.startswith(SETTINGS))
        for name, layer in (("hardening", hardening), ("nginx", nginx)):
            target = self._context / f"{name}.tar"
            _write(target, layer, lambda entry: not entry.startswith(DATABASES))

    def _named(self) -> list[dict[str, Any]]:
        layers = self.ground.definition["layers"]
        return [{"name": str(layer.get("name") or layer["role"])} for layer in layers]

    def define(self, salt: str) -> None:
        """Write the Dockerfile of a round: the locale's modifier is one that no cache has met."""
        first = dict(self.ground.definition["layers"][0].get("vars", {}))
        packages = ["ca-certificates", *first.get("base_packages", [])]
        lines = _STEPS.format(base=self._base, packages=" ".join(packages))
        lines = lines.replace("ADD settings.tar /", f"LABEL salt={salt}\nADD settings.tar /")
        config = self.ground.definition["config"]
        lines += f"USER {config['user']}\nENTRYPOINT {json.dumps(config['entrypoint'])}\n"
        lines += "".join(f"EXPOSE {port}\n" for port in config.get("ports", []))
        if "stop_signal" in config:
            lines += f"STOPSIGNAL {config['stop_signal']}\n"
        if check := config.get("healthcheck"):
            kind, *command = check["test"]
            lines += f"HEALTHCHECK {kind} {json.dumps(command)}\n"
        (self._context / "Dockerfile").write_text(lines, "utf-8")

    def change_last_step(self) -> None:
        """Change one line of nginx's settings to what it never was before."""
        self.changes += 1
        source = self._context / "nginx.tar"
        entries = _read(source)
        for member, data in entries:
            if member.name == CHANGED:
                changed = data + f"# {self.changes}\n".encode()
                member.size = len(changed)
                entries[entries.index((member, data))] = (member, changed)
                break
        else:
            raise DriverError(f"The layer of nginx holds no {CHANGED}.")
        _store(source, entries)

    def build(self) -> float:
        """Build once; return the seconds."""
        argv = ["docker", "build", "--quiet", "--tag", f"{self.repository}:1", str(self._context)]
        return self.ground.timed("docker build", "", argv, _OLD, self._context).seconds

    def differences(self, ours: str) -> str:
        """Say in a sentence how the packages of both results differ."""
        mine, theirs = engine.inspect(ours), engine.inspect(f"{self.repository}:1")
        names = sorted(set(mine.packages.items()) ^ set(theirs.packages.items()))
        same = f"Both images hold the same {len(mine.packages)} packages"
        said = same if not names else f"{len(names)} packages differ: {names}"
        return f"{said}; {mine.files} files in ours, {theirs.files} in the other."


# The engine's own builder is the one that every engine has; a client may ask for another.
_OLD = {"DOCKER_BUILDKIT": "0"}


def _layers(image: str, place: Path) -> list[bytes]:
    """Return the layers of *image* as tars, the lowest first."""
    run(["docker", "save", "--output", str(place), image])
    with tarfile.open(place) as saved:
        manifest = json.load(_member(saved, "manifest.json"))
        found = [_member(saved, name).read() for name in manifest[0]["Layers"]]
    place.unlink()
    return found


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise DriverError(f"docker save wrote no file {name}.")
    return found


Entries = list[tuple[tarfile.TarInfo, bytes]]


def _read(place: Path) -> Entries:
    with tarfile.open(place) as archive:
        return [(m, _member(archive, m.name).read() if m.isreg() else b"") for m in archive]


def _store(place: Path, entries: Entries) -> None:
    with tarfile.open(place, "w") as archive:
        for member, data in entries:
            archive.addfile(member, io.BytesIO(data))


def _write(place: Path, layer: bytes, wanted: Callable[[str], bool]) -> None:
    """Write what of *layer* is *wanted*; whiteouts mean nothing to ADD."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        entries = [
            (member, _member(archive, member.name).read() if member.isreg() else b"")
            for member in archive
            if wanted(member.name) and not Path(member.name).name.startswith(".wh.")
        ]
    _store(place, entries)

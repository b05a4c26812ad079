# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that Ansible finds in a build container, without a Python in the image.

A volume per Debian release holds a relocated CPython with python3-apt, taken from the base's own
archive. It is mounted read-only below /run, where nothing is captured. Each ELF file finds its
libraries by an rpath, so no environment variable reaches the programs that roles start.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.canonical import digest
from ..core.errors import DriverError
from ..core.files import locked, write_whole
from . import package_origins
from .engine import CACHE_LABEL, SESSION_LABEL, Engine
from .home import Home

MOUNT = "/run/kiln/python"
INTERPRETER = f"{MOUNT}/bin/python3"

PACKAGES = f"{MOUNT}/packages"
"""The packages that the toolkit was made from, with all that they need, for locks."""

_MARK = "io.kiln.toolkit"
"""Tells a volume from one of the same name that was there before it."""

_BUILD = r"""
set -eu
target=/run/kiln/python
# A second builder waits here, finds the work done and leaves.
exec 9> "$target/.lock"
flock 9
if [ -x "$target/bin/python3" ]; then cat "$target/packages.json"; exit 0; fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
wanted="python3 python3-apt python3-debian patchelf"
mkdir -p /run/kiln/archives/partial
# In a place of their own: a base may clean apt's folder up after each installation.
printf '%s\n' 'Dir::Cache::archives "/run/kiln/archives/";' \
'DPkg::Options { "--force-unsafe-io"; };' > /run/kiln/toolkit.conf
export APT_CONFIG=/run/kiln/toolkit.conf
if [ -n "${2:-}" ]; then
  mkdir -p "$2"
  tar -xf - -C "$2"
  printf 'Dir::Etc::sourcelist "%s/sources.list";\nDir::Etc::sourceparts "%s/none";\n' "$2" "$2" \
  >> /run/kiln/toolkit.conf
fi
apt-get update -qq
if [ -z "${2:-}" ]; then
  # As if nothing were installed: the same for every base of the release.
  apt-get install -qq --yes --no-install-recommends --download-only \
  -o Dir::State::status=/dev/null -o APT::Keep-Downloaded-Packages=true $wanted > /dev/null
fi
apt-get install -qq --yes --no-install-recommends -o APT::Keep-Downloaded-Packages=true $wanted \
> /dev/null
version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
rm -rf "$target/bin" "$target/bin.partial" "$target/lib" "$target/packages"
mkdir -p "$target/bin.partial" "$target/lib/so" "$target/lib/python3" "$target/packages"
python3 -I -c "$1" archives /run/kiln/archives > "$target/packages.json"
[ -n "${2:-}" ] || cp /run/kiln/archives/*.deb "$target/packages/"
cp -a "/usr/lib/$version" "$target/lib/"
cp -a /usr/lib/python3/dist-packages "$target/lib/python3/"
for part in test idlelib ensurepip sitecustomize.py; do rm -rf "$target/lib/$version/$part"; done
cat >> "$target/lib/python3/dist-packages/apt/__init__.py" << 'END'

# Modules that write package sources ask apt where they are, and shall write those of the image. In
# a bake with a lock its packages come from elsewhere: only what opens the cache is to look there.
if apt_pkg.config.find("Dir::Etc::sourcelist").startswith("/run/kiln/"):

    def _with_lock(method, places):
        def call(*arguments, **options):
            before = {name: apt_pkg.config.find(name) for name in places}
            try:
                for name, place in places.items():
                    apt_pkg.config.set(name, place)
                return method(*arguments, **options)
            finally:
                for name, place in before.items():
                    apt_pkg.config.set(name, place)

        return call

    _names = ("Dir::Etc::sourcelist", "Dir::Etc::sourceparts")
    _places = {name: apt_pkg.config.find(name) for name in _names}
    for _method in ("open", "update"):
        setattr(Cache, _method, _with_lock(getattr(Cache, _method), _places))
    for _name in _names:
        apt_pkg.config.set(_name, "/etc/apt/" + apt_pkg.config.find(_name).rpartition("/")[2])
END
cp -a "/usr/bin/$version" "$target/bin.partial/"
ln -s "$version" "$target/bin.partial/python3"
find "$target/lib" -name '*.so' > /tmp/elf
echo "$target/bin.partial/$version" >> /tmp/elf
# The C library is the base's own; all else comes along.
dpkg -L libc6 | sort > /tmp/libc
xargs -a /tmp/elf ldd 2> /dev/null | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
while read -r library; do
  real=$(readlink -f "$library")
  if ! grep -qxF -e "$library" -e "$real" -e "/usr$library" /tmp/libc; then
    cp "$real" "$target/lib/so/$(basename "$library")"
    echo "$target/lib/so/$(basename "$library")" >> /tmp/elf
  fi
done
xargs -a /tmp/elf patchelf --force-rpath --set-rpath "$target/lib/so"
python3 -m compileall -q "$target/lib" > /dev/null 2>&1 || true
# The name that others look for appears last and at once.
mv "$target/bin.partial" "$target/bin"
"$target/bin/python3" -I -c 'import apt_pkg, debian, ssl, json, tarfile, hashlib, ctypes'
cat "$target/packages.json"
"""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The packages of a toolkit that a lock names.

    :param digest: of what they are.
    :param folder: where in the container their repository is to be.
    :param archive: gives the repository as a tar.
    """

    digest: str
    folder: str
    archive: Callable[[], bytes]


def toolkit_volume(suite: str, architecture: str) -> str:
    """Return the name of the volume for *suite*; another recipe is another volume."""
    recipe = hashlib.sha256(_BUILD.encode()).hexdigest()[:12]
    return f"kiln-toolkit-{suite}-{architecture}-{recipe}"


def ensure_toolkit(
    engine: Engine,
    home: Home,
    *,
    image: Callable[[], str],
    suite: str,
    architecture: str,
    session: str,
    say: Callable[[str], None],
    pinned: Pinned | None = None,
) -> str:
    """Return the volume's name, after it was filled in a container of the base's *image*.

    :param image: gives its name; asked when the volume must be filled.
    :param pinned: what it must be made of; the volume that others use will do when it is.

    Raises DriverError when the base has no apt or its archive has no Python.
    """
    volume = toolkit_volume(suite, architecture)
    if pinned is not None and _made_of(home, volume, engine) != pinned.digest:
        volume = f"{volume}-{pinned.digest.removeprefix('sha256:')[:12]}"
    else:
        pinned = None
    with locked(home.locks / volume):
        if _made_of(home, volume, engine) is not None:
            return volume
        say(f"Making the toolkit for {suite}: Python for Ansible, mounted while a bake runs")
        # One that is there keeps the mark of who made it.
        engine.create_volume(volume, {CACHE_LABEL: "toolkit", _MARK: uuid.uuid4().hex})
        mark = engine.volume_label(volume, _MARK)
        done = engine.runner(
            [
                "docker",
                "run",
                "--rm",
                "--pull",
                "never",
                "--entrypoint",
                "/bin/sh",
                "--label",
                f"{SESSION_LABEL}={session}",
                "--volume",
                f"{volume}:{MOUNT}",
                *([] if pinned is None else ["--interactive", "--network", "none"]),
                image(),
                "-c",
                _BUILD,
                "sh",
                inspect.getsource(package_origins),
                *([] if pinned is None else [pinned.folder]),
            ],
            stdin=None if pinned is None else pinned.archive(),
            check=False,
        )
        if done.status != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise DriverError(
                f"The toolkit for {suite} could not be made: {' '.join(said[-3:])}",
                hint="The base must be a Debian, or made from one, whose archive answers.",
            )
        note = f"{made_of(json.loads(done.stdout))} {mark}"
        write_whole(_note(home, volume), note.encode())
        return volume


def made_of(packages: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of what a toolkit is made of."""
    names = ("name", "version", "architecture", "sha256")
    return digest(sorted([str(one.get(name, "")) for name in names] for one in packages))


def _note(home: Home, volume: str) -> Path:
    # Asking a volume costs a container; which one was filled is remembered here, and with what.
    return home.cache / "toolkits" / volume


def _made_of(home: Home, volume: str, engine: Engine) -> str | None:
    """Return the digest of what a volume was made of, None when it is not there.

    One of the same name that was made anew may be being filled by another home at this moment.
    """
    try:
        made, _space, mark = _note(home, volume).read_text("utf-8").partition(" ")
    except FileNotFoundError:
        return None
    return made if engine.volume_label(volume, _MARK) == mark else None

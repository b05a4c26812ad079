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
from collections.abc import Callable
from pathlib import Path

from ..core.errors import DriverError
from ..core.files import locked, write_whole
from .engine import CACHE_LABEL, SESSION_LABEL, Engine
from .home import Home

MOUNT = "/run/kiln/python"
INTERPRETER = f"{MOUNT}/bin/python3"

_BUILD = r"""
set -eu
target=/run/kiln/python
# A second builder waits here, finds the work done and leaves.
exec 9> "$target/.lock"
flock 9
if [ -x "$target/bin/python3" ]; then exit 0; fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3 python3-apt patchelf > /dev/null
version=$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
rm -rf "$target/bin" "$target/bin.partial" "$target/lib"
mkdir -p "$target/bin.partial" "$target/lib/so" "$target/lib/python3"
cp -a "/usr/lib/$version" "$target/lib/"
cp -a /usr/lib/python3/dist-packages "$target/lib/python3/"
for part in test idlelib ensurepip sitecustomize.py; do rm -rf "$target/lib/$version/$part"; done
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
"$target/bin/python3" -I -c 'import apt_pkg, ssl, json, tarfile, hashlib, ctypes'
"""


def toolkit_volume(suite: str, architecture: str) -> str:
    """Return the name of the volume for *suite*; another recipe is another volume."""
    recipe = hashlib.sha256(_BUILD.encode()).hexdigest()[:12]
    return f"kiln-toolkit-{suite}-{architecture}-{recipe}"


def ensure_toolkit(
    engine: Engine,
    home: Home,
    *,
    image: str,
    suite: str,
    architecture: str,
    session: str,
    say: Callable[[str], None],
) -> str:
    """Return the volume's name, after it was filled in a container of the base's *image*.

    Raises DriverError when the base has no apt or its archive has no Python.
    """
    volume = toolkit_volume(suite, architecture)
    # Asking a volume costs a container; that it was filled is remembered here.
    filled: Path = home.cache / "toolkits" / volume
    with locked(home.locks / volume):
        if filled.exists() and engine.has_volume(volume):
            return volume
        say(f"Making the toolkit for {suite}: Python for Ansible, mounted while a bake runs")
        engine.create_volume(volume, {CACHE_LABEL: "toolkit"})
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
                image,
                "-c",
                _BUILD,
            ],
            check=False,
        )
        if done.status != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise DriverError(
                f"The toolkit for {suite} could not be made: {' '.join(said[-3:])}",
                hint="The base must be a Debian, or made from one, whose archive answers.",
            )
        write_whole(filled, b"")
        return volume

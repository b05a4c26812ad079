# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot makes of a VM's root, for a scanner that asks the machine and not its files.

OpenSCAP judges mounts, kernel parameters and root's search path by what is in force. Of a root at
rest nothing is, so it is told what the root's own files bring about: file systems in memory by
fstab(5), parameters by sysctl.d(5), the path by login.defs(5). What these files do not say is not
there, and its rule fails. A container is judged by the path alone that engines give it.
"""

from __future__ import annotations

import re

from .finished_root import TARGET

MOUNT_OPTIONS = re.compile(r"(nosuid|nodev|noexec|mode=[0-7]+|size=[0-9]+[kmg]?)")
"""Options that the engine's client takes for a file system in memory as fstab has them."""

READ_FSTAB = ("/bin/sh", "-c", f"cat {TARGET}/etc/fstab 2>/dev/null || true")

_SETTING = r"s/^[[:space:]-]*\([a-z][^=[:space:]*]*\)[[:space:]]*=[[:space:]]*/\1 /p"
# Run before the scanner, in its place: it becomes the scanner, so that its number stays the same.
# $ROOT/proc is in memory; a link into the real one is taken for it.
PRELUDE = f"""\
ln -s /proc/$$ {TARGET}/proc/$$
if [ ! -e {TARGET}/.dockerenv ]; then
  ln -s /proc/self/mounts {TARGET}/proc/mounts
  cd {TARGET}
  for name in $(ls usr/lib/sysctl.d usr/local/lib/sysctl.d etc/sysctl.d 2>/dev/null |
      grep '[.]conf$' | sort -u); do
    for place in etc usr/local/lib usr/lib; do
      file=$place/sysctl.d/$name
      if [ -L "$file" ] || [ -e "$file" ]; then
        # A link leads out of this root.
        [ -L "$file" ] || sed -n '{_SETTING}' "$file"
        break
      fi
    done
  done | while read -r name value; do
    case $name in *..*) continue ;; esac
    parameter={TARGET}/proc/sys/$(printf %s "$name" | tr . /)
    mkdir -p "${{parameter%/*}}"
    printf '%s\\n' "$value" > "$parameter"
  done
  cd /
  path=$(sed -n 's/^ENV_SUPATH[[:space:]]*PATH=//p' {TARGET}/etc/login.defs 2>/dev/null)
  export PATH="${{path:-$PATH}}"
fi
"""


def boot_options(fstab: str) -> tuple[str, ...]:
    """Return the options of the engine's client that mount for a scanner what *fstab* mounts."""
    options = ["--tmpfs", f"{TARGET}/proc"]
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[0].startswith("#") or fields[2] != "tmpfs":
            continue
        asked = [one for one in fields[3].split(",") if MOUNT_OPTIONS.fullmatch(one)]
        options += ["--tmpfs", ":".join([fields[1], ",".join(["rw", *asked])])]
    return tuple(options)

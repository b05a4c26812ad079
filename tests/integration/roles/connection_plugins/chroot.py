# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection into a root that is a directory, named as community.general's is: chroot."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: chroot
author: kiln.immutable contributors
short_description: Runs commands in a directory as their root
description: In a user namespace of its own, so that an ordinary user may.
options:
  root:
    description: The directory.
    vars: [{name: ansible_host}]
"""


class Connection(Local):  # type: ignore[misc]  # ansible-core carries no type hints here
    """Runs commands as the local connection does, with another root."""

    transport = "chroot"

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run *cmd* by the shell of the other root."""
        root = shlex.quote(str(self.get_option("root")))
        inside = f"unshare --map-root-user chroot {root} /bin/sh -c {shlex.quote(cmd)}"
        done: tuple[Any, bytes, bytes] = super().exec_command(inside, in_data, sudoable)
        return int(done[0]), done[1], done[2]

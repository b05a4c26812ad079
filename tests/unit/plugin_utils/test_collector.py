# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of Ansible that looks for reference cycles more seldom."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, gc
atexit.register(lambda: print("at the end", len(gc.get_objects())))
from ansible_collections.kiln.immutable.plugins.plugin_utils.collector import collect_rarely
collect_rarely()
print("set aside", gc.get_freeze_count() > 1000, len(gc.get_objects()) < 1000)
class Cycle: pass
for _ in range(200_000):
    one = Cycle()
    one.itself = one
print("still collected", len(gc.get_objects()) < 120_000)
"""


def test_what_is_there_is_set_aside_and_what_comes_is_still_collected() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    *said, last = done.stdout.splitlines()
    assert said == ["set aside True True", "still collected True"], done.stderr
    # Nothing is left that the end of the process would look through.
    assert last.startswith("at the end ")
    assert int(last.rpartition(" ")[2]) < 1000

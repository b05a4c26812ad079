# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's collector of reference cycles, told how our runs use memory."""

from __future__ import annotations

import atexit
import gc

_ALLOCATIONS = 50_000  # new containers until the young are looked through; Python's own is 700


def collect_rarely() -> None:
    """Spare a run of Ansible most searches for cycles; call it when the large imports are done.

    A run holds a few hundred thousand objects that stay to its end, and is over in seconds. With
    Python's defaults it looks through them again and again, and once more while it ends, which
    was a fifth of the processor time of a run with nothing to do. They are set aside for good
    (``gc.freeze``), which also keeps forked workers from writing to their pages. What comes later
    is still collected, only more seldom.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 100)
    atexit.register(gc.freeze)

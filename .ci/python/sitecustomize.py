# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Python of the checks does first: look for reference cycles seldom, and not at its end.

Most of the checks' time is that of hundreds of short runs of Ansible, a fifth of whose own time
goes into such searches, which find nothing.
"""

import atexit
import gc

gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)

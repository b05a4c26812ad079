# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Python of the checks does first: look for reference cycles seldom, and not at its end.

Most of the checks' time is that of hundreds of short runs of Ansible, a fifth of whose own time
goes into such searches, which find nothing. And molecule and ansible-lint do not build 38 parsers
of internationalised addresses (two seconds), for a format that their schemas do not have.
"""

import atexit
import gc
import sys

gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)
if sys.orig_argv[1:2] and sys.orig_argv[1].endswith(("/molecule", "/ansible-lint")):
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # its import fails at once

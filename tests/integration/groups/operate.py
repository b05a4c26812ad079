# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's process of its own, to be killed: rotates a group and says how it ended.

python -m ...operate GROUP-AS-JSON RELEASE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.kiln.immutable.tests.integration.groups.group import Group


def main(document: str, release: str) -> int:
    """Rotate; return 0 when the group is then what was asked for."""
    values = json.loads(document)
    group = Group(**{**values, "journal": Path(values["journal"])})
    result = group.rotate(release)
    sys.stdout.write(f"{result.message}\n")
    return 0 if result.succeeded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

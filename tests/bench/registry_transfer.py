# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One push or pull by the driver, as a program of its own: what the bench of registries times."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import connect
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.pull import pull
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push


def main(arguments: Sequence[str]) -> int:
    """Do ``push|pull LAYOUT DIGEST REPOSITORY TAG``; print the bytes of blobs that went over."""
    verb, folder, digest, repository, tag = arguments
    layout, registry = Layout(Path(folder)), connect(Repository.parse(repository))
    layout.ensure()
    if verb == "push":
        wire = push(registry, layout, digest, tag).wire
    else:
        wire = pull(registry, layout, digest, tag).bytes
    print(json.dumps(wire))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

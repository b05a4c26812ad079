# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a disk to AWS and is killed before the block of a number.

    python -m ...dying_upload FOLDER NUMBER

FOLDER is that of the test, with its store; what AWS is, the environment says.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.publish.aws import (
    AwsPublication,
    AwsWish,
    aws_clients,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.tests.integration.publish.disks import disk_bytes, subject


class Dying:
    """The client of the EBS direct APIs that kills its process before a block."""

    def __init__(self, client: Any, left: int) -> None:
        self._client, self._left = client, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_snapshot_block(self, **asked: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._client.put_snapshot_block(**asked)


def main(folder: Path, number: int) -> None:
    """Publish as the test does."""
    clients = aws_clients(None, parallel=1)

    def dying(service: str, region: str) -> Any:
        client = clients(service, region)
        return Dying(client, number) if service == "ebs" else client

    AwsPublication(
        subject(folder, "raw", raw=disk_bytes(salt=b"killed")),
        AwsWish("eu-north-1", "killed", parallel=1),
        dying,
        folder / "journals",
        Steps(True, lambda what: None),
        datetime.now(UTC),
    ).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

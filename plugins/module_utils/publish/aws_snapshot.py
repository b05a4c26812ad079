# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of EBS with the content of a disk, by the EBS direct APIs: no volume, no instance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from .journal import Journal
from .subject import Subject, blocks, gibibytes, is_empty

BLOCK = 512 << 10
"""Bytes of a block, the only size that EBS takes."""

DISK_TAG = "io.kiln.disk"
"""Tag with the digest of the disk's file."""

_LIVES = 1440
"""Minutes without a block after which AWS gives up a snapshot that nobody completes."""


@dataclass(frozen=True, slots=True)
class SnapshotWish:
    """What the snapshot is to be.

    :param kms_key: ARN of the key it is encrypted with; empty for the account's default.
    """

    tags: Mapping[str, str]
    encrypted: bool = False
    kms_key: str = ""

    def start(self, ebs: Any, subject: Subject) -> str:
        """Ask for a snapshot without content; return its id.

        One whose answer is lost has no content, and AWS removes it when its time is over.
        """
        encryption: dict[str, Any] = {"Encrypted": True} if self.encrypted else {}
        if self.kms_key:
            encryption["KmsKeyArn"] = self.kms_key
        answer = ebs.start_snapshot(
            VolumeSize=gibibytes(subject.disk.size),
            Description=subject.description,
            Tags=[{"Key": key, "Value": value} for key, value in self.tags.items()],
            Timeout=_LIVES,
            **encryption,
        )
        return str(answer["SnapshotId"])


def fill_snapshot(
    ebs: Any, subject: Subject, snapshot: str, journal: Journal, *, parallel: int
) -> int:
    """Send the blocks that are not zeros, *parallel* at once, and complete the snapshot.

    What *journal* says was received is not sent again. Returns how many blocks were sent.
    """
    whole = hashlib.sha256()
    changed = sent = 0
    running: set[Future[None]] = set()
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        try:
            for index, part in enumerate(blocks(subject, BLOCK)):
                if is_empty(part):
                    continue
                block = part.ljust(BLOCK, b"\0")
                checksum = hashlib.sha256(block).digest()
                whole.update(checksum)
                changed += 1
                if index in journal.received:
                    continue
                sent += 1
                running.add(pool.submit(_put, ebs, snapshot, index, block, checksum, journal))
                while len(running) >= 2 * parallel:  # so that what waits fits into memory
                    running = _settle(running)
            while running:
                running = _settle(running)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    ebs.complete_snapshot(
        SnapshotId=snapshot,
        ChangedBlocksCount=changed,
        Checksum=base64.b64encode(whole.digest()).decode("ascii"),
        ChecksumAlgorithm="SHA256",
        # Of the blocks' checksums one after the other, by the index of the blocks.
        ChecksumAggregationMethod="LINEAR",
    )
    return sent


def _put(
    ebs: Any, snapshot: str, index: int, block: bytes, checksum: bytes, journal: Journal
) -> None:
    ebs.put_snapshot_block(
        SnapshotId=snapshot,
        BlockIndex=index,
        BlockData=block,
        DataLength=len(block),
        Checksum=base64.b64encode(checksum).decode("ascii"),
        ChecksumAlgorithm="SHA256",
    )
    journal.note(index)


def _settle(running: set[Future[None]]) -> set[Future[None]]:
    """Wait for one of *running*; return the others. What it raised is raised here."""
    done, left = wait(running, return_when=FIRST_COMPLETED)
    for one in done:
        one.result()
    return left


def snapshot_state(ec2: Any, snapshot: str) -> str:
    """Return the state of *snapshot*: pending, completed or error; empty when it is gone."""
    # By a filter, as asking for its id is an error when it is gone.
    answer = ec2.describe_snapshots(Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])
    return next((str(found["State"]) for found in answer["Snapshots"]), "")


def completed_snapshot(ec2: Any, subject: Subject, wish: SnapshotWish) -> str | None:
    """Return a snapshot that has the disk already and is encrypted as wished."""
    answer = ec2.describe_snapshots(
        OwnerIds=["self"],
        Filters=[
            {"Name": f"tag:{DISK_TAG}", "Values": [subject.disk.blob.digest]},
            {"Name": "status", "Values": ["completed"]},
        ],
    )
    for found in answer["Snapshots"]:
        same_key = not wish.kms_key or found.get("KmsKeyId") == wish.kms_key
        if bool(found.get("Encrypted")) == wish.encrypted and same_key:
            return str(found["SnapshotId"])
    return None

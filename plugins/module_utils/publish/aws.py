# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine image (AMI) of a disk: registered once, copied, shared, and the old one deprecated."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..core import canonical
from ..core.errors import DriverError
from ..core.waiting import Clock, wait_for
from .aws_snapshot import (
    DISK_TAG,
    SnapshotWish,
    completed_snapshot,
    fill_snapshot,
    snapshot_state,
)
from .firmware import HEAD, starts_by_uefi
from .journal import Journal
from .steps import Steps, library
from .subject import Subject, blocks, gibibytes

Clients = Callable[[str, str], Any]
"""Gives the client of a service in a region, as boto3 makes it."""

IMAGE_TAG = "io.kiln.image"
VERSION_TAG = "io.kiln.version"
INDEX_TAG = "io.kiln.index"

_ARCHITECTURE = "x86_64"  # of all disks so far
_ROOT = "/dev/xvda"
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")
_ACCOUNT = re.compile(r"\d{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True)
class AwsWish:
    """How the image is to be.

    :param region: where it is registered.
    :param copies: other regions that are to have it.
    :param kms_keys: ARNs of keys by region; with *encrypted* and none it is the account's default.
    :param shared_with: accounts that may start machines from it.
    :param deprecate_after: days until the older versions' images are deprecated, None for never.
    :param timeout: seconds that AWS has for a snapshot, an image or a copy.
    """

    region: str
    name: str
    copies: tuple[str, ...] = ()
    encrypted: bool = False
    kms_keys: Mapping[str, str] = field(default_factory=dict)
    shared_with: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    volume_type: str = "gp3"
    tpm: bool = False
    deprecate_after: int | None = None
    parallel: int = 16
    timeout: float = 3600.0

    @property
    def regions(self) -> tuple[str, ...]:
        """All regions that are to have it."""
        return (self.region, *self.copies)

    def check(self) -> None:
        """DriverError when the wish cannot be fulfilled, before anything is sent."""
        if _NAME.fullmatch(self.name) is None:
            raise DriverError(
                f"The option name is {self.name!r}, which cannot name a machine image:"
                " 3 to 128 letters, digits, spaces and ()[]./-'@_."
            )
        for region in {*self.regions, *self.kms_keys}:
            if _REGION.fullmatch(region) is None:
                raise DriverError(f"{region!r} is no region of AWS, such as eu-central-1.")
        if len(set(self.regions)) < len(self.regions):
            raise DriverError(
                "The option copies names a region twice, or the one that option region names."
            )
        for account in self.shared_with:
            if _ACCOUNT.fullmatch(account) is None:
                raise DriverError(
                    f"The option shared_with has {account!r}; an account of AWS has twelve digits,"
                    " in quotes."
                )
        if self.kms_keys and not self.encrypted:
            raise DriverError("The option kms_keys needs encrypted: true.")
        bare = [region for region in self.regions if region not in self.kms_keys]
        if self.encrypted and self.shared_with and bare:
            raise DriverError(
                f"The image in {bare[0]} cannot be shared: it is encrypted with the account's own"
                " key, which no other account can use.",
                hint="Name a key of that region in the option kms_keys.",
            )


def aws_clients(profile: str | None, *, parallel: int) -> Clients:
    """Return clients with the credentials that boto3 finds where it looks for them."""
    with library("boto3", place="AWS"):
        import boto3
        from botocore.config import Config
    settings = Config(
        retries={"mode": "standard", "max_attempts": 8}, max_pool_connections=parallel
    )
    with said_by_aws():
        session = boto3.Session(profile_name=profile) if profile else boto3.Session()

    @functools.cache  # to make one takes a good part of a second
    def client(service: str, region: str) -> Any:
        return session.client(service, region_name=region, config=settings)

    return client


def default_region(profile: str | None) -> str | None:
    """Return the region that the user's settings of AWS name."""
    with library("boto3", place="AWS"):
        import boto3
    with said_by_aws():
        session = boto3.Session(profile_name=profile) if profile else boto3.Session()
    # That which all other SDKs of AWS look at, boto3 does not.
    region: str | None = session.region_name or os.environ.get("AWS_REGION")
    return region


@contextlib.contextmanager
def said_by_aws() -> Iterator[None]:
    """Turn what AWS refuses, or what keeps us from asking it, into a DriverError."""
    with library("boto3", place="AWS"):
        from botocore.exceptions import BotoCoreError, ClientError
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise DriverError(
            f"AWS refused {error.operation_name}: {said.get('Code')}: {said.get('Message')}"
        ) from error
    except BotoCoreError as error:
        raise DriverError(f"AWS cannot be asked: {error}") from error


@dataclass(frozen=True, slots=True)
class AwsPublication:
    """One version's disk on its way to AWS.

    :param journals: folder for what a killed run left.
    :param now: the present, for when old images are deprecated.
    """

    subject: Subject
    wish: AwsWish
    clients: Clients
    journals: Path
    steps: Steps
    now: datetime
    clock: Clock = time

    def run(self) -> dict[str, str]:
        """Bring all regions to what is wished; return the ids of the images that are there."""
        self.wish.check()
        images: dict[str, str] = {}
        with said_by_aws():
            for region in self.wish.regions:
                found = self._ours(region)
                if found is None:
                    made = (
                        self._register()
                        if region == self.wish.region
                        else self._copy(region, images)
                    )
                    found = self._available(region, made) if made else {}
                if found:
                    images[region] = str(found["ImageId"])
                self._tag(region, found)
                self._share(region, found)
                self._deprecate(region)
        return images

    def _ec2(self, region: str) -> Any:
        return self.clients("ec2", region)

    def _tags(self) -> dict[str, str]:
        return {
            **self.wish.tags,
            "Name": self.wish.tags.get("Name", self.wish.name),
            IMAGE_TAG: self.subject.image,
            VERSION_TAG: self.subject.number,
            INDEX_TAG: self.subject.index,
            DISK_TAG: self.subject.disk.blob.digest,
        }

    def _ours(self, region: str) -> dict[str, Any] | None:
        """Return the image of that name; DriverError when it is of something else."""
        named = [{"Name": "name", "Values": [self.wish.name]}]
        answer = self._ec2(region).describe_images(Owners=["self"], Filters=named)
        for found in answer["Images"]:
            of_this = tags_of(found).get(DISK_TAG) == self.subject.disk.blob.digest
            if not of_this and found.get("Description") != self.subject.description:
                raise DriverError(
                    f"{region} has an image {self.wish.name} ({found['ImageId']}) that is not of"
                    f" the disk of {self.subject.named}.",
                    hint="Give another name, or deregister that image.",
                )
            return dict(found)
        return None

    # Making it

    def _register(self) -> str | None:
        """Register the image in the first region; return its id."""
        region = self.wish.region
        snapshot = self._snapshot(region)
        request = self.registration(snapshot or "")
        answer = self.steps.take(
            f"Register {self.wish.name} in {region}",
            lambda: self._ec2(region).register_image(**request),
        )
        return str(answer["ImageId"]) if answer else None

    def registration(self, snapshot: str) -> dict[str, Any]:
        """Return the request that registers the image of *snapshot*."""
        uefi = starts_by_uefi(next(blocks(self.subject, HEAD)))
        if self.wish.tpm and not uefi:
            raise DriverError("The option tpm needs a disk that UEFI starts; this one is for BIOS.")
        tags = [{"Key": key, "Value": value} for key, value in self._tags().items()]
        return {
            "Name": self.wish.name,
            "Description": self.subject.description,
            "Architecture": _ARCHITECTURE,
            "VirtualizationType": "hvm",
            "BootMode": "uefi" if uefi else "legacy-bios",
            "EnaSupport": True,
            "ImdsSupport": "v2.0",
            "RootDeviceName": _ROOT,
            "BlockDeviceMappings": [
                {
                    "DeviceName": _ROOT,
                    "Ebs": {
                        "SnapshotId": snapshot,
                        "VolumeSize": gibibytes(self.subject.disk.size),
                        "VolumeType": self.wish.volume_type,
                        "DeleteOnTermination": True,
                    },
                }
            ],
            "TagSpecifications": [{"ResourceType": "image", "Tags": tags}],
            **({"TpmSupport": "v2.0"} if self.wish.tpm else {}),
        }

    def _snapshot(self, region: str) -> str | None:
        """Return a completed snapshot of the disk; where none is, it is made or made whole."""
        ec2 = self._ec2(region)
        key = self.wish.kms_keys.get(region, "")
        wish = SnapshotWish(self._tags(), self.wish.encrypted, key)
        found = completed_snapshot(ec2, self.subject, wish)
        if found:
            return found
        what = f"Send {self.subject.disk.format} of {self.subject.named} to a snapshot in {region}"
        sent = self.steps.take(what, lambda: self._send(region, wish))
        return str(sent) if sent else None

    def _send(self, region: str, wish: SnapshotWish) -> str:
        ec2, ebs = self._ec2(region), self.clients("ebs", region)
        asked = [self.subject.disk.blob.digest, region, wish.encrypted, wish.kms_key]
        journal = Journal(self.journals / f"aws-{canonical.digest(asked)[7:39]}.journal")
        with journal.held(what=f"the snapshot of {self.subject.named} in {region}"):
            if not journal.upload or snapshot_state(ec2, journal.upload) != "pending":
                journal.begin(wish.start(ebs, self.subject))
            snapshot = journal.upload
            fill_snapshot(ebs, self.subject, snapshot, journal, parallel=self.wish.parallel)

            def completed() -> bool | None:
                state = snapshot_state(ec2, snapshot)
                if state == "error":
                    journal.end()
                    raise DriverError(f"AWS gave up the snapshot {snapshot} in {region}.")
                return True if state == "completed" else None

            wait_for(
                f"the snapshot {snapshot} in {region} to be complete",
                completed,
                timeout=self.wish.timeout,
                interval=5.0,
                clock=self.clock,
            )
            journal.end()
        return snapshot

    def _copy(self, region: str, images: Mapping[str, str]) -> str | None:
        source = images.get(self.wish.region, "")
        key = self.wish.kms_keys.get(region)
        request = {
            "Name": self.wish.name,
            "Description": self.subject.description,
            "SourceImageId": source,
            "SourceRegion": self.wish.region,
            "CopyImageTags": True,
            **({"Encrypted": True} if self.wish.encrypted else {}),
            **({"KmsKeyId": key} if key else {}),
        }
        answer = self.steps.take(
            f"Copy {self.wish.name} from {self.wish.region} to {region}",
            lambda: self._ec2(region).copy_image(**request),
        )
        return str(answer["ImageId"]) if answer else None

    def _available(self, region: str, image: str) -> dict[str, Any]:
        """Return *image* when machines can be started from it; DriverError when it failed."""

        def probe() -> dict[str, Any] | None:
            answer = self._ec2(region).describe_images(
                Filters=[{"Name": "image-id", "Values": [image]}]
            )
            for found in answer["Images"]:
                if found["State"] in {"failed", "error", "invalid", "deregistered"}:
                    why = found.get("StateReason", {}).get("Message", "AWS does not say why")
                    raise DriverError(f"The image {image} in {region} failed: {why}.")
                if found["State"] == "available":
                    return dict(found)
            return None

        return wait_for(
            f"the image {image} in {region} to be available",
            probe,
            timeout=self.wish.timeout,
            interval=5.0,
            clock=self.clock,
        )

    # Around it

    def _tag(self, region: str, image: Mapping[str, Any]) -> None:
        """Add the tags that are missing: a copy or an older publication need not have all."""
        has = tags_of(image)
        lacking = {key: value for key, value in self._tags().items() if has.get(key) != value}
        if image and lacking:
            tags = [{"Key": key, "Value": value} for key, value in lacking.items()]
            self.steps.take(
                f"Tag {self.wish.name} in {region} with {', '.join(lacking)}",
                lambda: self._ec2(region).create_tags(Resources=[image["ImageId"]], Tags=tags),
            )

    def _share(self, region: str, image: Mapping[str, Any]) -> None:
        if not self.wish.shared_with:
            return
        ec2, has = self._ec2(region), set()
        if image:
            answer = ec2.describe_image_attribute(
                ImageId=image["ImageId"], Attribute="launchPermission"
            )
            has = {one.get("UserId") for one in answer["LaunchPermissions"]}
        lacking = [account for account in self.wish.shared_with if account not in has]
        if lacking:
            add = {"Add": [{"UserId": account} for account in lacking]}
            self.steps.take(
                f"Share {self.wish.name} in {region} with {', '.join(lacking)}",
                lambda: ec2.modify_image_attribute(
                    ImageId=image["ImageId"], Attribute="launchPermission", LaunchPermission=add
                ),
            )

    def _deprecate(self, region: str) -> None:
        """Let older versions of the image be deprecated, unless they are to be already."""
        if self.wish.deprecate_after is None:
            return
        ec2 = self._ec2(region)
        when = self.now + timedelta(days=self.wish.deprecate_after)
        tagged = [{"Name": f"tag:{IMAGE_TAG}", "Values": [self.subject.image]}]
        for found in ec2.describe_images(Owners=["self"], Filters=tagged)["Images"]:
            number = tags_of(found).get(VERSION_TAG, "")
            if found.get("DeprecationTime") or not is_older(number, self.subject.number):
                continue
            request = {"ImageId": found["ImageId"], "DeprecateAt": when}
            self.steps.take(
                f"Deprecate {found.get('Name')} in {region} by {when:%Y-%m-%d}",
                functools.partial(ec2.enable_image_deprecation, **request),
            )


def tags_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an image as AWS describes it."""
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


def is_older(number: str, than: str) -> bool:
    """Whether version *number* comes before *than*; what is no number does not."""
    try:
        return _parts(number) < _parts(than)
    except ValueError:
        return False


def _parts(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))

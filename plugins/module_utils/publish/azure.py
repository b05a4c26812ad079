# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine image of Azure: its disk as a page blob, and what is made of that."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import DriverError
from .azure_blob import BlobUpload
from .firmware import HEAD, starts_by_uefi
from .steps import Steps, library
from .subject import Subject, blocks

PACKAGES = "azure-identity azure-mgmt-compute azure-storage-blob"
DISK_TAG = "io.kiln.disk"

_MIB = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


@dataclass(frozen=True, slots=True)
class AzureWish:
    """How the image is to be.

    :param name: of the managed image.
    :param gallery: gallery and definition of the image version that is made instead of it.
    :param regions: where the gallery keeps copies, beside *location*.
    :param account_id: the storage account as a resource, which a gallery wants to know.
    """

    resource_group: str
    location: str
    name: str
    gallery: tuple[str, str] | None = None
    regions: tuple[str, ...] = ()
    account_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    parallel: int = 8
    timeout: float = 3600.0

    def check(self, subject: Subject) -> None:
        """DriverError when the wish cannot be fulfilled, before anything is sent."""
        if _NAME.fullmatch(self.name) is None:
            raise DriverError(
                f"The option name is {self.name!r}, which cannot name an image of Azure:"
                " 1 to 80 letters, digits and ._-"
            )
        if self.gallery and _VERSION.fullmatch(subject.number) is None:
            raise DriverError(f"A gallery of Azure has no version {subject.number}.")
        if self.regions and not self.gallery:
            raise DriverError("The option regions needs gallery and definition.")
        if subject.disk.size % _MIB:
            raise DriverError(
                f"The disk of {subject.named} has {subject.disk.size} bytes; Azure takes whole"
                " MiB.",
                hint="Set disk.size of its definition.",
            )


@dataclass(frozen=True, slots=True)
class Azure:
    """The clients of the SDK: of a blob container, and of Compute."""

    container: Any
    compute: Any


def azure_clients(
    *, account: str, container: str, subscription: str, connection_string: str, endpoint: str
) -> Azure:
    """Return clients with the credentials that the SDK finds where it looks for them.

    :param account: name of the storage account, or the address of its blobs.
    :param connection_string: of the storage account, used instead when it is not empty.
    :param endpoint: of the resource manager, empty for that of the public cloud.
    """
    with library(PACKAGES, place="Azure"):
        from azure.identity import DefaultAzureCredential
        from azure.mgmt.compute import ComputeManagementClient
        from azure.storage.blob import BlobServiceClient
    credential = DefaultAzureCredential()
    if connection_string:
        try:
            service = BlobServiceClient.from_connection_string(connection_string)
        except ValueError as error:
            raise DriverError(
                "AZURE_STORAGE_CONNECTION_STRING is no connection string of a storage account."
            ) from error
    else:
        service = BlobServiceClient(account_url(account), credential=credential)
    options: dict[str, Any] = {}
    if endpoint:
        scope = f"{endpoint.rstrip('/')}/.default"
        options = {"base_url": endpoint, "credential_scopes": [scope]}
    compute = ComputeManagementClient(credential, subscription, **options)
    return Azure(service.get_container_client(container), compute)


def account_url(account: str) -> str:
    """Return the address of the blobs of *account*, which may be that address already."""
    if account.startswith("https://"):
        return account
    if _ACCOUNT.fullmatch(account) is None:
        raise DriverError(
            f"The option storage_account is {account!r}; its name has 3 to 24 small letters and"
            " digits."
        )
    return f"https://{account}.blob.core.windows.net"


@contextlib.contextmanager
def said_by_azure() -> Iterator[None]:
    """Turn what Azure refuses, or what keeps us from asking it, into a DriverError."""
    with library(PACKAGES, place="Azure"):
        from azure.core.exceptions import AzureError
    try:
        yield
    except AzureError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        code = getattr(getattr(error, "error", None), "code", None)
        raise DriverError(f"Azure refused: {f'{code}: ' if code else ''}{said[0]}") from error


@dataclass(frozen=True, slots=True)
class AzurePublication:
    """One version's disk on its way to Azure."""

    subject: Subject
    wish: AzureWish
    azure: Azure
    steps: Steps

    def run(self) -> str:
        """Bring the image there; return its id, empty when it is not there yet."""
        self.wish.check(self.subject)
        with said_by_azure():
            upload = BlobUpload(
                self.subject,
                self.azure.container,
                f"{self.subject.label}.vhd",
                self.wish.parallel,
            )
            image = self._found()
            if image is None:
                if not upload.is_whole():
                    self.steps.take(
                        f"Upload {self.subject.named} to the page blob {upload.name}", upload.send
                    )
                image = self.steps.take(f"Make {self._what()}", lambda: self._make(upload.url))
            if upload.is_ours():  # it was only the way there
                self.steps.take(f"Remove the page blob {upload.name}", upload.remove)
        return str(_member(image, "id")) if image is not None else ""

    def _what(self) -> str:
        if self.wish.gallery:
            return f"version {self.subject.number} of {'/'.join(self.wish.gallery)}"
        return f"the image {self.wish.name} in {self.wish.resource_group}"

    def _found(self) -> Any | None:
        """Return the image; None when there is none, DriverError when it is of another disk."""
        with library(PACKAGES, place="Azure"):
            from azure.core.exceptions import ResourceNotFoundError
        group, compute = self.wish.resource_group, self.azure.compute
        try:
            if self.wish.gallery:
                number = self.subject.number
                found = compute.gallery_image_versions.get(group, *self.wish.gallery, number)
            else:
                found = compute.images.get(group, self.wish.name)
        except ResourceNotFoundError:
            return None
        if (_member(found, "tags") or {}).get(DISK_TAG) != self.subject.disk.blob.digest:
            raise DriverError(
                f"Azure has {self._what()} already, which is not of the disk of"
                f" {self.subject.named}.",
                hint="Give another name, or delete it.",
            )
        return found

    def _make(self, blob: str) -> Any:
        group, compute = self.wish.resource_group, self.azure.compute
        if self.wish.gallery:
            poller = compute.gallery_image_versions.begin_create_or_update(
                group, *self.wish.gallery, self.subject.number, self.gallery_version(blob)
            )
        else:
            poller = compute.images.begin_create_or_update(
                group, self.wish.name, self.managed_image(blob)
            )
        poller.wait(self.wish.timeout)
        if not poller.done():
            raise DriverError(
                f"Waited {self.wish.timeout:g} s for Azure to make {self._what()}, in vain."
            )
        return poller.result()

    def _tags(self) -> dict[str, str]:
        return {
            **self.wish.tags,
            "io.kiln.image": self.subject.image,
            "io.kiln.version": self.subject.number,
            "io.kiln.index": self.subject.index,
            DISK_TAG: self.subject.disk.blob.digest,
        }

    def managed_image(self, blob: str) -> dict[str, Any]:
        """Return the managed image of *blob*, as the resource manager takes it."""
        uefi = starts_by_uefi(next(blocks(self.subject, HEAD)))
        disk = {"osType": "Linux", "osState": "Generalized", "blobUri": blob}
        return {
            "location": self.wish.location,
            "tags": self._tags(),
            "properties": {
                "hyperVGeneration": "V2" if uefi else "V1",
                "storageProfile": {"osDisk": disk, "zoneResilient": False},
            },
        }

    def gallery_version(self, blob: str) -> dict[str, Any]:
        """Return the image version of *blob* in a gallery, as the resource manager takes it."""
        source = {"storageAccountId": self.wish.account_id, "uri": blob}
        regions = dict.fromkeys((self.wish.location, *self.wish.regions))
        return {
            "location": self.wish.location,
            "tags": self._tags(),
            "properties": {
                "publishingProfile": {"targetRegions": [{"name": region} for region in regions]},
                "storageProfile": {"osDiskImage": {"source": source}},
            },
        }


def _member(found: Any, name: str) -> Any:
    """Return a member of what the SDK gives, which is a mapping too in some of its versions."""
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine image of Google's Compute Engine, by way of an object in Cloud Storage."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import DriverError
from .steps import Steps, library
from .subject import Subject, verified_file

PACKAGES = "google-cloud-compute google-cloud-storage"

_GIB = 1 << 30
_CHUNK = 32 << 20
_DISK = "kiln-disk"
_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[-_a-z0-9]{0,63}")


@dataclass(frozen=True, slots=True)
class GoogleWish:
    """How the image is to be.

    :param family: images of which machines take the newest.
    :param locations: where Google keeps it, by default near the bucket.
    :param features: what guests of it can do (GuestOsFeature of Compute Engine).
    """

    project: str
    name: str
    family: str = ""
    locations: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ("UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE", "GVNIC")
    timeout: float = 3600.0

    def check(self, subject: Subject) -> None:
        """DriverError when the wish cannot be fulfilled, before anything is sent."""
        for option, value in (("name", self.name), ("family", self.family)):
            if (value or option == "name") and _NAME.fullmatch(value) is None:
                raise DriverError(
                    f"The option {option} is {value!r}; Google takes a small letter, then up to 62"
                    " small letters, digits and hyphens."
                )
        for key, value in self.labels.items():
            if _LABEL.fullmatch(key) is None or _LABEL.fullmatch(value) is None:
                raise DriverError(
                    f"The option labels has {key}: {value}; Google takes up to 63 small letters,"
                    " digits, hyphens and underscores."
                )
        if subject.disk.size % _GIB:
            raise DriverError(
                f"The disk of {subject.named} has {subject.disk.size} bytes; Google takes whole"
                " GiB.",
                hint="Set disk.size of its definition, to 2GiB for example.",
            )


@dataclass(frozen=True, slots=True)
class Google:
    """The SDK: a bucket of its client of storage, its client of images, the types of Compute."""

    bucket: Any
    images: Any
    types: Any


def google_clients(*, project: str, bucket: str) -> Google:
    """Return clients with the credentials that the SDK finds where it looks for them."""
    with library(PACKAGES, place="Google"):
        from google.cloud import compute_v1, storage
    with said_by_google():
        store = storage.Client(project=project)
        return Google(store.bucket(bucket), compute_v1.ImagesClient(), compute_v1)


def image_name(subject: Subject) -> str:
    """Return what the image of *subject* is called, as Google takes it."""
    return re.sub("[^-a-z0-9]", "-", subject.label.lower())


@contextlib.contextmanager
def said_by_google() -> Iterator[None]:
    """Turn what Google refuses, or what keeps us from asking it, into a DriverError."""
    with library(PACKAGES, place="Google"):
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException
    try:
        yield
    except GoogleAPICallError as error:
        raise DriverError(f"Google refused: {error.message}") from error
    except RequestException as error:
        raise DriverError(f"Google cannot be asked: {error}") from error
    except GoogleAuthError as error:
        raise DriverError(
            f"Google cannot be asked: {error.args[0] if error.args else error}"
        ) from error


@dataclass(frozen=True, slots=True)
class GooglePublication:
    """One version's disk on its way to Google."""

    subject: Subject
    wish: GoogleWish
    google: Google
    steps: Steps

    def run(self) -> str:
        """Bring the image there; return its address, empty when it is not there yet."""
        self.wish.check(self.subject)
        where = f"{self.subject.label}.tar.gz"
        with said_by_google():
            link = self._found()
            object_there = self._object(where)
            if link is None:
                if not object_there:
                    self.steps.take(
                        f"Upload {self.subject.named} to {where} in the bucket"
                        f" {self.google.bucket.name}",
                        lambda: self._upload(where),
                    )
                link = self.steps.take(
                    f"Make the image {self.wish.name} in {self.wish.project}",
                    lambda: self._insert(where),
                )
                object_there = True
            if object_there:  # it was only the way there
                self.steps.take(
                    f"Remove {where} from the bucket {self.google.bucket.name}",
                    lambda: self.google.bucket.blob(where).delete(),
                )
        return str(link or "")

    def _found(self) -> str | None:
        """Return the image's address; None when there is none, DriverError when it is another."""
        with library(PACKAGES, place="Google"):
            from google.api_core.exceptions import NotFound
        try:
            found = self.google.images.get(project=self.wish.project, image=self.wish.name)
        except NotFound:
            return None
        if found.description != self.subject.description:
            raise DriverError(
                f"{self.wish.project} has an image {self.wish.name} that is not of the disk of"
                f" {self.subject.named}.",
                hint="Give another name, or delete that image.",
            )
        return str(found.self_link)

    def _object(self, name: str) -> bool:
        """Whether the disk is in the bucket; an object has its name only when it is whole."""
        found = self.google.bucket.get_blob(name)
        if found is None:
            return False
        if (found.metadata or {}).get(_DISK) != self.subject.disk.blob.digest:
            raise DriverError(
                f"The object {name} in the bucket {self.google.bucket.name} is not the disk of"
                f" {self.subject.named}.",
                hint="Delete it, or name another bucket.",
            )
        return True

    def _upload(self, name: str) -> None:
        """Send the archive in chunks; the SDK goes on with the one whose connection broke."""
        target = self.google.bucket.blob(name, chunk_size=_CHUNK)
        target.metadata = {_DISK: self.subject.disk.blob.digest}
        size = self.subject.disk.blob.size
        with verified_file(self.subject).open("rb") as stream:
            target.upload_from_file(
                stream,
                size=size,
                content_type="application/gzip",
                checksum="crc32c",
                if_generation_match=0,  # what others put there meanwhile stays
            )

    def _insert(self, name: str) -> str:
        types = self.google.types
        image = types.Image(
            name=self.wish.name,
            description=self.subject.description,
            family=self.wish.family or None,
            labels={
                **self.wish.labels,
                "kiln-image": image_label(self.subject.image),
                "kiln-version": image_label(self.subject.number),
            },
            architecture="X86_64",
            storage_locations=list(self.wish.locations),
            guest_os_features=[types.GuestOsFeature(type_=one) for one in self.wish.features],
            raw_disk=types.RawDisk(
                source=self.google.bucket.blob(name).public_url, container_type="TAR"
            ),
        )
        operation = self.google.images.insert(project=self.wish.project, image_resource=image)
        operation.result(timeout=self.wish.timeout)
        link = self._found()
        if link is None:
            raise DriverError(f"Google made the image {self.wish.name}, and does not have it.")
        return link


def image_label(value: str) -> str:
    """Return *value* as the value of a label: what Google does not take becomes a hyphen."""
    return re.sub("[^-_a-z0-9]", "-", value.lower())[:63]

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks become images of Google by its own SDK, on a server that knows the contract."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from ansible_collections.kiln.immutable.plugins.action.disk_publish_google import ActionModule
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.publish import google as publishing
from ansible_collections.kiln.immutable.plugins.module_utils.publish.google import (
    Google,
    GooglePublication,
    GoogleWish,
    google_clients,
    image_name,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import Subject
from ansible_collections.kiln.immutable.tests.integration.publish.disks import of_size, subject
from ansible_collections.kiln.immutable.tests.integration.publish.fake_cloud import (
    Answer,
    Request,
    serving,
)
from ansible_collections.kiln.immutable.tests.integration.publish.playing import perform
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1, storage

GIB = 1 << 30
PROJECT, BUCKET = "example-images", "example-disks"
# More than what the SDK sends in one request without a session.
ARCHIVE = b"".join(hashlib.sha256(at.to_bytes(4, "big")).digest() for at in range(9 << 15))
IMAGES = f"/compute/v1/projects/{PROJECT}/global/images"
OPERATIONS = f"/compute/v1/projects/{PROJECT}/global/operations"


@dataclass
class FakeGoogle:
    """Cloud Storage and Compute Engine, as far as publishing needs them.

    :param hiccups: how many uploads of a chunk it fails at first.
    """

    address: str = ""
    asked: list[Request] = field(default_factory=list)
    hiccups: int = 1
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    polled: int = 0

    def answer(self, request: Request) -> Answer:
        if request.path == f"/upload/storage/v1/b/{BUCKET}/o":
            return self._upload(request)
        if request.path.startswith(f"/storage/v1/b/{BUCKET}/o/"):
            return self._object(request)
        if request.path.startswith(OPERATIONS):
            self.polled += 1
            return Answer(value=self._operation("RUNNING" if self.polled < 2 else "DONE"))
        if request.path == IMAGES and request.method == "POST":
            image = request.json()
            link = f"{self.address}{IMAGES}/{image['name']}"
            self.images[image["name"]] = {**image, "selfLink": link, "status": "READY"}
            return Answer(value=self._operation("RUNNING"))
        found = self.images.get(request.path.rpartition("/")[2])
        return Answer(value=found) if found else refusal(404, "The image was not found")

    def _operation(self, status: str) -> dict[str, Any]:
        return {
            "name": "operation-1",
            "status": status,
            "selfLink": f"{self.address}{OPERATIONS}/1",
        }

    def _upload(self, request: Request) -> Answer:
        if request.method == "POST":
            assert request.query["uploadType"] == "resumable"
            assert request.query["ifGenerationMatch"] == "0"
            self.session = request.json()
            place = f"{self.address}{request.path}?uploadType=resumable&upload_id=1"
            return Answer(headers={"Location": place})
        if self.hiccups:
            self.hiccups -= 1
            return refusal(503, "Try again")
        size = len(ARCHIVE)
        assert request.headers["content-range"] == f"bytes 0-{size - 1}/{size}"
        checksum = google_crc32c.value(request.body).to_bytes(4, "big")
        self.objects[self.session["name"]] = {
            **self.session,
            "bucket": BUCKET,
            "size": str(len(request.body)),
            "crc32c": base64.b64encode(checksum).decode(),
            "sha256": hashlib.sha256(request.body).hexdigest(),
        }
        return Answer(value=self.objects[self.session["name"]])

    def _object(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if name not in self.objects:
            return refusal(404, "No such object")
        if request.method == "DELETE":
            del self.objects[name]
            return Answer(204)
        return Answer(value=self.objects[name])


def refusal(status: int, message: str) -> Answer:
    return Answer(status, {"error": {"code": status, "message": message, "errors": []}})


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    cloud = FakeGoogle()
    with serving(cloud):
        yield cloud


@pytest.fixture
def clients(google: FakeGoogle) -> Iterator[Google]:
    """Return the SDK's own clients, which speak to the server."""
    credentials = AnonymousCredentials()
    place = {"api_endpoint": google.address}
    store = storage.Client(project=PROJECT, credentials=credentials, client_options=place)
    images = compute_v1.ImagesClient(credentials=credentials, client_options=place)
    # The client that asks about operations is made anew by the SDK, and for the real place.
    operations = compute_v1.GlobalOperationsClient(credentials=credentials, client_options=place)
    images.transport._extended_operations_services["global_operations"] = operations
    yield Google(store.bucket(BUCKET), images, compute_v1)
    operations.transport.close()
    images.transport.close()
    store.close()


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path) -> Subject:
    """Return an archive; what is in it only Google would see."""
    return of_size(subject(tmp_path, "tar.gz", content=ARCHIVE), 2 * GIB)


def wish(disk: Subject) -> GoogleWish:
    return GoogleWish(PROJECT, image_name(disk), family="web-vm", labels={"team": "ops"})


def publish(disk: Subject, clients: Google, *, acts: bool = True) -> tuple[str, list[str]]:
    steps = Steps(acts, lambda what: None)
    return GooglePublication(disk, wish(disk), clients, steps).run(), steps.taken


def test_the_image_is_made_of_an_object_that_goes_again(
    google: FakeGoogle, clients: Google, disk: Subject
) -> None:
    nothing, foreseen = publish(disk, clients, acts=False)
    assert nothing == ""
    assert {request.method for request in google.asked} == {"GET"}

    link, steps = publish(disk, clients)

    assert steps == foreseen
    assert google.session["metadata"] == {"kiln-disk": disk.disk.blob.digest}
    image = google.images["web-vm-1-0-3"]
    assert link == image["selfLink"]
    assert image["rawDisk"] == {
        "containerType": "TAR",
        "source": f"{google.address}/{BUCKET}/web-vm-1.0.3.tar.gz",
    }
    assert image["family"] == "web-vm"
    assert image["architecture"] == "X86_64"
    assert image["labels"] == {"team": "ops", "kiln-image": "web-vm", "kiln-version": "1-0-3"}
    assert {"type": "UEFI_COMPATIBLE"} in image["guestOsFeatures"]
    assert disk.disk.blob.digest in image["description"]
    assert google.objects == {}
    assert publish(disk, clients) == (link, [])


def test_a_task_says_what_the_image_is_to_be(
    google: FakeGoogle,
    clients: Google,
    disk: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, str] = {}

    def given(**options: str) -> Google:
        asked.update(options)
        return clients

    monkeypatch.setattr(publishing, "google_clients", given)

    done, steps = perform(
        ActionModule,
        disk,
        tmp_path,
        project=PROJECT,
        bucket=BUCKET,
        name="shop",
        family="shops",
        locations=["eu"],
        labels={"team": "ops"},
    )

    image = google.images["shop"]
    assert asked == {"project": PROJECT, "bucket": BUCKET}
    assert (image["family"], image["storageLocations"]) == ("shops", ["eu"])
    assert image["labels"]["team"] == "ops"
    assert done.facts == {"link": image["selfLink"], "name": "shop"}
    assert done.tfvars == {"web_vm_image": image["selfLink"]}
    assert steps


def test_a_task_without_a_bucket_is_told_how_to_name_one(disk: Subject, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"The option bucket is not given. -e kiln_google_bucket"):
        perform(ActionModule, disk, tmp_path, project=PROJECT)


def test_a_chunk_that_fails_is_sent_again(
    google: FakeGoogle, clients: Google, disk: Subject
) -> None:
    publish(disk, clients)

    sent = [request for request in google.asked if request.method == "PUT"]
    assert [hashlib.sha256(request.body).hexdigest() for request in sent] == [disk.sha256] * 2


def test_an_object_that_is_whole_is_not_sent_again(
    google: FakeGoogle, clients: Google, disk: Subject
) -> None:
    about = {"name": "web-vm-1.0.3.tar.gz", "metadata": {"kiln-disk": disk.disk.blob.digest}}
    google.objects["web-vm-1.0.3.tar.gz"] = about

    _link, steps = publish(disk, clients)

    assert steps[0] == f"Make the image web-vm-1-0-3 in {PROJECT}"
    assert not [request for request in google.asked if request.method == "PUT"]


def test_an_image_of_another_disk_keeps_its_name(
    google: FakeGoogle, clients: Google, disk: Subject
) -> None:
    google.images["web-vm-1-0-3"] = {"name": "web-vm-1-0-3", "description": "by hand"}

    with pytest.raises(DriverError, match=r"has an image web-vm-1-0-3 that is not of the disk"):
        publish(disk, clients)

    assert json.dumps(google.images["web-vm-1-0-3"]).count("by hand") == 1


def test_what_google_refuses_is_said(google: FakeGoogle, clients: Google, disk: Subject) -> None:
    def refuse(request: Request) -> Answer:
        return refusal(403, "Required compute.images.get permission")

    google.answer = refuse  # type: ignore[method-assign]

    with pytest.raises(DriverError, match=r"Google refused: .*Required compute\.images\.get"):
        publish(disk, clients)


def test_missing_credentials_are_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")

    with pytest.raises(DriverError, match=r"Google cannot be asked: File /nowhere/key\.json was"):
        google_clients(project=PROJECT, bucket=BUCKET)


def test_a_google_that_does_not_answer_is_said(disk: Subject) -> None:
    place = {"api_endpoint": "http://127.0.0.1:1"}
    credentials = AnonymousCredentials()
    images = compute_v1.ImagesClient(credentials=credentials, client_options=place)

    with pytest.raises(DriverError, match=r"Google cannot be asked: .*Connection refused"):
        publish(disk, Google(None, images, compute_v1))

    images.transport.close()


def test_a_disk_of_odd_size_is_refused_before_anything_is_sent(
    google: FakeGoogle, clients: Google, disk: Subject
) -> None:
    with pytest.raises(DriverError, match=r"Google takes whole GiB\. Set disk\.size"):
        publish(of_size(disk, GIB + 1), clients)

    assert google.asked == []


def test_names_that_google_does_not_take_are_refused(disk: Subject, clients: Google) -> None:
    odd = replace(wish(disk), name="Web")

    with pytest.raises(DriverError, match="The option name is 'Web'"):
        GooglePublication(disk, odd, clients, Steps(True, lambda what: None)).run()

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks become images of Azure by its own SDK: page blobs on Azurite, images on a server that
knows the contract."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.action.disk_publish_azure import ActionModule
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.files import locked
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.publish import azure as publishing
from ansible_collections.kiln.immutable.plugins.module_utils.publish.azure import (
    Azure,
    AzurePublication,
    AzureWish,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.azure_blob import (
    PIECE,
    BlobUpload,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import Subject
from ansible_collections.kiln.immutable.tests.integration.publish.disks import (
    BIOS_BOOT,
    disk_bytes,
    of_size,
    subject,
)
from ansible_collections.kiln.immutable.tests.integration.publish.fake_cloud import (
    Answer,
    Request,
    serving,
)
from ansible_collections.kiln.immutable.tests.integration.publish.playing import perform
from azure.mgmt.compute import ComputeManagementClient
from azure.storage.blob import BlobServiceClient, ContainerClient

HERE = Path(__file__).parent
ACCOUNT, ACCOUNT_KEY = "kilntest", "a2V5IG9mIGEgdGVzdA=="
IMAGE = "/subscriptions/s/resourceGroups/images/providers/Microsoft.Compute/images/web-vm-1.0.3"
VERSION = IMAGE.replace("images/web-vm-1.0.3", "galleries/g/images/web-vm/versions/1.0.3")


@dataclass
class FakeCompute:
    """The resource manager, as far as publishing needs it."""

    address: str = ""
    asked: list[Request] = field(default_factory=list)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    polled: int = 0

    def answer(self, request: Request) -> Answer:
        assert request.headers["authorization"] == "Bearer a-token"
        assert request.query["api-version"]
        if request.path == "/operations/1":
            self.polled += 1
            status = "InProgress" if self.polled < 2 else "Succeeded"
            return Answer(value={"status": status}, headers={"Retry-After": "1"})
        if request.method == "PUT":
            state = {"provisioningState": "Creating"}
            body = request.json()
            body["properties"] = {**body["properties"], **state}
            self.resources[request.path] = {**body, "id": request.path}
            place = f"{self.address}/operations/1?api-version=1"
            headers = {"Azure-AsyncOperation": place, "Retry-After": "1"}
            return Answer(201, self.resources[request.path], headers)
        found = self.resources.get(request.path)
        if found is None:
            missing = {"code": "ResourceNotFound", "message": "The Resource was not found."}
            return Answer(404, {"error": missing})
        return Answer(value=found)


@pytest.fixture(scope="module")
def container(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Azurite and give a container in it."""
    program = install_azurite(checkout)
    folder = tmp_path_factory.mktemp("azurite")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["node", str(program), "--blobPort", str(port), *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"},
        )
    try:
        wait_for("Azurite", lambda: listens(port), timeout=60, clock=time)
        text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        text += f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        with BlobServiceClient.from_connection_string(text) as service:
            yield service.create_container("disks")
    finally:
        process.terminate()
        process.wait()


def install_azurite(checkout: Path) -> Path:
    """Return its program, installed from the pinned list when it is not there."""
    pins = HERE / "azurite"
    home = checkout / ".cache" / "azurite"
    home.mkdir(parents=True, exist_ok=True)
    lock = (pins / "package-lock.json").read_bytes()
    installed = home / "installed"
    with locked(home / "lock"):
        if not installed.exists() or installed.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(pins / name, home / name)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            installed.write_bytes(lock)
    return home / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def listens(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return None
    return True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate: the SDK sends a token over TLS alone."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "ca.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=kiln test", "-keyout", str(key)]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


@pytest.fixture
def manager(certificate: tuple[Path, Path]) -> Iterator[FakeCompute]:
    cloud = FakeCompute()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with serving(cloud, tls):
        yield cloud


class Token:
    """A credential that has a token."""

    def get_token(self, *scopes: str, **given: Any) -> Any:
        return SimpleNamespace(token="a-token", expires_on=int(time.time()) + 3600)


@pytest.fixture
def azure(
    container: ContainerClient, manager: FakeCompute, certificate: tuple[Path, Path]
) -> Iterator[Azure]:
    """Return the SDK's own clients."""
    with ComputeManagementClient(
        Token(),
        "s",
        base_url=manager.address,
        credential_scopes=[f"{manager.address}/.default"],
        connection_verify=str(certificate[0]),
    ) as compute:
        yield Azure(container, compute)
    for blob in container.list_blob_names():
        container.delete_blob(blob)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path) -> Subject:
    return subject(tmp_path, "vhd")


WISH = AzureWish("images", "westeurope", "web-vm-1.0.3", tags={"team": "ops"}, parallel=2)
GALLERY = replace(
    WISH, gallery=("g", "web-vm"), regions=("northeurope",), account_id="/storage/of/images"
)


def publish(
    disk: Subject, azure: Azure, wish: AzureWish = WISH, *, acts: bool = True
) -> tuple[str, list[str]]:
    steps = Steps(acts, lambda what: None)
    return AzurePublication(disk, wish, azure, steps).run(), steps.taken


def upload(disk: Subject, container: Any) -> BlobUpload:
    return BlobUpload(disk, container, "web-vm-1.0.3.vhd", 2)


def test_a_managed_image_is_made_of_a_blob_that_goes_again(
    manager: FakeCompute, azure: Azure, disk: Subject
) -> None:
    nothing, foreseen = publish(disk, azure, acts=False)
    assert nothing == ""
    assert {request.method for request in manager.asked} == {"GET"}

    image, steps = publish(disk, azure)

    assert steps[:2] == foreseen
    assert image == IMAGE
    made = manager.resources[IMAGE]
    assert made["location"] == "westeurope"
    assert made["properties"]["hyperVGeneration"] == "V2"
    assert made["properties"]["storageProfile"]["osDisk"] == {
        "osType": "Linux",
        "osState": "Generalized",
        "blobUri": azure.container.get_blob_client("web-vm-1.0.3.vhd").url,
    }
    assert made["tags"]["team"] == "ops"
    assert made["tags"]["io.kiln.disk"] == disk.disk.blob.digest
    assert list(azure.container.list_blob_names()) == []
    assert publish(disk, azure) == (image, [])


def test_a_gallery_gets_a_version_in_each_region(
    manager: FakeCompute, azure: Azure, disk: Subject
) -> None:
    image, _steps = publish(disk, azure, GALLERY)

    assert image == VERSION
    properties = manager.resources[VERSION]["properties"]
    source = properties["storageProfile"]["osDiskImage"]["source"]
    assert source["storageAccountId"] == "/storage/of/images"
    assert source["uri"].endswith("/disks/web-vm-1.0.3.vhd")
    regions = [region["name"] for region in properties["publishingProfile"]["targetRegions"]]
    assert regions == ["westeurope", "northeurope"]
    assert publish(disk, azure, GALLERY) == (image, [])


def test_a_task_says_what_the_image_is_to_be(
    manager: FakeCompute,
    azure: Azure,
    disk: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, str] = {}

    def given(**options: str) -> Azure:
        asked.update(options)
        return azure

    monkeypatch.setattr(publishing, "azure_clients", given)

    done, _steps = perform(
        ActionModule,
        disk,
        tmp_path,
        subscription="s",
        resource_group="images",
        location="westeurope",
        storage_account="shelf",
        gallery="g",
        definition="web-vm",
        regions=["northeurope"],
        tags={"team": "ops"},
    )

    made = manager.resources[VERSION]
    source = made["properties"]["storageProfile"]["osDiskImage"]["source"]
    assert asked["account"] == "shelf"
    assert asked["container"] == "disks"
    assert source["storageAccountId"].endswith("/Microsoft.Storage/storageAccounts/shelf")
    assert made["tags"]["team"] == "ops"
    assert done.facts == {"id": VERSION}
    assert done.tfvars == {"web_vm_image_id": VERSION}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("subscription", "No subscription of Azure is named"),
        ("storage_account", "No storage account of Azure is named"),
        ("location", "The option location is not given"),
        ("gallery", "The options gallery and definition need each other"),
    ],
)
def test_a_task_that_leaves_something_out_is_told_so(
    missing: str, said: str, disk: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    arguments = {
        "subscription": "s",
        "resource_group": "images",
        "location": "westeurope",
        "storage_account": "shelf",
        "gallery": "g",
        "definition": "web-vm",
    }
    del arguments[missing]

    with pytest.raises(DriverError, match=said):
        perform(ActionModule, disk, tmp_path, **arguments)


def test_a_disk_for_bios_is_of_the_first_generation(
    manager: FakeCompute, azure: Azure, tmp_path: Path
) -> None:
    publish(subject(tmp_path, "vhd", raw=disk_bytes(BIOS_BOOT)), azure)

    assert manager.resources[IMAGE]["properties"]["hyperVGeneration"] == "V1"


def test_the_blob_is_the_disk_and_zeros_are_not_sent(azure: Azure, disk: Subject) -> None:
    sent: list[int] = []

    class Listening(BlobUpload):
        def _put(self, start: int, piece: bytes) -> None:
            sent.append(start // PIECE)
            super()._put(start, piece)

    Listening(disk, azure.container, "web-vm-1.0.3.vhd", 2).send()

    assert upload(disk, azure.container).is_whole()
    blob = azure.container.get_blob_client("web-vm-1.0.3.vhd")
    with disk.layout.open(disk.disk.blob) as stream:
        content = stream.read()
    assert blob.download_blob().readall() == content
    pieces = range(-(-len(content) // PIECE))
    assert sorted(sent) == [at for at in pieces if content[at * PIECE :][:PIECE].strip(b"\0")]
    assert len(sent) < len(pieces)


def test_an_upload_that_broke_off_goes_on(azure: Azure, disk: Subject) -> None:
    class Breaking(BlobUpload):
        def _put(self, start: int, piece: bytes) -> None:
            if start:
                raise ConnectionError
            super()._put(start, piece)

    sent: list[int] = []

    class Listening(BlobUpload):
        def _put(self, start: int, piece: bytes) -> None:
            sent.append(start)
            super()._put(start, piece)

    with pytest.raises(ConnectionError):
        Breaking(disk, azure.container, "web-vm-1.0.3.vhd", 2).send()
    assert not upload(disk, azure.container).is_whole()

    Listening(disk, azure.container, "web-vm-1.0.3.vhd", 2).send()

    assert sent
    assert 0 not in sent
    with disk.layout.open(disk.disk.blob) as stream:
        content = stream.read()
    blob = azure.container.get_blob_client("web-vm-1.0.3.vhd")
    assert blob.download_blob().readall() == content


def test_an_image_of_another_disk_keeps_its_name(
    manager: FakeCompute, azure: Azure, disk: Subject
) -> None:
    manager.resources[IMAGE] = {"id": IMAGE, "location": "x", "tags": {"by": "hand"}}

    with pytest.raises(DriverError, match=r"has the image web-vm-1.0.3 in images already"):
        publish(disk, azure)


def test_a_blob_of_another_disk_stays(azure: Azure, disk: Subject, tmp_path: Path) -> None:
    other = subject(tmp_path / "other", "vhd", raw=disk_bytes(salt=b"other"))
    upload(other, azure.container).send()

    with pytest.raises(DriverError, match=r"blob web-vm-1.0.3.vhd in the container disks is not"):
        publish(disk, azure)

    assert upload(other, azure.container).is_whole()


def test_a_disk_of_odd_size_is_refused(azure: Azure, disk: Subject) -> None:
    with pytest.raises(DriverError, match=r"Azure takes whole MiB\. Set disk\.size"):
        publish(of_size(disk, 1000), azure)

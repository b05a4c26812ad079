# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks become machine images of AWS, as moto's server plays it; what it drops is in the record."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.publish.aws import (
    AwsPublication,
    AwsWish,
    Clients,
    aws_clients,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import Subject
from ansible_collections.kiln.immutable.tests.integration.publish.disks import (
    BIOS_BOOT,
    BLOCK,
    WRITTEN,
    disk_bytes,
    record_version,
    subject,
)
from ansible_collections.kiln.immutable.tests.integration.publish.playing import play

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1"


@dataclass(frozen=True)
class Moto:
    """A running server, and what it was asked."""

    environment: dict[str, str]
    record: Path

    def asked(self) -> list[dict[str, Any]]:
        """Return all requests so far, in their order."""
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def forms(self, action: str) -> list[dict[str, str]]:
        """Return what EC2 was asked to do by *action*."""
        forms = [one.get("form", {}) for one in self.asked()]
        return [form for form in forms if form.get("Action") == action]

    def blocks(self, snapshot: str) -> list[dict[str, Any]]:
        """Return the blocks put into *snapshot*."""
        start = f"/snapshots/{snapshot}/blocks/"
        return [one for one in self.asked() if one["path"].startswith(start)]


@pytest.fixture(scope="module", name="moto")
def moto_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    folder = tmp_path_factory.mktemp("moto")
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "a secret key",
        "AWS_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "moto_recording.py"), str(folder / "record")],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
        )
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        yield Moto(environment, folder / "record")
        process.kill()


@pytest.fixture(scope="module", autouse=True)
def _environment(moto: Moto) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in moto.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module", name="clients")
def clients_fixture(_environment: None) -> Clients:
    return aws_clients(None, parallel=4)


Publish = Callable[..., tuple[dict[str, str], list[str]]]


@pytest.fixture
def publish(clients: Clients, tmp_path: Path) -> Publish:
    """Return what publishes a disk, and tells of the images and the steps that were taken."""

    def run(one: Subject, wish: AwsWish, *, acts: bool = True) -> tuple[dict[str, str], list[str]]:
        steps = Steps(acts, lambda what: None)
        folder = tmp_path / "journals"
        images = AwsPublication(one, wish, clients, folder, steps, NOW).run()
        return images, steps.taken

    return run


def made(tmp_path: Path, name: str, number: str = "1.0.3", **given: Any) -> Subject:
    """Return a disk that no other test has."""
    return subject(tmp_path, "raw", number=number, raw=disk_bytes(salt=name.encode(), **given))


def registered(moto: Moto, name: str) -> dict[str, str]:
    """Return the one request that registered *name*."""
    (form,) = [form for form in moto.forms("RegisterImage") if form["Name"] == name]
    return form


def test_a_snapshot_gets_what_is_not_empty_with_checksums(
    moto: Moto, publish: Publish, clients: Clients, tmp_path: Path
) -> None:
    raw = disk_bytes(salt=b"blocks")

    publish(made(tmp_path, "blocks"), AwsWish("eu-west-1", "blocks"))

    snapshot = registered(moto, "blocks")["BlockDeviceMapping.1.Ebs.SnapshotId"]
    sums = {at: hashlib.sha256(raw[at * BLOCK :][:BLOCK]).digest() for at in WRITTEN}
    asked = {int(one["path"].rpartition("/")[2]): one for one in moto.blocks(snapshot)}
    assert sorted(asked) == sorted(WRITTEN)
    for at, one in asked.items():
        assert base64.b64decode(one["headers"]["CHECKSUM"]) == sums[at]
        assert one["headers"]["CHECKSUM_ALGORITHM"] == "SHA256"
        assert one["headers"]["DATA_LENGTH"] == str(BLOCK)
    (completion,) = [
        one for one in moto.asked() if one["path"] == f"/snapshots/completion/{snapshot}"
    ]
    whole = hashlib.sha256(b"".join(sums[at] for at in sorted(sums))).digest()
    assert base64.b64decode(completion["headers"]["CHECKSUM"]) == whole
    assert completion["headers"]["CHECKSUM_AGGREGATION_METHOD"] == "LINEAR"
    assert completion["headers"]["CHANGEDBLOCKSCOUNT"] == str(len(WRITTEN))
    ebs = clients("ebs", "eu-west-1")
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    for block in listed:
        got = ebs.get_snapshot_block(
            SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"]
        )
        assert hashlib.sha256(got["BlockData"].read()).digest() == sums[block["BlockIndex"]]
        got["BlockData"].close()


def test_the_image_is_registered_as_the_disk_needs_it(
    moto: Moto, publish: Publish, tmp_path: Path
) -> None:
    publish(
        made(tmp_path, "needs"),
        AwsWish("eu-west-1", "needs", tags={"team": "ops"}, tpm=True),
    )
    publish(made(tmp_path, "bios", kind=BIOS_BOOT), AwsWish("eu-west-1", "bios"))

    form = registered(moto, "needs")
    assert form["BootMode"] == "uefi"
    assert registered(moto, "bios")["BootMode"] == "legacy-bios"
    assert form["TpmSupport"] == form["ImdsSupport"] == "v2.0"
    assert (form["EnaSupport"], form["Architecture"]) == ("true", "x86_64")
    assert form["RootDeviceName"] == form["BlockDeviceMapping.1.DeviceName"]
    assert form["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"
    assert form["BlockDeviceMapping.1.Ebs.VolumeSize"] == "1"
    tags = {
        form[f"TagSpecification.1.Tag.{at}.Key"]: form[f"TagSpecification.1.Tag.{at}.Value"]
        for at in range(1, 7)
    }
    assert tags["team"] == "ops"
    assert tags["io.kiln.version"] == "1.0.3"
    assert tags["io.kiln.disk"] == made(tmp_path, "needs").disk.blob.digest


def test_it_is_encrypted_copied_and_shared(moto: Moto, publish: Publish, tmp_path: Path) -> None:
    one = made(tmp_path, "copied")
    other_key = KEY.replace("eu-west-1", "us-east-1")
    wish = AwsWish(
        "eu-west-1",
        "copied",
        copies=("us-east-1",),
        encrypted=True,
        kms_keys={"eu-west-1": KEY, "us-east-1": other_key},
        shared_with=("123456789012",),
    )

    images, _steps = publish(one, wish)
    again, nothing = publish(one, wish)

    (start,) = [
        json.loads(asked["body"])
        for asked in moto.asked()
        if asked["path"] == "/snapshots" and one.disk.blob.digest in asked["body"]
    ]
    assert (start["Encrypted"], start["KmsKeyArn"]) == (True, KEY)
    (copy,) = [form for form in moto.forms("CopyImage") if form["Name"] == "copied"]
    assert copy["SourceImageId"] == images["eu-west-1"]
    assert (copy["Encrypted"], copy["KmsKeyId"]) == ("true", other_key)
    assert copy["CopyImageTags"] == "true"
    shared = {
        form["ImageId"]: form["LaunchPermission.Add.1.UserId"]
        for form in moto.forms("ModifyImageAttribute")
    }
    assert shared == dict.fromkeys(images.values(), "123456789012")
    assert (again, nothing) == (images, [])


def test_a_killed_upload_goes_on_where_it_was(moto: Moto, publish: Publish, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ansible_collections.kiln.immutable.tests.integration"]
    command[-1] += ".publish.dying_upload"
    killed = subprocess.run([*command, str(tmp_path), "4"], check=False)
    assert killed.returncode == -signal.SIGKILL

    one = subject(tmp_path, "raw", raw=disk_bytes(salt=b"killed"))
    publish(one, AwsWish("eu-north-1", "killed"))

    snapshot = registered(moto, "killed")["BlockDeviceMapping.1.Ebs.SnapshotId"]
    put = [int(asked["path"].rpartition("/")[2]) for asked in moto.blocks(snapshot)]
    assert put[:3] == list(WRITTEN[:3])
    assert sorted(put) == list(WRITTEN)
    (completion,) = [
        asked for asked in moto.asked() if asked["path"] == f"/snapshots/completion/{snapshot}"
    ]
    assert completion["headers"]["CHANGEDBLOCKSCOUNT"] == str(len(WRITTEN))
    assert list((tmp_path / "journals").glob("*.journal")) == []


def test_a_snapshot_that_was_completed_is_not_sent_again(
    moto: Moto, publish: Publish, tmp_path: Path
) -> None:
    one = made(tmp_path, "twice")
    publish(one, AwsWish("eu-west-1", "twice"))
    _images, steps = publish(one, AwsWish("eu-west-1", "twice-again"))

    assert steps[0] == "Register twice-again in eu-west-1"
    first, second = registered(moto, "twice"), registered(moto, "twice-again")
    place = "BlockDeviceMapping.1.Ebs.SnapshotId"
    assert first[place] == second[place]


def test_older_versions_are_deprecated_and_newer_are_not(
    moto: Moto, publish: Publish, tmp_path: Path
) -> None:
    region = "eu-south-1"
    numbers = ("1.0.2", "1.0.10", "1.0.9")
    images = {
        number: publish(made(tmp_path, number, number), AwsWish(region, f"old-{number}"))[0][region]
        for number in numbers
    }
    wish = AwsWish(region, "old-1.0.9", deprecate_after=30)

    publish(made(tmp_path, "1.0.9", "1.0.9"), wish)

    asked = {form["ImageId"]: form["DeprecateAt"] for form in moto.forms("EnableImageDeprecation")}
    assert asked == {images["1.0.2"]: "2026-12-21T12:00:00Z"}


def test_an_image_of_another_disk_keeps_its_name(publish: Publish, tmp_path: Path) -> None:
    publish(made(tmp_path, "first"), AwsWish("eu-west-1", "named"))

    with pytest.raises(DriverError, match=r"image named \(ami-.*not of the disk of web-vm 1.0.4"):
        publish(made(tmp_path, "second", "1.0.4"), AwsWish("eu-west-1", "named"))


def test_a_tpm_needs_uefi(publish: Publish, tmp_path: Path) -> None:
    one = made(tmp_path, "tpm", kind=BIOS_BOOT)

    with pytest.raises(DriverError, match="tpm needs a disk that UEFI starts"):
        publish(one, AwsWish("eu-west-1", "tpm", tpm=True), acts=False)


def test_missing_credentials_are_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    steps = Steps(True, lambda what: None)
    wish = AwsWish("eu-west-1", "refused")
    clients = aws_clients(None, parallel=1)

    with pytest.raises(DriverError, match="AWS cannot be asked: Unable to locate credentials"):
        AwsPublication(made(tmp_path, "refused"), wish, clients, tmp_path, steps, NOW).run()


def test_the_playbook_publishes_once(moto: Moto, checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    version = record_version(home, b"playbook")
    tfvars = tmp_path / "images.auto.tfvars.json"
    given = {"kiln_image": "web-vm", "kiln_target": "aws", "kiln_tfvars": str(tfvars)}

    looked = play(checkout, home, "--check", "--diff", given=given)
    assert "+Register web-vm-1.0.1 in eu-west-1" in looked
    assert not [form for form in moto.forms("RegisterImage") if form["Name"] == "web-vm-1.0.1"]
    assert not tfvars.exists()

    first = play(checkout, home, "-vvv", given=given)
    (form,) = [form for form in moto.forms("RegisterImage") if form["Name"] == "web-vm-1.0.1"]
    assert form["Description"].startswith(f"web-vm {version.number}, disk sha256:")
    assert "changed=1 " in first
    assert "a secret key" not in first
    (image,) = json.loads(tfvars.read_text())["web_vm_ami"].values()
    assert image in first
    assert "changed=0 " in play(checkout, home, given=given)

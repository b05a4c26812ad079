# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a base is made, what dates it, and what its key stands for."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.base import (
    base_key,
    bootstrap_command,
    describe_epoch,
    ensure_base,
    release_epoch,
    source_date_epoch,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Archive,
    Debootstrap,
    Registry,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BaseRecord,
    Cache,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

PLAIN = Debootstrap("bookworm")
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def _no_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def test_the_command_line_of_a_plain_base(tmp_path: Path) -> None:
    argv = bootstrap_command(PLAIN, "amd64", tmp_path / "releases")
    assert argv[0] == "mmdebstrap"
    assert argv[-2:] == ["bookworm", "-"]
    assert "--variant=minbase" in argv
    assert "--components=main" in argv
    assert "--architectures=amd64" in argv
    assert "--format=tar" in argv
    assert not any(one.startswith(("--include", "--keyring")) for one in argv)


def test_the_command_line_of_a_base_with_everything(tmp_path: Path) -> None:
    base = Debootstrap(
        "trixie",
        mirror="https://mirror.example.org/debian",
        components=("main", "contrib"),
        variant="apt",
        include=("ca-certificates", "nginx=1.2"),
        keyring=Path("/keys/archive.gpg"),
    )
    argv = bootstrap_command(base, "arm64", tmp_path / "releases")
    assert argv[-3:] == ["trixie", "-", "https://mirror.example.org/debian"]
    assert "--variant=apt" in argv
    assert "--components=main,contrib" in argv
    assert "--include=ca-certificates,nginx=1.2" in argv
    assert "--keyring=/keys/archive.gpg" in argv


@pytest.mark.parametrize(
    "option",
    [
        "Acquire::AllowInsecureRepositories false",
        "Acquire::AllowWeakRepositories false",
        "APT::Get::AllowUnauthenticated false",
    ],
)
def test_no_setting_of_the_host_turns_verification_off(tmp_path: Path, option: str) -> None:
    assert f"--aptopt={option}" in bootstrap_command(PLAIN, "amd64", tmp_path)


RELEASE = "Origin: Debian\nSuite: stable\nDate: Sat, 10 Jan 2026 10:30:12 UTC\nDescription: x\n"
UPDATES = "Origin: Debian\nDate: Sun, 11 Jan 2026 00:00:00 UTC\nValid-Until: Sun, 18 Jan 2026\n"


def test_a_base_is_dated_by_the_newest_release_file() -> None:
    assert describe_epoch(release_epoch(RELEASE)) == "2026-01-10T10:30:12Z"
    assert release_epoch(RELEASE + UPDATES) == release_epoch(UPDATES + RELEASE)
    assert describe_epoch(release_epoch(RELEASE + UPDATES)) == "2026-01-11T00:00:00Z"


@pytest.mark.parametrize("text", ["", "Origin: Debian\n", "  Date: Sat, 10 Jan 2026 10:30:12 UTC"])
def test_release_files_without_a_date_are_refused(text: str) -> None:
    with pytest.raises(DriverError, match="carry no date"):
        release_epoch(text)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"SOURCE_DATE_EPOCH": ""}, None),
        ({"SOURCE_DATE_EPOCH": "0"}, 0),
        ({"SOURCE_DATE_EPOCH": "1700000000"}, 1_700_000_000),
    ],
)
def test_source_date_epoch_is_read(environment: dict[str, str], seconds: int | None) -> None:
    assert source_date_epoch(environment) == seconds


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", " 5", "+5", "\u0665", "1_000"])
def test_a_malformed_source_date_epoch_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match=r"SOURCE_DATE_EPOCH is .*no number of seconds"):
        source_date_epoch({"SOURCE_DATE_EPOCH": text})


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "trixie"},
        {"mirror": "https://mirror.example.org/debian"},
        {"components": ("main", "contrib")},
        {"variant": "apt"},
        {"include": ("nginx",)},
    ],
)
def test_another_bootstrap_has_another_key(change: dict[str, Any]) -> None:
    assert base_key(dataclasses.replace(PLAIN, **change), "amd64") != base_key(PLAIN, "amd64")


def test_the_key_of_a_base_is_of_its_architecture_too() -> None:
    assert base_key(PLAIN, "arm64") != base_key(PLAIN, "amd64")


def test_the_order_of_included_packages_makes_no_other_base() -> None:
    one, other = (dataclasses.replace(PLAIN, include=names) for names in [("a", "b"), ("b", "a")])
    assert base_key(one, "amd64") == base_key(other, "amd64")


def test_the_key_of_a_base_is_of_the_keyring_s_content(tmp_path: Path) -> None:
    keys = []
    for name, content in [("one", b"1"), ("same", b"1"), ("other", b"2")]:
        (tmp_path / name).write_bytes(content)
        keys.append(base_key(dataclasses.replace(PLAIN, keyring=tmp_path / name), "amd64"))
    assert keys[0] == keys[1]
    assert len({*keys, base_key(PLAIN, "amd64")}) == 3


def test_a_keyring_that_is_not_there_is_named(tmp_path: Path) -> None:
    base = dataclasses.replace(PLAIN, keyring=tmp_path / "missing.gpg")
    with pytest.raises(DriverError, match=r"missing.gpg") as failed:
        base_key(base, "amd64")
    assert "base.debootstrap.keyring" in str(failed.value)


def test_an_archive_is_known_by_its_digest_and_not_by_its_place() -> None:
    one, other = (base_key(Archive(Path(name), DIGEST), "amd64") for name in ("/a", "/b"))
    assert one == other
    assert base_key(Archive(Path("/a"), "sha256:" + "b" * 64), "amd64") != one


def test_a_pulled_image_is_known_by_its_digest_and_not_by_its_registry() -> None:
    one, other = (
        base_key(Registry(f"{host}.example.org/debian@{DIGEST}"), "amd64") for host in ("a", "b")
    )
    assert one == other


def test_source_date_epoch_makes_another_base(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [base_key(PLAIN, "amd64")]
    for text in ("0", "5"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        keys.append(base_key(PLAIN, "amd64"))
    assert len(set(keys)) == 3


class Root:
    """A small root filesystem as a tar, and a home to import it into."""

    def __init__(self, top: Path) -> None:
        self.home = Home(top / "home")
        self.cache = Cache(self.home.cache, Layout(self.home.store))
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in [
                ("etc/os-release", b'NAME="Debian"\nVERSION_CODENAME=bookworm\n'),
                ("etc/hostname", b"the-machine\n"),
                ("etc/machine-id", b"0123456789abcdef\n"),
            ]:
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(content), 1_600_000_000
                archive.addfile(member, io.BytesIO(content))
        self.path = top / "root.tar"
        self.path.write_bytes(stream.getvalue())
        self.archive = Archive(self.path, sha256_bytes(stream.getvalue()))
        self.said: list[str] = []

    def ensure(self, archive: Archive | None = None, *, refresh: bool = False) -> BaseRecord:
        return ensure_base(
            archive or self.archive,
            home=self.home,
            cache=self.cache,
            engine=Engine(),
            architecture="amd64",
            refresh=refresh,
            say=self.said.append,
        )


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_a_tar_becomes_a_base(root: Root) -> None:
    record = root.ensure()
    assert (record.suite, record.architecture, record.epoch) == ("bookworm", "amd64", 1_600_000_000)
    assert len(record.layers) == 1
    assert root.said == [f"Importing {root.path}"]


def test_a_base_is_made_once(root: Root) -> None:
    first = root.ensure()
    assert root.ensure() == first
    assert len(root.said) == 1


def test_a_base_that_its_digest_pins_is_not_made_again_by_a_refresh(root: Root) -> None:
    first = root.ensure()
    assert root.ensure(refresh=True) == first
    assert len(root.said) == 1


@pytest.mark.parametrize("seconds", [0, 1_500_000_000])
def test_source_date_epoch_dates_a_base_and_what_is_in_it(
    root: Root, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    plain = root.ensure()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(seconds))
    dated = root.ensure()
    assert dated.epoch == seconds
    assert dated.layers != plain.layers


def test_a_tar_with_another_digest_is_refused_and_leaves_nothing(root: Root) -> None:
    with pytest.raises(DriverError, match=r"has the digest sha256:.*definition says sha256:aaaa"):
        root.ensure(Archive(root.path, DIGEST))
    assert not list(root.cache.layout.root.glob("blobs/*/*"))


def test_an_archive_that_is_not_there_is_named(root: Root) -> None:
    with pytest.raises(DriverError, match=r"missing.tar cannot be read: No such file") as failed:
        root.ensure(Archive(root.path.with_name("missing.tar"), DIGEST))
    assert failed.value.hint == "Correct base.archive.path."


def test_a_directory_that_is_no_layout_is_named(root: Root) -> None:
    with pytest.raises(DriverError, match="no OCI image layout"):
        root.ensure(Archive(root.path.parent, DIGEST))


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b\x08\x00 cut"])
def test_what_is_no_tar_is_refused(root: Root, content: bytes) -> None:
    root.path.write_bytes(content)
    with pytest.raises(DriverError, match=r"(?i)tar archive|holds no files"):
        root.ensure(Archive(root.path, sha256_bytes(content)))

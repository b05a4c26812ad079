# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks: made, moved, obeyed, and baked again when the mirror has gone."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.tests.integration.bake.conftest import (
    Team,
    lay_out,
    remove,
)
from ansible_collections.kiln.immutable.tests.integration.bake.conftest import docker as run_docker
from ansible_collections.kiln.immutable.tests.integration.bake.local_archive import (
    KEYRING,
    LocalArchive,
    Signer,
    base_archive,
)

OFF = ("-e", "kiln_network=none")
PACKAGES = {"alpha": "1.0", "beta": "1.0", "gamma": "1.0"}
DEAD = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@dataclass
class Locked:
    """A team with one image, whose packages come from an archive of the test's own."""

    team: Any
    archive: LocalArchive
    name: str
    base: dict[str, Any]

    @property
    def path(self) -> Path:
        return Path(self.team.images, f"{self.name}.lock.yml")

    def define(self, *packages: str, before: str = "") -> None:
        """Define the image with a role that does *before* and installs *packages*."""
        names = ", ".join(packages)
        role = self.team.role(
            "app",
            f"{before}- name: Install\n  ansible.builtin.apt:\n"
            f"    name: [{names}]\n    update_cache: true\n",
        )
        self.team.image(self.name, role, base=self.base)

    def versions(self) -> dict[str, str]:
        """Return the versions in the lock, by the package's name."""
        lock = yaml.safe_load(self.path.read_text())
        return {p["name"]: p["version"] for layer in lock["layers"].values() for p in layer}

    def pooled(self, package: str, home: Path | None = None) -> Path:
        """Return the file of a locked package in the pool."""
        lock = yaml.safe_load(self.path.read_text())
        (found,) = (p for layer in lock["layers"].values() for p in layer if p["name"] == package)
        return Path(home or self.team.home, "pool", "sha256", found["sha256"])


@dataclass(frozen=True, slots=True)
class Origin:
    """What the archives of all tests have in common, and a home that has the base made for them.

    :param base: as a definition names it.
    :param locked: an image with one version, to which a lock was then made.
    :param refreshed: what was said of that.
    """

    signer: Signer
    address: str
    port: int
    home: Path
    base: dict[str, Any]
    locked: Locked
    refreshed: str


@pytest.fixture(scope="module")
def origin(
    checkout: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """Import the base and make a lock, once for all tests.

    The base's only source of packages is the archive that each test serves.
    """
    (network,) = json.loads(run_docker("network", "inspect", "bridge"))
    subnet = ipaddress.ip_network(network["IPAM"]["Config"][0]["Subnet"])
    folder = tmp_path_factory.mktemp("origin")
    signer = Signer()
    archive = LocalArchive(folder / "archive", str(subnet[1]), signer)
    home = lay_out(warm, folder / "home")
    tar = folder / "base.tar"
    base = {"archive": {"path": str(tar), "digest": base_archive(home, archive, tar)}}
    archive.publish("kiln", PACKAGES)
    team = Team(checkout, folder / "team", home, [])
    made = Locked(team, archive, team.name(), base)
    made.define("alpha", "beta")
    team.bake()
    refreshed = team.refresh().output
    archive.close()
    yield Origin(signer, str(subnet[1]), archive.port, home, base, made, refreshed)
    remove(team.names)
    signer.close()


@pytest.fixture
def home(origin: Origin, tmp_path: Path) -> Path:
    """Return a home that has the imported base too."""
    return lay_out(origin.home, tmp_path / "home")


@pytest.fixture
def archive(origin: Origin, tmp_path: Path) -> Iterator[LocalArchive]:
    """Serve an archive with three packages where build containers reach it."""
    folder = tmp_path / "archive"
    # The very packages that the lock names: made anew they would have other times in them.
    shutil.copytree(origin.locked.archive.folder / "pool", folder / "pool")
    made = LocalArchive(folder, origin.address, origin.signer, origin.port)
    made.publish("kiln", PACKAGES)
    yield made
    made.close()


@pytest.fixture
def unlocked(team: Any, archive: LocalArchive, origin: Origin) -> Locked:
    """Return a team with one image without a lock."""
    made = Locked(team, archive, team.name(), origin.base)
    made.define("alpha", "beta")
    return made


@pytest.fixture
def locked(unlocked: Locked, origin: Origin) -> Locked:
    """Return the same with a lock, and the packages that it names."""
    made = unlocked
    made.path.write_bytes(origin.locked.path.read_bytes())
    shutil.copytree(origin.home / "pool", made.team.home / "pool")
    assert made.versions() == {"alpha": "1.0", "beta": "1.0"}
    return made


def test_a_refresh_makes_a_lock_and_no_version(origin: Origin) -> None:
    made = origin.locked
    assert made.versions() == {"alpha": "1.0", "beta": "1.0"}
    assert re.search(r"alpha +- +1\.0 +kiln\n", origin.refreshed)
    assert made.team.numbers(made.name) == ["1.0.1"]  # of the bake before
    assert made.team.containers() == []


ADDED = """\
- name: Add a source
  ansible.builtin.apt_repository:
    repo: "deb [signed-by=/{keyring}] {url} extra main"
    filename: extra
    update_cache: false
- name: Add another
  ansible.builtin.deb822_repository:
    name: more
    uris: "{url}"
    suites: more
    components: main
    signed_by: /{keyring}
"""


def test_a_lock_is_baked_to_the_same_bytes_without_mirror_network_and_toolkit(
    unlocked: Locked, second_home: Path, docker: Callable[..., str]
) -> None:
    team, name, archive = unlocked.team, unlocked.name, unlocked.archive
    archive.publish("extra", {"delta": "1.0"})
    archive.publish("more", {"epsilon": "1.0"})
    sources = ADDED.format(keyring=KEYRING, url=archive.url)
    unlocked.define("alpha", "delta", "epsilon", before=sources)
    team.bake()
    first = team.version(name)["index"]
    team.refresh()
    archive.publish("kiln", {"alpha": "2.0"})
    archive.publish("extra", {"delta": "2.0"})
    archive.close()
    baked = team.bake(*OFF)
    assert baked.layers_run == ["app", "seal"]
    # What a lock pins it changes in nothing else, the sources that roles add included.
    assert team.numbers(name) == ["1.0.1"]
    assert team.cat(name, "/etc/apt/sources.list.d/extra.list").endswith("extra main")
    again = team.bake(*OFF)
    assert f"{name} 1.0.1: nothing to do." in again.output
    shutil.copytree(team.home / "pool", second_home / "pool")
    shutil.rmtree(second_home / "pool" / "locks")
    # A machine whose toolkit was made of other packages, or that has none.
    (note,) = (second_home / "cache" / "toolkits").iterdir()
    mark = note.read_text().partition(" ")[2]
    note.write_text(f"sha256:{'0' * 64} {mark}")
    team.home = second_home
    other = team.bake(*OFF)
    assert "Making the toolkit for bookworm" in other.output
    assert other.layers_run == ["app", "seal"]
    assert team.version(name)["index"] == first
    volumes = docker("volume", "ls", "--quiet").split()
    assert any(volume.startswith(f"{note.name}-") for volume in volumes)


def test_a_damaged_package_is_refused_and_fetched_again(locked: Locked) -> None:
    team, package = locked.team, locked.pooled("beta")
    content = package.read_bytes()
    package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    hidden = locked.archive.folder / "pool" / "hidden"
    served = locked.archive.folder / "pool" / "beta_1.0_all.deb"
    served.rename(hidden)
    failed = team.bake(ends=2)
    assert "The package beta 1.0 is not in the pool" in failed.output
    assert "The pool's copy was damaged" in failed.output
    served.write_bytes(content + b"more")
    assert "has other bytes than the lock says" in team.bake(ends=2).output
    hidden.rename(served)
    team.bake()
    assert package.read_bytes() == content
    assert team.cat(locked.name, "/srv/beta") == "1.0"


def test_a_lock_that_names_what_is_nowhere_stops_the_bake(locked: Locked) -> None:
    text = locked.path.read_text()
    beta = text.index("name: beta")
    text = text[:beta] + re.sub(
        r'"?[0-9a-f]{64}"?', '"' + "0" * 64 + '"', text[beta:].replace('"1.0"', '"9.9"', 1), count=1
    ).replace("beta_1.0", "beta_9.9")
    locked.path.write_text(text)
    failed = locked.team.bake(ends=2)
    assert "The package beta 9.9 is not in the pool" in failed.output
    assert locked.team.numbers(locked.name) == []


def test_a_role_that_wants_what_the_lock_has_not_stops_the_bake(locked: Locked) -> None:
    locked.define("alpha", "beta", "gamma")
    failed = locked.team.bake(ends=2)
    assert "gamma" in failed.output
    assert "its lock does not name that package" in failed.output
    locked.define("alpha")
    failed = locked.team.bake(ends=2)
    assert "beta: the lock says 1.0, but the layer app did not install it." in failed.output
    locked.team.refresh()
    assert locked.versions() == {"alpha": "1.0"}


def test_security_only_moves_what_is_newer_there_and_the_pool_keeps_what_versions_need(
    locked: Locked,
) -> None:
    team = locked.team
    team.bake()
    of_a_version = locked.pooled("alpha")
    locked.archive.publish("kiln", {"alpha": "2.0", "beta": "2.0"})
    locked.archive.publish("kiln-security", {"beta": "1.5"})
    moved = team.refresh("-e", "kiln_refresh_only=security")
    assert locked.versions() == {"alpha": "1.0", "beta": "1.5"}
    assert re.search(r"beta +1\.0 +1\.5 +kiln-security\n", moved.output)
    assert not re.search(r"alpha +1\.0 ", moved.output)
    baked = team.bake(*OFF)
    assert f"{locked.name}: its package lock changed" in baked.output
    found = [team.cat(locked.name, f"/srv/{one}", "1.0.2") for one in ("alpha", "beta")]
    assert found == ["1.0", "1.5"]
    team.refresh()
    assert locked.versions() == {"alpha": "2.0", "beta": "2.0"}
    before = locked.path.read_bytes()
    assert "none moved" in team.refresh().output
    assert locked.path.read_bytes() == before
    of_no_version = locked.pooled("alpha")
    locked.archive.publish("kiln", {"alpha": "2.1", "beta": "2.0"})
    team.refresh("-e", "kiln_pool_limit=1")
    assert of_a_version.exists()
    assert not of_no_version.exists()
    assert locked.pooled("alpha").exists()
    failed = team.bake("-e", "kiln_pool_limit=much", ends=2)
    assert "kiln_pool_limit is much, which is no size." in failed.output


def test_a_bootstrapped_base_is_made_again_without_its_mirror(
    team: Any, archive: LocalArchive
) -> None:
    name, child = team.name(), team.name("child")
    team.image(name, team.file_role())
    team.image(child, team.file_role("more"), base={"image": name})
    team.bake()
    first = [team.version(one)["index"] for one in (name, child)]
    team.refresh()
    lock = yaml.safe_load(Path(team.images, f"{name}.lock.yml").read_text())
    assert {"apt", "dpkg"} <= {package["name"] for package in lock["base"]["packages"]}
    assert {"python3-apt", "libc6"} <= {package["name"] for package in lock["toolkit"]}
    assert all(package["sha256"] for package in lock["toolkit"])
    of_child = Path(team.images, f"{child}.lock.yml")
    assert yaml.safe_load(of_child.read_text())["base"] == {"kind": "image"}
    # An image on a locked one may also be without a lock of its own.
    bare = team.name("bare")
    team.image(bare, team.file_role("bare"), base={"image": name})
    assert team.bake(*OFF, **DEAD).hosts >= {bare}
    assert team.cat(name, "/etc/apt/sources.list") == lock["base"]["sources"].rstrip("\n")
    assert team.cat(bare, "/srv/bare") == "one"
    for one, digest in zip((name, child), first, strict=True):
        assert team.numbers(one) == ["1.0.1"]
        assert team.version(one)["index"] == digest
    packages = [team.home / "pool" / "sha256" / one["sha256"] for one in lock["base"]["packages"]]
    archive.snapshot("bookworm", packages, "Sun, 18 Jan 2026 00:00:00 UTC")
    # apt verifies as a user of its own, to whom pytest's folders are closed.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        of_a_snapshot(team, archive, Path(folder, "snapshot.gpg"))


def of_a_snapshot(team: Any, archive: LocalArchive, keyring: Path) -> None:
    """An archive of snapshots as the mirror: its release is over, which has to be allowed."""
    keyring.write_bytes(archive.key)
    base = {
        "suite": "bookworm",
        "variant": "minbase",
        "mirror": archive.url,
        "keyring": str(keyring),
    }
    name = team.name("snapshot")
    team.image(name, team.file_role("late"), base={"debootstrap": base})
    assert "is expired" in team.bake(ends=2).output
    team.image(name, team.file_role("late"), base={"debootstrap": {**base, "expired": "accept"}})
    team.bake()
    sources = team.cat(name, "/etc/apt/sources.list")
    assert "check-valid-until=no" in sources
    assert archive.url in sources

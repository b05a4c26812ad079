# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What versions in a store consist of, compared, and the updates that wait for them."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.difference import compare
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.predicates import HARDENING
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    Attached,
    write_attached,
)
from ansible_collections.kiln.immutable.plugins.plugin_utils.pending_updates import PendingUpdates
from ansible_collections.kiln.immutable.plugins.plugin_utils.version_contents import (
    read_contents,
    with_headlines,
)

NOW = datetime(2026, 8, 1, tzinfo=UTC)
STATUS = (
    "Package: openssl\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n"
    "Maintainer: a <a@example.org>\nDescription: b\n"
)
CHANGELOG = "openssl (2) bookworm-security; urgency=medium\n\n  * CVE-2026-1\n\n -- a\n"


def silent(argv: Any, **_more: Any) -> Completed:
    return Completed(0, b"", b"")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A home with a store."""
    made = Workshop.at(Home.at(str(tmp_path / "home")), Engine(silent))
    made.layout.ensure()
    return made


def layer(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def version(shop: Workshop, number: str, score: int, **files: bytes) -> Version:
    """Store an image of *files* (with / written as __) that a scan gave a score."""
    stored = store_layer(shop.layout, [layer({k.replace("__", "/"): v for k, v in files.items()})])
    assert stored is not None
    config = ImageConfig("amd64", 0, env=(("NUMBER", number),))
    image = write_image(shop.layout, config, [HistoryLayer(stored, "kiln: app")])
    statement = Statement(HARDENING, {"profile": "cis", "score": score, "failed": []})
    document = statement.document("web", image.index.digest)
    attached = Attached("application/vnd.in-toto+json", document)
    write_attached(shop.layout, image.index.digest, "statements", [attached])
    return Version(
        image="web",
        number=number,
        index=image.index.digest,
        config=image.config.digest,
        bake_key="k",
        definition_digest="d",
        definition_revision=None,
        created="2026-01-01T00:00:00Z",
        size=1,
        base="debootstrap",
    )


def two(shop: Workshop, **more: bytes) -> tuple[Version, Version]:
    old = version(shop, "1.0.1", 80, var__lib__dpkg__status=STATUS.format(1).encode())
    new = version(shop, "1.0.2", 91, var__lib__dpkg__status=STATUS.format(2).encode(), **more)
    return old, new


def test_two_versions_in_the_store_are_compared(shop: Workshop) -> None:
    old, new = two(shop, etc__a=b"x")
    before, after = read_contents(shop, old)[0], read_contents(shop, new)[0]
    found = compare(before, after)
    assert [(one.name, one.how) for one in found.packages] == [("openssl:amd64", "upgraded")]
    assert [one.name for one in found.files] == ["/etc", "/etc/a", "/var/lib/dpkg/status"]
    assert [one.name for one in found.layers] == ["app"]
    assert [(one.name, one.before, one.after) for one in found.config] == [
        ("Env.NUMBER", "1.0.1", "1.0.2")
    ]
    assert [(one.name, one.before, one.after) for one in found.checks] == [
        ("hardening.score", "80", "91")
    ]


def test_headlines_come_from_an_image_that_kept_its_changelogs(shop: Workshop) -> None:
    content = {"usr/share/doc/openssl/changelog.Debian.gz": gzip.compress(CHANGELOG.encode())}
    old, new = two(shop, **content)
    (before, _old_tree), (after, tree) = read_contents(shop, old), read_contents(shop, new)
    found = with_headlines(shop, compare(before, after), old, new, tree)
    assert found.packages[0].headlines == ("2: CVE-2026-1",)


def test_headlines_come_from_the_pool_when_the_image_kept_none(
    shop: Workshop, tmp_path: Path
) -> None:
    old, new = two(shop)
    root = tmp_path / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        STATUS.format(2).replace("Status: install ok installed\n", "")
    )
    doc = root / "usr" / "share" / "doc" / "openssl"
    doc.mkdir(parents=True)
    (doc / "changelog.Debian.gz").write_bytes(gzip.compress(CHANGELOG.encode()))
    deb = tmp_path / "openssl.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(deb)], check=True, capture_output=True)
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    with deb.open("rb") as stream:
        shop.pool.add(stream)
    lock = tmp_path / "web.lock.yml"
    lock.write_text(
        f'layers:\n  app:\n    - name: openssl\n      version: "2"\n      sha256: "{sha256}"\n'
    )
    shop.pool.keep_lock("web", "1.0.2", lock)
    (before, _old_tree), (after, tree) = read_contents(shop, old), read_contents(shop, new)
    found = with_headlines(shop, compare(before, after), old, new, tree)
    assert found.packages[0].headlines == ("2: CVE-2026-1",)


def test_a_version_that_is_not_in_the_store_is_named(shop: Workshop) -> None:
    old, _new = two(shop)
    shop.layout.path(old.index).unlink()
    with pytest.raises(DriverError, match=r"web 1.0.1 is not in this home's store"):
        read_contents(shop, old)
    pending = PendingUpdates(shop, NOW).of(old)
    assert pending == (None, "the version is not in this home's store")


def test_updates_are_found_by_the_mirror_that_the_image_itself_names(
    shop: Workshop, tmp_path: Path
) -> None:
    top = tmp_path / "mirror" / "dists" / "bookworm-security"
    index = gzip.compress(b"Package: openssl\nArchitecture: amd64\nVersion: 2\n")
    (top / "main" / "binary-amd64").mkdir(parents=True)
    (top / "main" / "binary-amd64" / "Packages.gz").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (top / "Release").write_text(f"SHA256:\n {digest} {len(index)} main/binary-amd64/Packages.gz\n")
    gnupg = tempfile.mkdtemp(prefix="gpg-")  # short, as the agent's socket is in it
    gpg = ["gpg", "--homedir", gnupg, "--batch", "--quiet", "--pinentry-mode", "loopback"]
    for arguments in (
        ["--passphrase", "", "--quick-generate-key", "a@example.org", "ed25519", "sign", "never"],
        ["--export", "--output", str(tmp_path / "keys.gpg")],
        ["--clearsign", "--output", str(top / "InRelease"), str(top / "Release")],
    ):
        subprocess.run([*gpg, *arguments], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", gnupg, "--kill", "all"], check=False)
    shutil.rmtree(gnupg, ignore_errors=True)
    sources = f"deb file://{tmp_path}/mirror bookworm-security main\n".encode()
    old, _new = two(shop)
    named = version(
        shop,
        "1.0.3",
        1,
        var__lib__dpkg__status=STATUS.format(1).encode(),
        **{"etc/apt/sources.list": sources},
    )
    pending = PendingUpdates(shop, NOW, keyring=tmp_path / "keys.gpg")
    assert pending.of(named) == (("openssl 1 -> 2",), "")
    again = PendingUpdates(shop, NOW, keyring=tmp_path / "keys.gpg")
    assert again.of(named) == (("openssl 1 -> 2",), "")
    assert pending.of(old) == (None, "its package sources name no archive of security updates")

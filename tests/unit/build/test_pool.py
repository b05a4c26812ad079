# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package pool: what it takes in, gives out and gives up; and repositories made from it."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.lock import Installed, Package
from ansible_collections.kiln.immutable.plugins.module_utils.build.package_archive import (
    Signer,
    make_repository,
    read_control,
    source_lines,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.package_origins import (
    from_log,
    from_status,
    security,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.pool import (
    DEFAULT_LIMIT,
    Held,
    Pool,
    leaving,
    read_limit,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.files import locked
from hypothesis import given
from hypothesis import strategies as st


def deb(name: str, version: str = "1.0", suffix: str = "gz") -> bytes:
    """Return a package of nothing, as deb(5) says."""
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nPriority: optional\n".encode()
    )
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode=f"w:{suffix}" if suffix else "w") as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("./control")
        entry.size = len(control)
        archive.addfile(entry, io.BytesIO(control))
    made = b"!<arch>\n"
    dot = f".{suffix}" if suffix else ""
    for member, content in (
        ("debian-binary", b"2.0\n"),
        (f"control.tar{dot}", inner.getvalue()),
        ("data.tar", b""),
    ):
        made += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        made += content + b"\n" * (len(content) % 2)
    return made


def pinned(content: bytes, name: str = "a", version: str = "1.0", url: str = "") -> Package:
    sha256 = hashlib.sha256(content).hexdigest()
    return Package(Installed(name, version, "all"), sha256, len(content), url, "bookworm")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool", tmp_path / "guard")


def test_a_package_is_found_by_its_hash(pool: Pool) -> None:
    package = pinned(b"bytes")
    assert not pool.has(package.sha256)
    assert pool.add(io.BytesIO(b"bytes")) == package.sha256
    assert pool.path(package.sha256).read_bytes() == b"bytes"
    assert [one.sha256 for one in pool.held()] == [package.sha256]


def test_bytes_that_are_not_those_asked_for_are_not_kept(pool: Pool) -> None:
    assert pool.add(io.BytesIO(b"other"), "0" * 64) is None
    assert list((pool.root / "sha256").iterdir()) == []


def test_a_package_that_is_missing_is_fetched_and_verified(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"bytes")
    package = pinned(b"bytes", url=f"file://{tmp_path}/a.deb")
    pool.ensure([package], None)
    assert pool.has(package.sha256)
    (tmp_path / "a.deb").write_bytes(b"other")
    other = pinned(b"wanted", "b", url=f"file://{tmp_path}/a.deb")
    with pytest.raises(DriverError, match=r"The package b 1\.0 .* has other bytes than the lock"):
        pool.ensure([package, other], None)


def test_a_package_is_looked_for_below_the_definitions_mirror_too(
    pool: Pool, tmp_path: Path
) -> None:
    (tmp_path / "pool" / "main").mkdir(parents=True)
    (tmp_path / "pool" / "main" / "a.deb").write_bytes(b"bytes")
    package = pinned(b"bytes", url="file:///nowhere/debian/pool/main/a.deb")
    pool.ensure([package], f"file://{tmp_path}")
    assert pool.has(package.sha256)


def test_a_damaged_package_is_named_and_leaves(pool: Pool) -> None:
    package = pinned(b"bytes")
    pool.add(io.BytesIO(b"bytes"))
    pool.path(package.sha256).write_bytes(b"bytez")
    with pytest.raises(DriverError, match=r"a 1\.0 .*The pool's copy was damaged"):
        pool.ensure([package], None)
    assert not pool.has(package.sha256)


def test_a_package_of_no_archive_needs_no_place_in_the_pool(pool: Pool) -> None:
    pool.ensure([Package(Installed("own", "1", "all"))], None)


def test_every_package_that_cannot_be_had_is_named(pool: Pool) -> None:
    with pytest.raises(DriverError, match=r"(?s)The package a 1\.0.*The package b 1\.0"):
        pool.ensure([pinned(b"1"), pinned(b"2", "b", url="ftp://x/pool/b")], None)


def test_the_oldest_unused_leaves_first_and_what_is_needed_stays() -> None:
    held = [Held("new", 10, 3.0), Held("old", 10, 1.0), Held("needed", 10, 0.0)]
    assert leaving(held, needed=(), limit=30) == ()
    gone = leaving(held, needed={"needed"}, limit=25)
    assert [one.sha256 for one in gone] == ["old"]
    gone = leaving(held, needed={"needed"}, limit=0)
    assert [one.sha256 for one in gone] == ["old", "new"]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 9), st.booleans())),
    limit=st.integers(0, 500),
)
def test_what_stays_is_within_the_limit_or_needed(
    sizes: list[tuple[int, int, bool]], limit: int
) -> None:
    held = [Held(str(at), size, used) for at, (size, used, _n) in enumerate(sizes)]
    needed = {str(at) for at, (_s, _u, wanted) in enumerate(sizes) if wanted}
    gone = {one.sha256 for one in leaving(held, needed=needed, limit=limit)}
    assert not gone & needed
    stays = [one for one in held if one.sha256 not in gone]
    assert sum(one.size for one in stays) <= limit or {one.sha256 for one in stays} <= needed


def test_nothing_leaves_while_the_pool_is_in_use(pool: Pool) -> None:
    pool.add(io.BytesIO(b"bytes"))
    with pool.in_use():
        assert pool.shrink(set, 0) == ()
    assert len(pool.shrink(set, 0)) == 1
    assert pool.held() == []


def test_several_may_use_the_pool_together(pool: Pool) -> None:
    with pool.in_use(), locked(pool.guard, wait=False, shared=True):
        assert pool.held() == []


def test_half_written_packages_of_killed_bakes_go_after_a_day(pool: Pool) -> None:
    pool.add(io.BytesIO(b"bytes"))
    left, fresh = pool.root / "sha256" / ".x.partial", pool.root / "sha256" / ".y.partial"
    left.write_bytes(b"x")
    fresh.write_bytes(b"y")
    os.utime(left, (1000, 1000))
    os.utime(fresh, (180_000, 180_000))
    pool.shrink(set, 0, now=200_000)
    assert not left.exists()
    assert fresh.exists()


def test_locks_of_catalogued_versions_say_what_is_needed(pool: Pool, tmp_path: Path) -> None:
    for number, seed in (("1.0.1", "a"), ("1.0.2", "b")):
        lock = tmp_path / "lock"
        lock.write_text(f"sha256: {seed * 64}\n")
        pool.keep_lock("web", number, lock)
    assert pool.needed(lambda _image: {"1.0.1", "1.0.2"}) == {"a" * 64, "b" * 64}
    assert pool.needed(lambda _image: {"1.0.2"}) == {"b" * 64}
    assert pool.needed(lambda _image: {"1.0.1", "1.0.2"}) == {"b" * 64}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (DEFAULT_LIMIT, 10 * 1024**3),
        ("500MiB", 500 * 1024**2),
        ("2 GB", 2 * 1000**3),
        ("1TiB", 1024**4),
        ("7", 7),
    ],
)
def test_a_limit_is_a_size_with_its_unit(text: object, limit: int) -> None:
    assert read_limit(text) == limit


@pytest.mark.parametrize("text", ["", "much", "-1", "1.5GiB", "1 XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match="which is no size"):
        read_limit(text)


@pytest.mark.parametrize("suffix", ["gz", "xz", ""])
def test_the_control_file_of_a_package_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(deb("a", suffix=suffix))
    assert read_control(path).startswith("Package: a\nVersion: 1.0\n")


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(b"<html>")
    with pytest.raises(DriverError, match="is no Debian package"):
        read_control(path)


def unsigned(folder: Path) -> Signer:
    """Return a signer whose gpg gives back what it is to sign."""

    def run(argv: Sequence[str], *, stdin: bytes | None = None, **_given: Any) -> Completed:
        return Completed(0, stdin or b"key", b"")

    return Signer(Home(folder), run)


def test_a_repository_names_its_packages_and_their_hashes(pool: Pool, tmp_path: Path) -> None:
    content = deb("a", "1:2.0~rc1")
    package = pinned(content, "a", "1:2.0~rc1")
    pool.add(io.BytesIO(content))
    made = tmp_path / "repository"
    suites = make_repository(
        made,
        [package, package],
        find=pool.path,
        architecture="amd64",
        epoch=1_700_000_000,
        signer=unsigned(tmp_path),
    )
    assert suites == ("bookworm",)
    index = (made / "dists/bookworm/main/binary-amd64/Packages").read_bytes()
    assert index.count(b"Package: a\n") == 1
    assert b"Filename: pool/a_1%3a2.0~rc1_all.deb\n" in index
    assert f"SHA256: {package.sha256}\n".encode() in index
    release = (made / "dists/bookworm/InRelease").read_text()
    assert "Date: Tue, 14 Nov 2023 22:13:20 UTC\n" in release
    digest = hashlib.sha256(index).hexdigest()
    assert f" {digest} {len(index)} main/binary-amd64/Packages\n" in release
    assert (made / "pool/a_1%3a2.0~rc1_all.deb").read_bytes() == content
    assert source_lines("file:/r", "/r/k", suites, "amd64") == (
        "deb [arch=amd64 signed-by=/r/k] file:/r bookworm main",
    )


def test_the_archives_priority_goes_before_the_packages_own(pool: Pool, tmp_path: Path) -> None:
    content = deb("a")
    package = Package.from_json({**pinned(content).as_json(), "priority": "required"})
    pool.add(io.BytesIO(content))
    made = tmp_path / "repository"
    make_repository(
        made, [package], find=pool.path, architecture="amd64", epoch=0, signer=unsigned(tmp_path)
    )
    index = (made / "dists/bookworm/main/binary-amd64/Packages").read_text()
    assert index.count("Priority:") == 1
    assert "Priority: required\n" in index


def test_a_lock_that_gives_a_package_another_version_is_refused(pool: Pool, tmp_path: Path) -> None:
    content = deb("a", "1.0")
    pool.add(io.BytesIO(content))
    with pytest.raises(DriverError, match=r"says that .* is a 2\.0, but it is a 1\.0"):
        make_repository(
            tmp_path / "repository",
            [pinned(content, "a", "2.0")],
            find=pool.path,
            architecture="amd64",
            epoch=0,
            signer=unsigned(tmp_path),
        )


def test_a_repository_verifies_with_its_key_and_no_agent_stays(pool: Pool, tmp_path: Path) -> None:
    content = deb("a")
    pool.add(io.BytesIO(content))
    signer = Signer(Home(tmp_path))
    for made in (tmp_path / "one", tmp_path / "two"):
        make_repository(
            made,
            [pinned(content)],
            find=pool.path,
            architecture="amd64",
            epoch=0,
            signer=signer,
        )
        command = ["gpgv", "--keyring", str(made / "archive.gpg")]
        release = str(made / "dists/bookworm/InRelease")
        subprocess.run([*command, release], check=True, capture_output=True)
    keys = [(tmp_path / name / "archive.gpg").read_bytes() for name in ("one", "two")]
    assert keys[0] == keys[1]
    assert (tmp_path / "keys/packages.key").stat().st_mode & 0o777 == 0o600


def test_what_is_installed_is_read_from_dpkgs_database() -> None:
    text = (
        "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\n"
        "Description: x\n Status: none\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n"
    )
    assert from_status(text) == [("a", "1.0", "all")]


def test_what_was_unpacked_is_read_from_dpkgs_log() -> None:
    text = (
        "2026-01-01 00:00:00 startup archives unpack\n"
        "2026-01-01 00:00:00 install b:amd64 <none> 1:2.0\n"
        "2026-01-01 00:00:00 status half-installed b:amd64 1:2.0\n"
        "2026-01-01 00:00:01 upgrade a:all 1.0 1.1\n"
        "2026-01-01 00:00:02 remove b:amd64 1:2.0 <none>\n"
    )
    assert from_log(text) == [("a", "1.1", "all"), ("b", "1:2.0", "amd64")]


def test_security_archives_are_known_by_their_suite(tmp_path: Path) -> None:
    lines = tmp_path / "sources.list"
    lines.write_text(
        "# ours\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example.org/s x main\n"
    )
    stanzas = tmp_path / "debian.sources"
    stanzas.write_text("Types: deb\n\n# two\nTypes: deb\nSigned-By: /two.gpg\n")
    found = security(
        [
            ["f", "http://mirror.example.org/debian/", "bookworm", "bookworm", "main", ""],
            ["f", "http://mirror.example.org/s/", "bookworm-security", "", "main", f"{lines}:2"],
            ["f", "http://mirror.example.org/s/", "bookworm-security", "", "contrib", f"{lines}:1"],
            [
                "f",
                "http://mirror.example.org/s/",
                "bookworm-security",
                "",
                "non-free",
                f"{stanzas}:2",
            ],
        ]
    )
    assert found == [
        "deb [signed-by=/k.gpg] http://mirror.example.org/s bookworm-security main",
        "deb [signed-by=/two.gpg] http://mirror.example.org/s bookworm-security non-free",
        "deb http://mirror.example.org/s bookworm-security contrib",
    ]

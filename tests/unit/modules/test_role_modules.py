# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts and modes that the roles' modules make."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.modules import (
    account_defaults,
    apt_sources,
    permissions_sweep,
    whole_files,
)

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def converted(text: str) -> list[str]:
    sources = apt_sources.merge(apt_sources.parse(text, "sources.list"))
    return [source.stanza(KEYRING) for source in sources]


def test_sources_that_differ_in_their_suite_become_one_entry() -> None:
    text = (
        "# Debian\n"
        "deb http://mirror.example.org/debian bookworm main contrib\n"
        "deb http://mirror.example.org/debian bookworm-updates main contrib # updates\n"
    )
    (stanza,) = converted(text)
    assert stanza.splitlines() == [
        "Types: deb",
        "URIs: http://mirror.example.org/debian",
        "Suites: bookworm bookworm-updates",
        "Components: main contrib",
        f"Signed-By: {KEYRING}",
    ]


def test_options_are_kept_and_a_named_keyring_wins() -> None:
    line = (
        "deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/x.gpg] http://mirror.example.org/ s/\n"
    )
    (stanza,) = converted(line)
    assert "Architectures: amd64 arm64\n" in stanza
    assert "Signed-By: /etc/apt/keyrings/x.gpg\n" in stanza
    assert KEYRING not in stanza
    assert "Components" not in stanza


def test_a_line_that_is_no_source_is_named() -> None:
    with pytest.raises(DriverError, match=r"sources.list:2: this is no package source: deb x"):
        apt_sources.parse("\ndeb x\n", "sources.list")


def test_login_defs_are_set_in_place_or_at_the_end() -> None:
    before = "# UMASK is a comment\nUMASK\t\t022\nPASS_MAX_DAYS 365\n"
    after = account_defaults.with_settings(
        before, {"UMASK": "027", "PASS_MAX_DAYS": "365", "NEW": "1"}
    )
    assert after == "# UMASK is a comment\nUMASK\t027\nPASS_MAX_DAYS 365\nNEW\t1\n"
    assert account_defaults.with_settings(after, {"UMASK": "027", "NEW": "1"}) == after


def test_a_setting_that_stands_twice_is_left_once() -> None:
    assert account_defaults.with_settings("UMASK 022\nUMASK 002\n", {"UMASK": "027"}) == (
        "UMASK\t027\n"
    )


def test_system_accounts_lose_their_shell_and_people_keep_it() -> None:
    passwd = (
        "root:x:0:0:root:/root:/bin/bash\n"
        "sync:x:4:65534:sync:/bin:/bin/sync\n"
        "postgres:x:101:101::/var/lib/postgresql:/bin/bash\n"
        "games:x:5:60:games:/usr/games:/usr/sbin/nologin\n"
        "ann:x:1000:1000::/home/ann:/bin/bash\n"
    )
    after = account_defaults.with_shells(passwd, "/usr/sbin/nologin", ["postgres"])
    assert after == passwd.replace("/bin/sync", "/usr/sbin/nologin")


@pytest.mark.parametrize(
    ("password", "locked"), [("*", "*"), ("!", "!"), ("!x", "!x"), ("$y$x", "!$y$x"), ("", "!")]
)
def test_no_password_opens_a_locked_account(password: str, locked: str) -> None:
    line = "root:{}:20000:0:99999:7:::\nann:$y$a:20000:0:99999:7:::\n"
    assert account_defaults.with_locked(line.format(password), "root") == line.format(locked)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (stat.S_IFREG | 0o4755, 0o755),
        (stat.S_IFREG | 0o2755, 0o755),
        (stat.S_IFREG | 0o666, 0o664),
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o777, 0o1777),
        (stat.S_IFDIR | 0o2775, 0o2775),
        (stat.S_IFLNK | 0o777, 0o777),
        (stat.S_IFCHR | 0o666, 0o666),
    ],
)
def test_modes_are_swept(before: int, after: int) -> None:
    assert permissions_sweep.swept_mode("/x", before, (), world_writable=True) == after


def test_allowed_programs_keep_their_bit() -> None:
    mode = stat.S_IFREG | 0o4755
    swept = permissions_sweep.swept_mode(
        "/usr/bin/sudo", mode, {"/usr/bin/sudo"}, world_writable=True
    )
    assert swept == 0o4755


def test_the_walk_gives_every_path_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/up").symlink_to(tmp_path)
    names = [
        os.path.relpath(name, tmp_path) for name, _status in permissions_sweep.walk(str(tmp_path))
    ]
    assert sorted(names) == ["a", "a/b", "a/b/file", "a/up"]


def test_overrides_replace_those_of_the_same_path() -> None:
    before = "root root 4755 /usr/bin/su\nroot mail 2755 /usr/bin/mail\n"
    after = permissions_sweep.with_overrides(before, {"/usr/bin/su": "root root 755"})
    assert after == "root mail 2755 /usr/bin/mail\nroot root 755 /usr/bin/su\n"


def entry(kind: str, mode: int = 0, content: bytes = b"") -> whole_files.Entry:
    return whole_files.Entry(kind, mode, os.getuid(), os.getgid(), content)


@pytest.mark.parametrize(
    "after",
    [
        entry("file", 0o640, b"one\n"),
        entry("link", whole_files.LINK_MODE, b"/usr/share/zoneinfo/UTC"),
        entry("directory", 0o750),
        whole_files.ABSENT,
    ],
    ids=lambda each: each.kind,
)
@pytest.mark.parametrize("first", ["nothing", "file", "link"])
def test_what_is_put_is_what_is_observed(
    tmp_path: Path, first: str, after: whole_files.Entry
) -> None:
    path = tmp_path / "below" / "x"
    path.parent.mkdir()
    if first == "file":
        path.write_text("zero\n")
    elif first == "link":
        path.symlink_to("elsewhere")
    whole_files.put(path, whole_files.observe(path), after)
    assert whole_files.observe(path) == after
    whole_files.put(path, whole_files.observe(path), after)
    assert whole_files.observe(path) == after


def test_a_directory_does_not_become_a_file(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is a directory"):
        whole_files.put(tmp_path, whole_files.observe(tmp_path), entry("file", 0o644))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that reads an instance."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import (
    Instance,
    Reader,
    declared_state,
    find_instances,
    read_answer,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.reading import (
    Mount,
    ReadingError,
    Target,
    packages_of,
    read_instance,
    read_mounts,
    walk,
)

ID = "c0ffee" * 10 + "beef"
MOUNTS = r"""
612 611 0:53 / / ro,relatime master:1 - overlay overlay rw,lowerdir=/a
613 612 0:56 / /proc rw,nosuid - proc proc rw
614 612 0:57 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
615 612 254:0 /v /srv/with\040space rw,relatime - ext4 /dev/vda rw
616 612 0:58 / /srv/with\040space rw,relatime - tmpfs tmpfs rw
"""


def test_mounts_are_read_as_the_kernel_writes_them() -> None:
    found = {one.path: one for one in read_mounts(MOUNTS.strip())}
    assert found[""] == Mount("", "overlay", ("ro", "relatime"))
    assert found["srv/with space"].type == "tmpfs"


def test_packages_are_those_that_are_installed() -> None:
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n"
        "Description: GNU\n Version: no field\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    )
    assert packages_of(status) == {"libc6:amd64": "2.36-9"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with one of each."""
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc" / "passwd").write_bytes(b"root")
    (top / "etc" / "link").symlink_to("/etc/passwd")
    (top / "srv").mkdir()
    (top / "srv" / "state").write_bytes(b"x")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(top)
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
    return top


def test_every_name_is_found_but_what_is_left_out(root: Path) -> None:
    found = walk(f"{root}/", frozenset({"srv/state"}))
    kinds = {row[0]: row[1] for row in found.rows}
    assert kinds == {
        "": "directory",
        "etc": "directory",
        "etc/passwd": "file",
        "etc/link": "symlink",
        "srv": "directory",
        "pipe": "fifo",
        "socket": "socket",
    }
    (passwd,) = (row for row in found.rows if row[0] == "etc/passwd")
    assert passwd[6] == "sha256:" + hashlib.sha256(b"root").hexdigest()
    (link,) = (row for row in found.rows if row[0] == "etc/link")
    assert link[7] == "/etc/passwd"


def test_a_flipped_byte_is_found_although_its_times_are_as_before(root: Path) -> None:
    path = root / "etc" / "passwd"
    before = path.stat()
    old = {row[0]: row for row in walk(f"{root}/", frozenset()).rows}
    path.write_bytes(b"rooT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = {row[0]: row for row in walk(f"{root}/", frozenset()).rows}
    assert {name for name in old if old[name] != new[name]} == {"etc/passwd"}


def test_names_that_are_no_utf8_come_through(root: Path) -> None:
    with open(os.fsencode(root) + b"/\xff", "wb"):
        pass
    rows = walk(f"{root}/", frozenset()).rows
    content = json.dumps(
        {
            "form": 1,
            "entries": rows,
            "unreadable": [],
            "mounts": [["", "overlay", ["rw"]]],
            "packages": {},
            "processes": [],
        }
    )
    assert "\udcff" in read_answer(content.encode()).entries


@pytest.fixture
def proc(tmp_path: Path, root: Path) -> Path:
    """Return a /proc with an instance of two processes, one that was entered, and a stranger."""
    top = tmp_path / "proc"
    program = root / "etc" / "passwd"

    def add(pid: int, parent: int, group: str, space: str) -> None:
        folder = top / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "pid").symlink_to(space)
        (folder / "cgroup").write_text(f"0::/{group}\n")
        (folder / "mountinfo").write_text(MOUNTS.strip())
        (folder / "exe").symlink_to(program)
        (folder / "root").symlink_to(root)
        (folder / "cmdline").write_text("app\0-x\0")
        (folder / "status").write_text(
            f"Name:\tapp\nState:\tS (sleeping)\nPPid:\t{parent}\nUid:\t33\t33\t33\t33\n"
            f"NSpid:\t{pid}\t{pid - 100}\n"
        )
        (folder / "maps").write_text(
            f"1-2 r-xp 00000000 fe:00 9 {program}\n"
            "2-3 r-xp 00000000 fe:00 8                  /usr/lib/x.so (deleted)\n"
            "3-4 rw-p 00000000 fe:00 7                  /usr/lib/data\n"
            "4-5 r-xp 00000000 00:00 0                  [vdso]\n"
        )

    add(101, 50, f"docker/{ID}", "pid:[1]")
    add(102, 101, f"docker/{ID}", "pid:[1]")
    add(103, 51, f"docker/{ID}", "pid:[1]")
    add(104, 52, "docker/other", "pid:[1]")
    add(105, 1, "user", "pid:[2]")
    (top / "self").mkdir()
    return top


def test_the_processes_of_an_instance_are_told_apart_from_others(proc: Path) -> None:
    answer = read_instance(Target(ID, 101, str(proc)), ["srv/state"])
    told = {one["pid"]: one["entered"] for one in answer["processes"]}
    assert told == {1: False, 2: False, 3: True, 4: True}
    first = answer["processes"][0]
    assert first["argv"] == ["app", "-x"]
    assert first["uid"] == 33
    assert first["mapped"] == ["/usr/lib/x.so (deleted)"]
    assert first["digest"] == "sha256:" + hashlib.sha256(b"root").hexdigest()


def test_a_process_that_is_somebody_elses_by_now_is_not_read(proc: Path) -> None:
    with pytest.raises(ReadingError, match="restarted"):
        read_instance(Target(ID, 105, str(proc)), [])
    with pytest.raises(ReadingError, match="stopped"):
        read_instance(Target(ID, 999, str(proc)), [])


def test_state_is_what_the_image_declares() -> None:
    labels = {"io.kiln.state": '[{"path": "/run/app", "kind": "tmpfs"}]'}
    assert declared_state(labels, {"/srv/data": {}}) == {"run/app", "srv/data"}
    with pytest.raises(DriverError, match="malformed"):
        declared_state({"io.kiln.state": "["}, None)


DOCUMENT = {"Id": ID, "Name": "/web-1", "Image": "sha256:1", "State": {"Running": True, "Pid": 9}}


def test_a_reader_that_fails_is_no_clean_instance() -> None:
    def runner(argv: object, **_more: object) -> Completed:
        return Completed(1, b"", b"It was restarted just now.\n")

    reader = Reader("toolbox", runner=runner)
    with pytest.raises(DriverError, match=r"web-1 could not be read: It was restarted"):
        reader.read(Instance.from_document(DOCUMENT), frozenset())


def test_an_answer_that_was_cut_off_is_no_clean_instance() -> None:
    with pytest.raises(DriverError, match="malformed"):
        read_answer(b'{"form": 1, "entries": [')


def test_an_instance_that_is_not_there_is_an_error() -> None:
    def runner(argv: object, **_more: object) -> Completed:
        return Completed(1, b"[]", b"Error: No such container: web-9\n")

    with pytest.raises(DriverError, match="web-9"):
        find_instances(["web-9"], runner=runner)

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In what an instance differs from its version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.drift.comparison import (
    Expectation,
    compare,
    compare_files,
    is_below,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.engine_made import engine_files
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import Finding, Kind
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import (
    Instance,
    Observed,
    Process,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.manifest import Entry, Manifest
from ansible_collections.kiln.immutable.plugins.module_utils.drift.reading import Mount
from hypothesis import given
from hypothesis import strategies as st

IMAGE = "sha256:" + "a" * 64
PROGRAM = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


def file(path: str, digest: str = PROGRAM, mode: int = 0o644, **more: Any) -> Entry:
    """Return a file of root's."""
    return Entry(path, "file", mode, 0, 0, 4, digest, "", (0, 0), ())._replace(**more)


def folder(path: str) -> Entry:
    """Return a directory of root's."""
    return Entry(path, "directory", 0o755, 0, 0, 0, None, "", (0, 0), ())


def by_path(*entries: Entry) -> dict[str, Entry]:
    """Return entries as a manifest has them."""
    return {one.path: one for one in entries}


WANTED = by_path(folder("usr"), file("usr/app", mode=0o755), folder("etc"), file("etc/passwd"))


def instance(**host: Any) -> Instance:
    """Return a running container of the image."""
    document = {
        "Id": "c" * 64,
        "Name": "/web-1",
        "Image": IMAGE,
        "State": {"Running": True, "Pid": 7},
        "HostConfig": host,
    }
    return Instance.from_document(document)


def process(**more: Any) -> Process:
    """Return the version's own program, running."""
    return replace(Process(1, 33, "/usr/app", False, PROGRAM, ("app",)), **more)


def found(observed: Observed, **more: Any) -> list[Finding]:
    """Return in what *observed* differs from the version."""
    expected = Expectation("web 1.0.1", Manifest(WANTED, {"libc6:amd64": "2"}), frozenset({IMAGE}))
    return compare(replace(expected, **more), instance(), observed)


CLEAN = Observed(WANTED, {"libc6:amd64": "2"}, {"": Mount("", "overlay", ("ro",))}, (process(),))


def test_an_instance_as_its_version_is_no_finding() -> None:
    assert found(CLEAN) == []


def test_what_the_engine_makes_is_no_finding() -> None:
    mounts = {
        "": Mount("", "overlay", ("ro",)),
        "dev": Mount("dev", "tmpfs", ("rw",)),
        "proc/keys": Mount("proc/keys", "tmpfs", ("rw",)),
        "etc/hosts": Mount("etc/hosts", "ext4", ("ro",)),
    }
    entries = {**WANTED, **engine_files(mounts, WANTED)}
    assert found(replace(CLEAN, entries=entries, mounts=mounts)) == []


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        (".dockerenv", file(".dockerenv", mode=0o755)),
        ("dev/null", file("dev/null")),
        ("dev/shm/hidden", file("dev/shm/hidden")),
        ("etc/mtab", Entry("etc/mtab", "symlink", 0o777, 0, 0, 0, None, "/x", (0, 0), ())),
    ],
)
def test_what_the_engine_makes_must_be_just_that(path: str, entry: Entry) -> None:
    mounts = {"dev": Mount("dev", "tmpfs", ("rw",)), "dev/shm": Mount("dev/shm", "tmpfs", ("rw",))}
    entries = {**WANTED, **engine_files(mounts, WANTED), path: entry}
    (one,) = found(replace(CLEAN, entries=entries, mounts=mounts))
    assert one.subject == f"/{path}"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"digest": OTHER}, "content"),
        ({"mode": 0o4755}, "mode 0755 -> 4755"),
        ({"uid": 1000}, "owner 0:0 -> 1000:0"),
        ({"xattrs": (("security.capability", "x"),)}, "security.capability added"),
        ({"type": "fifo", "digest": None}, "file -> fifo"),
    ],
)
def test_each_change_of_a_file_is_told(change: dict[str, Any], detail: str) -> None:
    changed = {**WANTED, "usr/app": WANTED["usr/app"]._replace(**change)}
    assert found(replace(CLEAN, entries=changed)) == [
        Finding(Kind.FILE, "/usr/app", "changed", detail)
    ]


def test_a_file_that_cannot_be_read_is_never_taken_for_unchanged() -> None:
    (one,) = found(replace(CLEAN, unreadable={"etc/passwd": "Input/output error"}))
    assert (one.subject, one.how) == ("/etc/passwd", "changed")


def test_packages_are_compared_by_version() -> None:
    packages = {"libc6:amd64": "3", "netcat:amd64": "1"}
    assert found(replace(CLEAN, packages=packages)) == [
        Finding(Kind.PACKAGE, "libc6:amd64", "changed", "2 -> 3"),
        Finding(Kind.PACKAGE, "netcat:amd64", "added", "1"),
    ]


@pytest.mark.parametrize(
    ("change", "hows"),
    [
        ({"deleted": True}, ["deleted"]),
        ({"digest": OTHER}, ["replaced"]),
        ({"deleted": True, "digest": OTHER}, ["deleted", "replaced"]),
        ({"exe": "/run/x"}, ["foreign"]),
        ({"exe": "/usr"}, ["foreign", "replaced"]),
        ({"mapped": ("/run/evil.so",)}, ["foreign"]),
        ({"mapped": ("/usr/app (deleted)",)}, ["deleted"]),
        ({"mapped": ("/usr/app",)}, []),
        ({"entered": True}, ["entered"]),
    ],
)
def test_each_way_of_a_process_to_be_another_one_is_told(
    change: dict[str, Any], hows: list[str]
) -> None:
    told = found(replace(CLEAN, processes=(process(**change),)))
    assert [one.how for one in told] == hows
    assert {one.kind for one in told} <= {Kind.PROCESS}


def test_a_health_check_may_enter() -> None:
    entered = process(entered=True, argv=("app", "check"))
    assert found(replace(CLEAN, processes=(entered,)), commands=(("app", "check"),)) == []
    script = replace(entered, argv=("/bin/sh", "app", "check"))
    assert found(replace(CLEAN, processes=(script,)), commands=(("app", "check"),)) == []
    other = replace(entered, argv=("/bin/sh", "-c", "app", "check"))
    assert found(replace(CLEAN, processes=(other,)), commands=(("app", "check"),)) != []


def test_an_undeclared_mount_is_told_and_a_declared_one_is_not() -> None:
    mounts = {**CLEAN.mounts, "srv": Mount("srv", "ext4", ("rw",))}
    told = found(replace(CLEAN, mounts=mounts))
    assert told == [Finding(Kind.MOUNT, "/srv", "added", "ext4, rw")]
    assert found(replace(CLEAN, mounts=mounts), state=frozenset({"srv"})) == []


def test_a_program_in_memory_that_lies_over_proc_is_told() -> None:
    mounts = {**CLEAN.mounts, "proc/x": Mount("proc/x", "ext4", ("rw",))}
    assert [one.subject for one in found(replace(CLEAN, mounts=mounts))] == ["/proc/x"]


def test_a_root_that_was_made_writable_is_told() -> None:
    observed = replace(CLEAN, mounts={"": Mount("", "overlay", ("rw",))})
    expected = Expectation("web 1.0.1", Manifest(WANTED, CLEAN.packages), frozenset({IMAGE}))
    (one,) = compare(expected, instance(ReadonlyRootfs=True), observed)
    assert (one.kind, one.subject) == (Kind.MOUNT, "/")


def test_another_image_is_told() -> None:
    (one,) = found(CLEAN, images=frozenset({OTHER}))
    assert one.kind is Kind.IMAGE


def test_directories_that_lead_to_a_mount_are_the_engines() -> None:
    mounts = {"srv/app/data": Mount("srv/app/data", "ext4", ("rw",))}
    entries = {**WANTED, "srv": folder("srv"), "srv/app": folder("srv/app")}
    observed = Observed(entries, {}, mounts)
    assert list(compare_files(WANTED, observed, frozenset({"srv/app/data"}))) == []


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
entries = st.builds(
    Entry,
    path=st.just(""),
    type=st.sampled_from(["file", "directory", "symlink"]),
    mode=st.sampled_from([0o644, 0o755, 0o4755]),
    uid=st.integers(0, 2),
    gid=st.integers(0, 2),
    size=st.integers(0, 9),
    digest=st.sampled_from([PROGRAM, OTHER]),
    link=st.sampled_from(["", "x"]),
    device=st.just((0, 0)),
    xattrs=st.sampled_from([(), (("user.a", "b"),)]),
)
roots = st.dictionaries(paths, entries, max_size=12).map(
    lambda found: {path: entry._replace(path=path) for path, entry in found.items()}
)


def told_of(wanted: dict[str, Entry], seen: dict[str, Entry], *state: str) -> set[str]:
    """Return the paths of which anything is told."""
    observed = Observed(seen, {})
    return {one.subject[1:] for one in compare_files(wanted, observed, frozenset(state))}


def differ(before: Entry | None, after: Entry | None) -> bool:
    """Say whether two entries differ in something that a container keeps; sizes follow content."""
    if before is None or after is None:
        return before is not after
    if before.type != after.type:
        return True
    return before._replace(size=0) != after._replace(size=0)


@given(roots)
def test_a_root_never_differs_from_itself(root: dict[str, Entry]) -> None:
    assert told_of(root, root) == set()


@given(roots, roots)
def test_just_what_differs_is_told(wanted: dict[str, Entry], seen: dict[str, Entry]) -> None:
    different = {path for path in {*wanted, *seen} if differ(wanted.get(path), seen.get(path))}
    assert told_of(wanted, seen) == different


@given(roots, roots, paths)
def test_nothing_is_told_of_state_and_all_of_the_rest(
    wanted: dict[str, Entry], seen: dict[str, Entry], state: str
) -> None:
    declared = frozenset({state})
    kept = {path for path in told_of(wanted, seen) if not is_below(path, declared)}
    assert told_of(wanted, seen, state) == kept
    assert not any(f"{path}/".startswith(f"{state}/") for path in kept)

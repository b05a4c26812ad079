# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing a catalog that a team shares: nobody's change is lost, and none is half made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    promote,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.transaction import Change
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def write(catalog: Catalog, path: str, content: str | None, message: str = "a change") -> bool:
    made = None if content is None else content.encode()
    return catalog.change(lambda: Change({path: made}, message))


def test_a_change_is_a_commit_that_says_who_what_and_why(shelf: Any) -> None:
    catalog = shelf.catalog()
    shelf.record(catalog, 1)
    promote(catalog, Promotion("web", "The header is right again.", channel="dev"))
    said = shelf.git(catalog, "log", "-1", "--format=%an <%ae>%n%B")
    assert said == "kiln <kiln@localhost>\nweb 1.0.1 to dev\n\nThe header is right again."
    assert shelf.git(catalog, "status", "--porcelain") == ""


def test_what_is_as_it_should_be_makes_no_commit(shelf: Any) -> None:
    catalog = shelf.catalog()
    assert write(catalog, "a.yml", "one\n")
    assert not write(catalog, "a.yml", "one\n")
    assert not write(catalog, "b.yml", None)
    assert shelf.git(catalog, "rev-list", "--count", "HEAD") == "1"


def test_the_first_change_of_a_team_fills_its_empty_remote(shelf: Any) -> None:
    catalog = shelf.catalog("one", shared=True)
    write(catalog, "a.yml", "one\n")
    assert shelf.git(shelf.remote, "show", "main:a.yml") == "one"


def test_another_machine_gets_what_is_there_and_adds_to_it(shelf: Any) -> None:
    one, two = shelf.catalog("one", shared=True), shelf.catalog("two", shared=True)
    assert shelf.record(one, 1).number == "1.0.1"
    assert shelf.record(two, 2).number == "1.0.2"
    assert shelf.record(two, 1).number == "1.0.1"
    one.pull()
    assert [str(number) for number in one.numbers("web")] == ["1.0.1", "1.0.2"]
    assert shelf.git(one, "status", "--porcelain") == ""


def test_the_branch_is_the_one_that_the_remote_has(shelf: Any) -> None:
    shelf.git(shelf.remote, "symbolic-ref", "HEAD", "refs/heads/trunk")
    seed = shelf.folder / "seed"
    subprocess.run(["git", "clone", "--quiet", str(shelf.remote), str(seed)], check=True)
    shelf.git(
        seed,
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "s",
    )
    shelf.git(seed, "push", "--quiet", "origin", "HEAD:trunk")
    write(shelf.catalog("one", shared=True), "a.yml", "one\n")
    assert shelf.git(shelf.remote, "show", "trunk:a.yml") == "one"


def test_a_clone_that_was_made_by_hand_uses_its_own_origin(shelf: Any) -> None:
    write(shelf.catalog("one", shared=True), "a.yml", "one\n")
    clone = shelf.folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(shelf.remote), str(clone)], check=True)
    write(Catalog(clone), "b.yml", "two\n")
    assert shelf.git(shelf.remote, "show", "main:b.yml") == "two"


def test_a_refused_push_is_planned_anew_on_what_is_there_then(shelf: Any) -> None:
    one, two = shelf.catalog("one", shared=True), shelf.catalog("two", shared=True)
    write(one, "count.yml", "0\n")
    two.pull()
    asked = []

    def plan() -> Change:
        asked.append(1)
        if len(asked) == 1:
            write(two, "count.yml", "1\n")
        count = int((one.root / "count.yml").read_text())
        return Change({"count.yml": f"{count + 1}\n".encode()}, "one more")

    assert one.change(plan)
    assert len(asked) == 2
    assert shelf.git(shelf.remote, "show", "main:count.yml") == "2"


def test_what_cannot_be_planned_any_more_says_what_came_between(shelf: Any) -> None:
    one, two = shelf.catalog("one", shared=True), shelf.catalog("two", shared=True)
    write(one, "a.yml", "free\n")
    two.pull()
    asked = []

    def plan() -> Change:
        asked.append(1)
        if len(asked) == 1:
            write(two, "a.yml", "taken\n", "Take it")
        if (one.root / "a.yml").read_text() != "free\n":
            raise DriverError("It is taken.")
        return Change({"a.yml": b"mine\n"}, "mine")

    with pytest.raises(DriverError, match=r"changed meanwhile \(kiln: Take it\), and now: It is"):
        one.change(plan)
    assert shelf.git(one, "status", "--porcelain") == ""


def test_histories_that_differ_in_other_files_are_joined(shelf: Any) -> None:
    one, two = shelf.catalog("one"), shelf.catalog("two", shared=True)
    write(one, "mine.yml", "one\n")
    write(two, "theirs.yml", "two\n")
    write(Catalog(one.root, remote=str(shelf.remote)), "c.yml", "three\n")
    listing = shelf.git(shelf.remote, "ls-tree", "--name-only", "main")
    assert listing.split() == ["c.yml", "mine.yml", "theirs.yml"]
    assert shelf.git(one, "status", "--porcelain") == ""


def test_histories_that_differ_in_the_same_file_are_explained(shelf: Any) -> None:
    one, two = shelf.catalog("one"), shelf.catalog("two", shared=True)
    shelf.record(one, 1)
    shelf.record(two, 2)
    shared = Catalog(one.root, remote=str(shelf.remote))
    with pytest.raises(DriverError, match=r"differ in images/web/versions/1.0.1.yml") as failed:
        shelf.record(shared, 3)
    assert "pull --no-rebase" in failed.value.hint
    assert [str(number) for number in one.numbers("web")] == ["1.0.1"]


def test_a_remote_that_takes_nothing_is_named_at_once(shelf: Any) -> None:
    hook = shelf.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(DriverError, match=r"remote refused the change.*hook declined"):
        write(shelf.catalog("one", shared=True), "a.yml", "one\n")


def test_a_remote_that_is_not_there_is_named(shelf: Any) -> None:
    catalog = Catalog(shelf.folder / "one", remote=str(shelf.folder / "nowhere"))
    with pytest.raises(DriverError, match="nowhere cannot be reached") as failed:
        write(catalog, "a.yml", "one\n")
    assert "KILN_CATALOG_REMOTE" in failed.value.hint


def test_what_is_edited_and_not_committed_is_not_overwritten(shelf: Any) -> None:
    catalog = shelf.catalog()
    write(catalog, "a.yml", "one\n")
    (catalog.root / "a.yml").write_text("edited\n")
    with pytest.raises(DriverError, match=r"a.yml in .* has changes that are not committed"):
        write(catalog, "a.yml", "two\n")
    assert (catalog.root / "a.yml").read_text() == "edited\n"


def test_commits_are_signed_when_git_is_set_up_to(
    shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = shelf.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = shelf.folder / "allowed"
    allowed.write_text(f"kiln@localhost {key.with_suffix('.pub').read_text()}")
    settings = {
        "commit.gpgSign": "true",
        "gpg.format": "ssh",
        "user.signingKey": str(key),
        "gpg.ssh.allowedSignersFile": str(allowed),
    }
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    catalog = shelf.catalog()
    write(catalog, "a.yml", "one\n")
    assert shelf.git(catalog, "log", "-1", "--format=%G?") == "G"
    key.unlink()
    with pytest.raises(DriverError, match="could not write and sign a commit"):
        write(catalog, "a.yml", "two\n")


def test_a_lock_that_a_dead_process_left_is_taken_away(shelf: Any) -> None:
    catalog = shelf.catalog()
    write(catalog, "a.yml", "one\n")
    before = shelf.git(catalog, "rev-parse", "HEAD")
    write(catalog, "a.yml", "two\n")
    after = shelf.git(catalog, "rev-parse", "HEAD")
    folder = catalog.root / ".git"
    shelf.git(catalog, "reset", "--quiet", "--hard", before)
    (folder / "kiln.pending").write_text(
        f'{{"branch": "main", "old": "{before}", "new": "{after}"}}'
    )
    (folder / "index.lock").touch()
    (folder / "refs" / "heads" / "main.lock").touch()
    write(catalog, "b.yml", "three\n")
    assert (catalog.root / "a.yml").read_text() == "two\n"
    assert shelf.git(catalog, "status", "--porcelain") == ""


def test_a_lock_from_before_the_machine_started_is_taken_away(shelf: Any) -> None:
    catalog = shelf.catalog()
    write(catalog, "a.yml", "one\n")
    lock = catalog.root / ".git" / "index.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    write(catalog, "a.yml", "two\n")
    assert not lock.exists()
    assert (catalog.root / "a.yml").read_text() == "two\n"


def promote_one(folder: Path, remote: str, number: int) -> str:
    catalog = Catalog(folder / f"machine{number}", remote=remote)
    wanted = Promotion("web", f"reason {number}", version=f"1.0.{number}", channel="dev")
    return promote(catalog, wanted).version


@pytest.mark.parametrize("own_clones", [True, False])
def test_ten_promoters_at_once_make_ten_commits(shelf: Any, own_clones: bool) -> None:
    first = shelf.catalog("first", shared=True)
    for number in range(1, 11):
        shelf.record(first, number)
    if own_clones:
        for number in range(1, 11):
            shutil.copytree(first.root, shelf.folder / f"machine{number}")
    else:
        for number in range(1, 11):
            (shelf.folder / f"machine{number}").symlink_to(first.root)
    before = int(shelf.git(shelf.remote, "rev-list", "--count", "main"))
    with ProcessPoolExecutor(10) as pool:
        numbers = range(1, 11)
        done = list(pool.map(promote_one, [shelf.folder] * 10, [str(shelf.remote)] * 10, numbers))
    assert sorted(done) == sorted(f"1.0.{number}" for number in numbers)
    assert int(shelf.git(shelf.remote, "rev-list", "--count", "main")) == before + 10
    first.pull()
    moves = first.channels("web")["dev"].moves
    assert {move.reason for move in moves} == {f"reason {number}" for number in numbers}
    assert len(moves) == 10
    assert shelf.git(first, "status", "--porcelain") == ""


KILLED = """
import os, shutil, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion, Withdrawal, promote, revoke
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog

folder, what, shared = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"


def change(step):
    seen = 0

    def watch(event, arguments):
        # Every program that is started, and every file that is written, moved or removed.
        nonlocal seen
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in ("subprocess.Popen", "os.rename", "os.remove") or writes:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    remote = str(folder / f"bare{step}.git") if shared else ""
    catalog = Catalog(
        folder / f"kill{step}", remote=remote, now=lambda: datetime(2026, 8, 1, tzinfo=UTC)
    )
    sys.addaudithook(watch)
    if what == "promote":
        promote(catalog, Promotion("web", "why", version="1.0.2", channel="dev"))
    else:
        revoke(catalog, Withdrawal("web", "1.0.1", "bad", move_to="1.0.2"))


step, killed = 0, True
while killed:
    step += 1
    shutil.copytree(folder / "start", folder / f"kill{step}")
    if shared:
        shutil.copytree(folder / "remote.git", folder / f"bare{step}.git")
    child = os.fork()
    if child == 0:
        change(step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0
print(step)
"""


@pytest.mark.parametrize(("what", "shared"), [("promote", True), ("revoke", False)])
def test_a_kill_at_any_step_leaves_a_whole_catalog(
    shelf: Any, shared: bool, what: str, checkout: Path
) -> None:
    """Each kill meets a catalog as it was before; the next change then finds nothing amiss."""
    start = shelf.catalog("start", shared=shared)
    for number in (1, 2):
        shelf.record(start, number)
    promote(start, Promotion("web", "first", version="1.0.1", channel="dev"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(shelf.folder), what, str(shared)],
        env={**os.environ, "PYTHONPATH": str(checkout / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 15
    for step in range(1, steps + 1):
        remote = str(shelf.folder / f"bare{step}.git") if shared else ""
        catalog = Catalog(shelf.folder / f"kill{step}", remote=remote)
        write(catalog, "next.yml", "a next change\n")
        assert shelf.git(catalog, "status", "--porcelain") == ""
        shelf.git(catalog, "fsck", "--strict", "--connectivity-only")
        moved = catalog.channels("web")["dev"].version == "1.0.2"
        assert set(catalog.revoked("web")) == ({"1.0.1"} if moved and what == "revoke" else set())
        assert moved or step < steps
        if shared:
            head = shelf.git(catalog, "rev-parse", "HEAD")
            assert shelf.git(Path(remote), "rev-parse", "main") == head

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions and their keeper, with real processes and a docker that records what it is told."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.session import (
    Session,
    find_session,
    keep_failed,
    open_session,
    reap_sessions,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for

DOCKER = """#!{python}
import json, os, sys
top = os.path.dirname(os.path.abspath(__file__))
with open(top + "/calls", "a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
if os.path.exists(top + "/away"):
    sys.exit("Cannot connect to the Docker daemon")
if sys.argv[1] == "ps":
    print(open(top + "/containers").read(), end="")
if sys.argv[1:3] == ["image", "ls"]:
    print(open(top + "/images").read(), end="")
"""


class Docker:
    """The program on the PATH: what it has, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.containers()
        self.images()
        program = folder / "docker"
        program.write_text(DOCKER.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def containers(self, *names: str) -> None:
        (self.folder / "containers").write_text("".join(f"{name}\n" for name in names))

    def images(self, *names: str) -> None:
        (self.folder / "images").write_text("".join(f"{name}\n" for name in names))

    def away(self) -> None:
        (self.folder / "away").touch()

    @property
    def calls(self) -> list[list[str]]:
        calls = self.folder / "calls"
        return (
            [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        )

    def removed(self) -> list[str]:
        return [name for call in self.calls if call[0] == "rm" for name in call[3:]]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Docker(folder)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(str(tmp_path / "home"), {})


Bake = tuple[subprocess.Popen[bytes], Session]


@contextmanager
def bake(home: Home) -> Iterator[Bake]:
    """Run a process that stands for ansible-playbook, with a session of its own."""
    with subprocess.Popen(["sleep", "600"]) as main:
        try:
            yield main, open_session(home, main_pid=main.pid)
        finally:
            main.kill()


def end(main: subprocess.Popen[bytes], session: Session) -> None:
    """Kill the main process and wait until its keeper is done: it has let the lock go."""
    main.kill()
    main.wait()
    wait_for("the keeper", lambda: lock_is_free(session.folder) or None, timeout=30, interval=0.02)


def lock_is_free(folder: Path) -> bool:
    try:
        fd = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return not folder.exists()  # the lock may go before the folder that it is in
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def keepers(folder: Path) -> list[int]:
    """Return the IDs of the processes that were started with *folder* as an argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(folder) in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def test_an_open_session_is_guarded(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        assert session.is_open
        assert not lock_is_free(session.folder)
        assert find_session(home, session.id) == session
        assert stat.S_IMODE(session.folder.stat().st_mode) == 0o700
        end(main, session)


def test_when_the_main_process_ends_the_folder_and_the_containers_go(
    home: Home, docker: Docker
) -> None:
    with bake(home) as (main, session):
        docker.containers("c1", "c2")
        docker.images(f"kiln-chain:web-{session.id}")
        end(main, session)
    assert not session.folder.exists()
    assert ["ps", "--all", "--quiet", "--filter", f"label={session.label}"] in docker.calls
    assert docker.removed() == ["c1", "c2"]
    removed = [call for call in docker.calls if call[:2] == ["image", "rm"]]
    assert [call[-1] for call in removed] == [f"kiln-chain:web-{session.id}"]


def test_a_session_without_containers_removes_none(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        end(main, session)
    assert docker.removed() == []


def test_an_interrupt_does_not_reach_the_keeper(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        (keeper,) = keepers(session.folder)
        assert os.getpgid(keeper) != os.getpgid(0)
        main.send_signal(signal.SIGINT)
        end(main, session)
    assert not session.folder.exists()


def test_a_main_process_that_is_gone_already_is_tidied_up_after(home: Home, docker: Docker) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    docker.containers("c1")
    session = open_session(home, main_pid=gone.pid)
    wait_for("the end", lambda: not session.folder.exists() or None, timeout=30, interval=0.02)
    assert docker.removed() == ["c1"]


def test_a_kept_container_stays_and_so_does_its_session(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        docker.containers("0123456789ab", "c2")
        session.keep("0123456789abcdef0123")
        end(main, session)
    assert docker.removed() == ["c2"]
    assert (session.folder / "kept").exists()


def test_without_an_engine_the_folder_stays_for_the_next_bake(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        docker.away()
        end(main, session)
    assert session.folder.exists()
    assert not session.is_open
    (docker.folder / "away").unlink()
    docker.containers("c1")
    assert reap_sessions(home, Engine()) == [session.id]
    assert docker.removed() == ["c1"]
    assert not session.folder.exists()


def test_a_task_that_outlives_the_bake_cannot_bring_its_folder_back(
    home: Home, docker: Docker
) -> None:
    with bake(home) as (main, session):
        session.write("web", {"status": "building"})
        end(main, session)
    with pytest.raises(DriverError, match="has ended"):
        session.write("web", {"status": "sealed"})
    assert not session.folder.exists()
    assert session.read("web") == {}


def test_a_session_that_is_over_is_not_found(home: Home) -> None:
    with pytest.raises(DriverError, match="The bake 5e55 is not going on any more"):
        find_session(home, "5e55")


def test_what_is_written_is_added_to_what_is_there(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        session.write("web", {"status": "planned", "keys": ["a"]})
        session.write("web", {"status": "building"})
        assert session.read("web") == {"status": "building", "keys": ["a"]}
        assert session.read("other") == {}
        session.forget("web")
        session.forget("web")
        assert session.read("web") == {}
        end(main, session)


def test_a_bake_that_goes_on_is_not_reaped(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        assert reap_sessions(home, Engine()) == []
        assert session.folder.exists()
        end(main, session)
    assert docker.removed() == []


def dead(home: Home, name: str, **files: str) -> Path:
    folder = home.sessions / name
    folder.mkdir(parents=True)
    for file, content in {"lock": "", **files}.items():
        (folder / file.replace("_", ".")).write_text(content)
    return folder


def test_dead_sessions_are_reaped(home: Home, docker: Docker) -> None:
    folders = [dead(home, name) for name in ("a", "b")]
    assert reap_sessions(home, Engine()) == ["a", "b"]
    assert not any(folder.exists() for folder in folders)


def test_a_home_without_sessions_has_none_to_reap(home: Home, docker: Docker) -> None:
    assert reap_sessions(home, Engine()) == []


def test_a_dead_session_that_kept_something_stays(home: Home, docker: Docker) -> None:
    folder = dead(home, "a", kept="c1\n")
    docker.containers("c1")
    assert reap_sessions(home, Engine()) == []
    assert folder.exists()


def test_when_a_kept_container_was_removed_its_session_goes_too(home: Home, docker: Docker) -> None:
    folder = dead(home, "a", kept="c1\n")
    docker.images("kiln-chain:web-a")
    assert reap_sessions(home, Engine()) == ["a"]
    assert not folder.exists()
    assert ["image", "rm", "--no-prune", "kiln-chain:web-a"] in docker.calls


@pytest.mark.parametrize(("age", "reaped"), [(0, []), (3600, ["a"])])
def test_a_session_without_its_lock_yet_has_time_to_take_it(
    home: Home, docker: Docker, age: int, reaped: list[str]
) -> None:
    folder = dead(home, "a")
    (folder / "lock").unlink()
    then = time.time() - age
    os.utime(folder, (then, then))
    assert reap_sessions(home, Engine()) == reaped


def test_a_failed_container_gets_a_name_that_is_easy_to_type(home: Home, docker: Docker) -> None:
    with bake(home) as (main, session):
        older = dead(home, "older", kept="c0\n", web_json="{}")
        other = dead(home, "other", kept="c9\n", db_json="{}")
        assert keep_failed(session, Engine(), home, "web", "c1") == "kiln-failed-web"
        assert docker.removed() == ["kiln-failed-web"]
        assert ["rename", "c1", "kiln-failed-web"] in docker.calls
        assert (session.folder / "kept").read_text() == "c1\n"
        assert not older.exists()
        assert other.exists()
        end(main, session)


def test_a_bake_that_goes_on_beside_keeps_its_folder(home: Home, docker: Docker) -> None:
    with bake(home) as (first, beside), bake(home) as (second, session):
        beside.write("web", {})
        beside.keep("c0")
        keep_failed(session, Engine(), home, "web", "c1")
        assert beside.folder.exists()
        end(first, beside)
        end(second, session)


def test_a_keeper_that_does_not_start_leaves_nothing(
    home: Home, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DriverError, match="keeper of the bake did not start"):
        open_session(home, main_pid=os.getpid())
    assert list(home.sessions.iterdir()) == []

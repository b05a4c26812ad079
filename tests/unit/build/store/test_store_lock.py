# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who waits for whom at the store."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.session import open_session
from ansible_collections.kiln.immutable.plugins.module_utils.build.store_lock import (
    store_alone,
    store_in_use,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


class Clock:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(str(tmp_path / "home"), {})


def test_several_use_the_store_together(home: Home) -> None:
    with store_in_use(home), store_in_use(home, waiting=lambda: pytest.fail("it waits")):
        pass


def test_who_wants_it_alone_waits_for_those_who_use_it_and_says_so(home: Home) -> None:
    clock = Clock()
    with (
        store_in_use(home),
        pytest.raises(DriverError, match=r"Bakes are going on in .*within 30 s"),
        store_alone(home, timeout=30, clock=clock),
    ):
        pytest.fail("two have it")
    assert clock.now == pytest.approx(30)
    with store_alone(home, timeout=0, clock=clock):
        pass


def test_who_wants_to_use_it_waits_for_who_has_it_alone(home: Home) -> None:
    told, used = threading.Event(), threading.Event()

    def use() -> None:
        with store_in_use(home, waiting=told.set):
            used.set()

    thread = threading.Thread(target=use)
    with store_alone(home, timeout=0):
        thread.start()
        assert told.wait(30)
        assert not used.is_set()
    assert used.wait(30)
    thread.join()


def test_a_session_uses_the_store_until_its_bake_ends(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The keeper asks the engine for containers: here there is none, and no engine.
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as main:
        open_session(home, main_pid=main.pid)
        with pytest.raises(DriverError), store_alone(home, timeout=0):
            pass
        main.send_signal(signal.SIGKILL)
    with store_alone(home, timeout=30):
        pass


def test_a_dead_process_has_nothing(home: Home) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from ansible_collections.kiln.immutable.plugins.module_utils.build import home\n"
        "from ansible_collections.kiln.immutable.plugins.module_utils.build import store_lock\n"
        "with store_lock.store_in_use(home.Home(Path(sys.argv[1]))):\n"
        "    print('has it', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"has it\n"
        with pytest.raises(DriverError), store_alone(home, timeout=0):
            pass
        process.kill()
        process.wait()
        with store_alone(home, timeout=0):
            pass

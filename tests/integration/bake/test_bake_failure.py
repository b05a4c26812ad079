# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bakes that end badly: what they say, what they leave, and that the next one goes on."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SHUT = "- name: Open the shop\n  ansible.builtin.fail: {msg: the shop is shut}\n"
WAIT = "- name: Wait for the tide\n  ansible.builtin.command: sleep 300\n  changed_when: true\n"

Docker = Callable[..., str]
Until = Callable[..., None]


def ends_with(output: str, sentence: str) -> bool:
    """Whether *sentence* is the last thing said before the recap."""
    said = output.partition("PLAY RECAP")[0].strip().splitlines()
    return any(sentence in line for line in said[-2:])


def test_a_failed_bake_ends_with_the_task_s_own_message(team: Any) -> None:
    name = team.name()
    roles = [team.file_role(), team.role("shop", SHUT)]
    team.image(name, *roles)
    run = team.bake(ends=2)
    assert ends_with(run.output, "the shop is shut")
    assert f"{name} was not baked." in run.output
    assert "1 of 3 layers are in the cache" in run.output
    assert "-e kiln_keep_failed=true" in run.output
    assert team.containers() == []
    assert team.numbers(name) == []
    team.role("shop", SHUT.replace("fail: {msg:", "debug: {msg:"))
    assert team.bake().layers_run == ["shop", "seal"]
    assert team.numbers(name) == ["1.0.1"]


def test_a_kept_container_can_be_looked_into(team: Any, docker: Docker, until: Until) -> None:
    name = team.name()
    make = (
        "- name: Make\n  ansible.builtin.file: {path: /srv/shop, state: directory, mode: '755'}\n"
    )
    team.image(name, team.role("shop", make + SHUT))
    run = team.bake("-e", "kiln_keep_failed=true", ends=2)
    assert ends_with(run.output, "the shop is shut")
    (shell,) = re.findall(r"docker exec -it \S+ \S+$", run.output, flags=re.MULTILINE)
    argv = [one for one in shlex.split(shell) if one != "-it"]
    assert docker(*argv[1:], "-c", "ls /srv") == "shop"
    assert team.containers() == [f"kiln-failed-{name}"]
    first = docker("inspect", "--format", "{{.Id}}", f"kiln-failed-{name}")
    team.bake("-e", "kiln_keep_failed=true", ends=2)
    assert team.containers() == [f"kiln-failed-{name}"]
    assert docker("inspect", "--format", "{{.Id}}", f"kiln-failed-{name}") != first
    assert len(team.sessions()) == 1
    (away,) = re.findall(r"docker rm -f -v \S+$", run.output, flags=re.MULTILINE)
    docker(*shlex.split(away)[1:])
    assert team.containers() == []


def test_of_two_images_the_good_one_is_baked(team: Any) -> None:
    good, bad = team.name("good"), team.name("bad")
    team.image(good, team.file_role())
    team.image(bad, team.role("shop", SHUT))
    run = team.bake(ends=2)
    assert ends_with(run.output, "the shop is shut")
    assert f"kiln/{good}:1.0.1 (in the engine)" in run.output
    assert (team.numbers(good), team.numbers(bad)) == (["1.0.1"], [])


def waiting(team: Any, until: Until, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a bake and return it when its second role hangs."""
    process: subprocess.Popen[bytes] = team.start(*arguments)
    output = team.folder / "output"
    until("the role", lambda: b"Wait for the tide" in output.read_bytes() or process.poll(), 120)
    assert process.poll() is None, output.read_text()
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bake_leaves_no_container_and_the_next_goes_on(
    team: Any, until: Until, docker: Docker, number: signal.Signals
) -> None:
    name = team.name()
    team.image(name, team.file_role(), team.role("tide", WAIT))
    with waiting(team, until) as process:
        assert team.containers() != []
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(60) != 0
    until("the containers to go", lambda: team.containers() == [])
    until("the session to go", lambda: team.sessions() == [])
    assert docker("image", "ls", "--quiet", f"kiln-chain:{name}-*") == ""
    team.role("tide", WAIT.replace("300", "0"))
    assert team.bake().layers_run == ["tide", "seal"]


MMDEBSTRAP = """#!/bin/sh
touch {folder}/started
while ! [ -e {folder}/go ]; do sleep 0.05; done
touch {folder}/over
exit 1
"""


def test_a_task_that_outlives_the_bake_starts_no_container(
    team: Any, until: Until, tmp_path: Path
) -> None:
    name = team.name()
    team.image(name, base={"debootstrap": {"suite": "trixie"}})
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP.format(folder=tmp_path))
    program.chmod(0o755)
    team.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    with team.start() as process:
        until("the bootstrap", (tmp_path / "started").exists, 60)
        process.kill()
        process.wait()
    until("the session to go", lambda: team.sessions() == [])
    (tmp_path / "go").touch()
    until("the task to end", lambda: not others(team.home))
    assert (tmp_path / "over").exists()
    assert team.sessions() == []
    assert team.containers() == []


def others(home: Path) -> list[int]:
    """Return the processes that bake in *home*."""
    found = []
    wanted = f"KILN_HOME={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def small_disk(team: Any, until: Until, tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Move the home to a disk with few MiB more than it takes; give what makes the disk larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    taken = sum(path.stat().st_size for path in team.home.rglob("*")) >> 20

    def mount(room: int, *, again: bool = True) -> None:
        size = f"{'remount,' if again else ''}size={taken + room}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)

    mount(3, again=False)
    try:
        shutil.copytree(team.home, disk / "home")
        team.home = disk / "home"
        yield mount
    finally:
        until("the keepers", lambda: not others(team.home))
        subprocess.run(["umount", disk], check=True)


RANDOM = """- name: Fill
  ansible.builtin.command: sh -c 'head -c 12000000 /dev/urandom > /srv/noise'
  changed_when: true
"""


def test_a_full_disk_is_said_and_when_there_is_room_the_next_bake_works(
    team: Any, small_disk: Callable[[int], None]
) -> None:
    name = team.name()
    team.image(name, team.file_role(), team.role("noise", RANDOM))
    run = team.bake(ends=2)
    assert "No space is left" in run.output
    assert "Traceback" not in run.output
    assert team.numbers(name) == []
    assert list((team.home / "store").rglob("*.partial")) == []
    assert team.containers() == []
    small_disk(40)
    assert team.bake().layers_run == ["noise", "seal"]
    assert team.numbers(name) == ["1.0.1"]


def test_a_disk_without_any_room_is_said_too(team: Any, small_disk: Callable[[int], None]) -> None:
    name, child = team.name(), team.name("child")
    team.image(name, team.role("shop", FILL.format(home=team.home) + SHUT))
    team.image(child, base={"image": name})
    run = team.bake(ends=None)
    assert run.status != 0
    assert "the shop is shut" in run.output
    assert "Traceback" not in run.output
    assert team.containers() == []
    (team.home / "filler").unlink()
    again = team.bake(ends=2)
    assert ends_with(again.output, "the shop is shut") or f"{child} was not baked" in again.output


FILL = """- name: Fill the disk of the controller
  ansible.builtin.command: sh -c 'cat /dev/zero > {home}/filler || true'
  changed_when: true
  delegate_to: localhost
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
"""


def test_a_home_on_a_disk_that_is_read_only_is_refused(
    team: Any, small_disk: Callable[[int], None], tmp_path: Path
) -> None:
    team.image(team.name(), team.file_role())
    subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
    run = team.bake(ends=2)
    assert f"The home {team.home} cannot be written by this user." in run.output


def test_without_an_engine_it_says_so_and_makes_nothing(team: Any, tmp_path: Path) -> None:
    team.image(team.name(), team.file_role())
    shutil.rmtree(team.home)
    address = f"unix://{tmp_path}/none.sock"
    for arguments in ((), ("--check",)):
        run = team.bake(*arguments, ends=2, DOCKER_HOST=address)
        assert f"No Docker Engine answers at DOCKER_HOST={address}" in run.output
        assert "Check the address." in run.output
    assert not (team.home / "store").exists()
    assert not (team.home / "sessions").exists()


def test_a_waiver_of_a_control_that_the_image_does_not_have_is_refused(team: Any) -> None:
    specs = "argument_specs: {main: {options: {app_text: {type: str}}}}\n"
    controls = (
        "controls:\n  - {id: app-file, title: A file, why: It is read., variable: app_text,\n"
        "     check: test_app, undo: [{remove: /srv/app}]}\n"
    )
    team.file_role()
    meta = {"meta/argument_specs.yml": specs, "meta/controls.yml": controls}
    tasks = (team.folder / "roles" / "app" / "tasks" / "main.yml").read_text()
    role = team.role("app", tasks, **meta)
    name = team.name()
    path = team.image(name, role, waivers=[{"control": "app-fiel", "reason": "Not here."}])
    run = team.bake("--check", ends=2)
    assert f"{path}:8: waivers: app-fiel is no control of the roles" in run.output
    assert "did you mean app-file?" in run.output
    path.write_text(path.read_text().replace("app-fiel", "app-file"))
    assert "control app-file: Not here." in team.bake().output

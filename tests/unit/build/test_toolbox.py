# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Toolboxes: made once, named after what they hold, nothing left of one that could not be made."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Mount,
    Toolbox,
    ToolboxSpec,
    ensure_toolbox,
    newer_options,
    spare_toolboxes,
    use_note,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

SPEC = ToolboxSpec("scan", ("openscap-scanner",))
DAY = 86400.0

# An engine that keeps images as files, and says what it was asked.
DOCKER = """\
#!/bin/sh
echo "$@" >> {state}/asked
case "$1 $2" in
"version --format") echo amd64 ;;
"image inspect")
  [ -e "{state}/images" ] || {{ echo "Error: No such image: x" >&2; echo "[]"; exit 1; }}
  case "$*" in
  *Created*) echo 2026-01-01T00:00:00.123456789Z ;;
  *) echo '[{{"Id": "sha256:1", "RootFS": {{"Layers": []}}}}]' ;;
  esac ;;
"image ls") cat {state}/images 2> /dev/null; true ;;
"import --change") for last; do :; done; cat > {state}/root.tar; echo "$last" >> {state}/images ;;
"ps --all") true ;;
"run --rm") cat; echo to-stderr >&2; exit $(cat {state}/status 2> /dev/null || echo 0) ;;
esac
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an engine and a mmdebstrap on the PATH; return the folder of what they did."""
    programs = tmp_path / "bin"
    programs.mkdir()
    folder = tmp_path / "state"
    folder.mkdir()
    _program(programs / "docker", DOCKER.format(state=folder))
    _bootstraps(programs, f"echo $$ >> {folder}/bootstraps; echo a-root")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return folder


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _bootstraps(programs: Path, script: str) -> None:
    _program(programs / "mmdebstrap", f"#!/bin/sh\n{script}\n")


def ensure(home: Path, spec: ToolboxSpec = SPEC) -> Toolbox:
    return ensure_toolbox(spec, engine=Engine(), home=Home(home))


@pytest.mark.parametrize(
    "other",
    [
        ToolboxSpec("scan", ("openscap-scanner=1.4.2",)),
        ToolboxSpec("scan", ("openscap-scanner",), suite="forky"),
        ToolboxSpec("scan", ("openscap-scanner",), mirror="http://mirror.example/debian"),
        ToolboxSpec("scan", ("openscap-scanner",), newer=("ssg-debian",), newer_suite="forky"),
    ],
)
def test_another_content_is_another_name(other: ToolboxSpec) -> None:
    assert other.reference("amd64") != SPEC.reference("amd64")


def test_the_order_of_the_packages_does_not_matter() -> None:
    one, other = ToolboxSpec("a", ("x", "y")), ToolboxSpec("a", ("y", "x"))
    assert one.reference("amd64") == other.reference("amd64")


def test_it_is_made_once(state: Path, tmp_path: Path) -> None:
    first, second = ensure(tmp_path / "home"), ensure(tmp_path / "home")
    assert first == second
    assert (state / "root.tar").read_text() == "a-root\n"
    assert len((state / "bootstraps").read_text().split()) == 1


def test_two_at_once_make_it_once(state: Path, tmp_path: Path) -> None:
    _bootstraps(tmp_path / "bin", f"echo $$ >> {state}/bootstraps; sleep 0.3; echo a-root")
    threads = [threading.Thread(target=ensure, args=(tmp_path / "home",)) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((state / "bootstraps").read_text().split()) == 1


def test_a_bootstrap_that_dies_midway_gives_no_image(state: Path, tmp_path: Path) -> None:
    _bootstraps(tmp_path / "bin", "echo half; echo no such package >&2; kill -9 $$")
    with pytest.raises(DriverError, match="toolbox scan could not be made: no such package"):
        ensure(tmp_path / "home")
    assert not (state / "images").exists()


def test_a_tool_reaches_no_network_unless_one_is_named(state: Path, tmp_path: Path) -> None:
    box = Toolbox(Engine(), "kiln-toolbox/scan:1", "5e55")
    done = box.run(["cat"], mounts=[Mount("a-volume", "/root")], stdin=[b"one ", b"two"])
    assert (done.stdout, done.stderr) == (b"one two", b"to-stderr\n")
    asked = (state / "asked").read_text()
    assert "--network none --volume a-volume:/root:ro --label io.kiln.session=5e55" in asked


def test_the_output_of_a_tool_comes_piece_by_piece(state: Path) -> None:
    box = Toolbox(Engine(), "kiln-toolbox/scan:1")
    assert b"".join(box.stream(["cat"], stdin=(b"%d " % n for n in range(3)))) == b"0 1 2 "


@pytest.mark.parametrize(
    "start",
    [
        lambda box: box.run(["oscap"]),
        lambda box: box.run(["oscap"], stdin=[b"x"]),
        lambda box: list(box.stream(["oscap"])),
        lambda box: list(box.stream(["oscap"], stdin=[b"x"])),
    ],
)
def test_a_failing_tool_says_why(state: Path, start: Callable[[Toolbox], object]) -> None:
    (state / "status").write_text("3")
    with pytest.raises(DriverError, match="could not run oscap in a-box: to-stderr"):
        start(Toolbox(Engine(), "a-box"))


def test_a_status_can_be_asked_for(state: Path) -> None:
    (state / "status").write_text("2")
    assert Toolbox(Engine(), "a-box").run(["oscap"], check=False).status == 2


def test_a_tool_that_is_given_up_leaves_no_container(state: Path) -> None:
    def content() -> object:
        yield b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Toolbox(Engine(), "a-box").run(["cat"], stdin=content())  # type: ignore[arg-type]  # it raises
    assert "rm --force --volumes kiln-tool-" in (state / "asked").read_text()


def test_one_that_was_not_used_for_long_can_go(state: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    box = ensure(home.root)
    used = use_note(home, box.image).stat().st_mtime
    assert spare_toolboxes(Engine(), home, now=used + 29 * DAY, days=30) == []
    assert spare_toolboxes(Engine(), home, now=used + 31 * DAY, days=30) == [box.image]


def test_one_of_another_home_goes_by_its_own_age(state: Path, tmp_path: Path) -> None:
    ensure(tmp_path / "other")
    made = 1767225600.0  # 2026-01-01
    home = Home(tmp_path / "home")
    assert spare_toolboxes(Engine(), home, now=made + 29 * DAY, days=30) == []
    assert len(spare_toolboxes(Engine(), home, now=made + 31 * DAY, days=30)) == 1


def test_a_newer_suite_gives_the_named_packages_and_nothing_else() -> None:
    spec = ToolboxSpec("scan", ("ssg-debian",), newer=("ssg-debian", "ssg-base"), newer_suite="sid")
    source, pins = newer_options(spec)
    assert "trixie" in source
    assert "/etc/apt/sources.list.d/newer.list" in source
    assert "Package: *\nPin: release n=sid\nPin-Priority: -1\n" in pins
    assert "Package: ssg-debian ssg-base\nPin: release n=sid\nPin-Priority: 990" in pins
    assert newer_options(SPEC) == []

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's client: what its answers mean, and that an error is never taken for an absence."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import (
    Engine,
    EngineFacts,
    ImageFacts,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

ABSENT = b"Error: No such image: kiln/web:9\n"
ABSENT_23 = b"Error response from daemon: No such image: kiln/web:9\n"
AWAY = b"Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n"
INSPECTED = json.dumps([{"Id": "sha256:1", "RootFS": {"Layers": ["sha256:a"]}}]).encode()


class Answers:
    """A client that gives one answer and remembers what it was asked."""

    def __init__(self, status: int = 0, stdout: bytes = b"", stderr: bytes = b"") -> None:
        self.answer = Completed(status, stdout, stderr)
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str], *, check: bool = True, **_given: Any) -> Completed:
        self.asked.append(list(argv))
        if check and self.answer.status:
            raise DriverError(f"docker failed: {self.answer.stderr.decode()}")
        return self.answer


def info(**more: Any) -> bytes:
    answer = {"ServerVersion": "20.10.24", "Architecture": "x86_64", "DriverStatus": [], **more}
    return json.dumps(answer).encode()


def test_an_engine_says_who_it_is() -> None:
    assert Engine(Answers(0, info())).facts() == EngineFacts("20.10.24", "amd64", False)


def test_the_containerd_store_is_recognised() -> None:
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    assert Engine(Answers(0, info(DriverStatus=status, Architecture="aarch64"))).facts() == (
        EngineFacts("20.10.24", "arm64", True)
    )


@pytest.mark.parametrize(
    "answers",
    [
        Answers(1, b"", AWAY),
        Answers(0, info(ServerErrors=["dial unix: connection refused"]), b""),
        Answers(0, b"not JSON", b""),
        Answers(0, b"null", b""),
    ],
)
def test_no_engine_is_said_with_what_to_do(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(DriverError, match="No Docker Engine answers: ") as failed:
        Engine(answers).facts()
    assert "Start it" in failed.value.hint


def test_no_engine_elsewhere_is_said_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example.org:2376")
    with pytest.raises(DriverError, match=r"at DOCKER_HOST=tcp://engine\.example\.org:2376"):
        Engine(Answers(1, b"", AWAY)).facts()


def test_an_image_that_is_there() -> None:
    assert Engine(Answers(0, INSPECTED)).image("x") == ImageFacts("sha256:1", ("sha256:a",))


@pytest.mark.parametrize("words", [ABSENT, ABSENT_23])
def test_an_image_that_is_not_there(words: bytes) -> None:
    assert Engine(Answers(1, b"[]\n", words)).image("kiln/web:9") is None


def test_of_several_images_those_that_are_there() -> None:
    assert len(Engine(Answers(1, INSPECTED, ABSENT)).images(["x", "kiln/web:9"])) == 1


def test_no_images_are_asked_for_without_the_engine() -> None:
    answers = Answers(1, b"", AWAY)
    assert Engine(answers).images([]) == []
    assert answers.asked == []


@pytest.mark.parametrize("words", [AWAY, b"", b"permission denied\n", ABSENT + AWAY])
def test_any_other_error_is_no_absence(words: bytes) -> None:
    with pytest.raises(DriverError, match="The engine could not look for images"):
        Engine(Answers(1, b"[]\n", words)).image("x")


class Removal(Answers):
    """An engine in which somebody removes an image, and the clock that sees it end."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now, self.ends = 0.0, seconds

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds

    def __call__(self, argv: Sequence[str], **given: Any) -> Completed:
        going = self.now < self.ends
        words = b"Error response from daemon: layer does not exist\n" if going else ABSENT
        self.answer = Completed(1, INSPECTED, words)
        return super().__call__(argv, **given)


def test_an_image_that_is_just_being_removed_is_absent_soon() -> None:
    engine = Removal(seconds=3)
    assert len(Engine(engine, clock=engine).images(["x", "kiln/web:9"])) == 1
    assert len(engine.asked) > 1


def test_an_image_whose_layers_stay_away_is_an_error() -> None:
    engine = Removal(seconds=1e9)
    with pytest.raises(DriverError, match=r"could not look for images: .*layer does not exist"):
        Engine(engine, clock=engine).images(["x"])
    assert engine.now < 60


@pytest.mark.parametrize(
    "ask",
    [
        lambda engine: engine.our_images(),
        lambda engine: engine.containers("io.kiln.session"),
        lambda engine: engine.references("kiln-chain:*"),
        lambda engine: engine.volume_label("kiln-apt", "made"),
        lambda engine: engine.create_volume("kiln-apt", {}),
        lambda engine: engine.remove_containers(["x"]),
        lambda engine: engine.remove_image("x"),
        lambda engine: engine.rename("x", "y"),
        lambda engine: engine.execute("x", ["true"]),
        lambda engine: engine.start_container("x", "y", [], labels={}),
        lambda engine: engine.architecture(),
    ],
)
def test_an_engine_that_is_away_is_an_error_whatever_is_asked(
    ask: Callable[[Engine], object],
) -> None:
    with pytest.raises(DriverError):
        ask(Engine(Answers(1, b"", AWAY)))


def test_what_is_gone_already_can_be_removed() -> None:
    Engine(Answers(1, b"", b"Error: No such container: x\n")).remove_containers(["x"])
    Engine(Answers(1, b"", ABSENT)).remove_image("kiln/web:9")


def test_removing_no_containers_asks_nothing() -> None:
    answers = Answers()
    Engine(answers).remove_containers([])
    assert answers.asked == []


def test_a_volume_is_found_by_its_whole_name() -> None:
    answers = Answers(0, b"kiln-apt-old old\nkiln-apt2 two\n")
    assert Engine(answers).volume_label("kiln-apt", "made") is None
    answers.answer = Completed(0, b"kiln-apt-old old\nkiln-apt one\n", b"")
    assert Engine(answers).volume_label("kiln-apt", "made") == "one"
    answers.answer = Completed(0, b"kiln-apt \n", b"")
    assert Engine(answers).volume_label("kiln-apt", "made") == ""


def test_a_container_is_started_with_its_labels_and_never_pulled() -> None:
    answers = Answers(0, b"0123abcd\n")
    started = Engine(answers).start_container(
        "build", "image:1", ["run", "me"], options=["--user", "0:0"], labels={"b": "2", "a": "1"}
    )
    assert started == "0123abcd"
    assert answers.asked == [
        "docker run --detach --pull never --name build --label a=1 --label b=2"
        " --user 0:0 image:1 run me".split()
    ]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program named docker before all others on the PATH."""

    def install(script: str) -> None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return install


def archive(count: int = 3000) -> Iterator[bytes]:
    """Give more than a pipe holds, in pieces that a buffer gathers."""
    for _piece in range(count):
        yield b"x" * 700


def test_an_archive_is_fed_to_the_engine(docker: Callable[[str], None], tmp_path: Path) -> None:
    docker(f"cat > {tmp_path}/loaded")
    Engine().load(archive())
    assert (tmp_path / "loaded").stat().st_size == 700 * 3000


def test_an_engine_that_refuses_an_archive_is_heard(docker: Callable[[str], None]) -> None:
    docker("cat > /dev/null; echo 'no space left on device'; exit 1")
    with pytest.raises(DriverError, match="refused an image: no space left on device"):
        Engine().load(archive())


@pytest.mark.parametrize("count", [1, 3000])
def test_a_client_that_does_not_read_on_is_heard_too(
    docker: Callable[[str], None], count: int
) -> None:
    docker("echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(DriverError, match="refused an image: Cannot connect"):
        Engine().load(archive(count))


def test_an_archive_that_breaks_off_is_not_loaded(
    docker: Callable[[str], None], tmp_path: Path
) -> None:
    docker(f"cat > {tmp_path}/part && mv {tmp_path}/part {tmp_path}/loaded")

    def damaged() -> Iterator[bytes]:
        yield b"x" * 4096
        raise DriverError("the blob is damaged")

    with pytest.raises(DriverError, match="the blob is damaged"):
        Engine().load(damaged())
    assert not (tmp_path / "loaded").exists()


def test_output_is_streamed(docker: Callable[[str], None]) -> None:
    docker("printf '%s ' \"$@\"")
    assert b"".join(Engine().stream("build", ["cat", "x"])) == b"exec build cat x "


def test_a_stream_that_fails_raises_at_its_end(docker: Callable[[str], None]) -> None:
    docker("printf part; echo 'no such file' >&2; exit 3")
    stream = Engine().stream("build", ["cat", "x"])
    assert next(stream) == b"part"
    with pytest.raises(DriverError, match="run cat in build: no such file"):
        next(stream)


def test_a_stream_that_nobody_reads_on_ends_its_program(docker: Callable[[str], None]) -> None:
    docker("exec yes")
    stream = Engine().stream("build", ["yes"])
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]  # waits for the program, which would not end

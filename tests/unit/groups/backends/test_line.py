# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine is asked over one open client, and by one program after the other when that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.client import Client
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.line import (
    Line,
    Unanswered,
)

# A client that is its own engine: it tells of what it was asked, and ends when told to.
DOCKER = f"""\
#!{sys.executable}
import json, os, sys
with open(os.path.join(os.path.dirname(__file__), "begun"), "a") as stream:
    stream.write(" ".join(sys.argv[1:]) + "\\n")
source, sink = sys.stdin.buffer, sys.stdout.buffer
while line := source.readline():
    method, path, _version = line.decode().split()
    size = 0
    while (header := source.readline().strip().lower()):
        if header.startswith(b"content-length:"):
            size = int(header.partition(b":")[2])
    body = source.read(size).decode()
    if path == "/end":
        raise SystemExit
    status = {{"/absent": "404 Not Found", "/broken": "500 No"}}.get(path, "200 OK")
    said = json.dumps({{"method": method, "path": path, "body": body}}).encode()
    if path.startswith("/volumes?"):
        said = json.dumps({{"Volumes": [{{"Name": "a.1", "Labels": {{"x": "1"}}}}]}}).encode()
    head = f"HTTP/1.1 {{status}}\\r\\nContent-Length: {{len(said)}}\\r\\n\\r\\n"
    sink.write(head.encode() + said)
    sink.flush()
"""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Return the file that tells of each client that was started."""
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    return tmp_path / "begun"


@pytest.fixture
def line(begun: Path) -> Iterator[Line]:
    made = Line({"PATH": str(begun.parent)}, 20.0)
    yield made
    made.close()


def test_one_client_answers_all_questions(line: Line, begun: Path) -> None:
    asked = line.ask("GET", "/containers/json", all="1", filters={"label": ["a=b"]})
    assert asked["path"] == "/containers/json?all=1&filters=%7B%22label%22%3A+%5B%22a%3Db%22%5D%7D"
    assert line.ask("POST", "/volumes/create", {"Name": "v"})["body"] == '{"Name": "v"}'
    assert begun.read_text() == "system dial-stdio\n"


def test_what_is_not_there_is_nothing_and_an_error_is_no_answer(line: Line) -> None:
    assert line.ask("GET", "/absent") is None
    with pytest.raises(Unanswered, match="broken"):
        line.ask("GET", "/broken")
    assert line.ask("GET", "/again")["path"] == "/again"


def test_a_client_that_ended_is_begun_again(line: Line, begun: Path) -> None:
    line.ask("GET", "/first")
    with pytest.raises(Unanswered):
        line.ask("GET", "/end")
    assert line.ask("GET", "/second")["path"] == "/second"
    assert begun.read_text().count("dial") == 2


def test_a_client_that_never_answered_is_not_begun_again(line: Line, begun: Path) -> None:
    for _attempt in range(2):
        with pytest.raises(Unanswered):
            line.ask("GET", "/end")
    assert begun.read_text().count("dial") == 1


def test_without_a_line_the_same_is_asked_by_programs(line: Line) -> None:
    asked: list[str] = []

    def runner(argv: list[str], **_options: object) -> Completed:
        asked.append(" ".join(argv[1:3]))
        return Completed(0, b"a.1 x=1\n", b"")

    plain = Client(runner=runner)  # type: ignore[arg-type]  # it takes more than is asked here
    assert plain.volumes("x=1") == replace(plain, line=line).volumes("x=1") == {"a.1": {"x": "1"}}
    assert asked == ["volume ls"]
    with pytest.raises(Unanswered):
        line.ask("GET", "/end")
    plain.create_volume("v", {"x": "1"})
    plain.remove_volume("v")
    assert asked == ["volume ls", "volume create", "volume rm"]

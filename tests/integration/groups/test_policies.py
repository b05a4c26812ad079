# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canaries, two colours, gates, hooks and other terminals, where instances are real."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    Hook,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notes import (
    abort,
    approve,
    read_progress,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Amount,
    CanaryStep,
    Gate,
    OnFailure,
    Phase,
    Strategy,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Cause
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending, Result
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.integration.groups.load import Load
from ansible_collections.kiln.immutable.tests.integration.groups.operated import (
    another,
    present,
    until,
)
from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker

pytestmark = pytest.mark.parametrize("group", ["docker"], indirect=True)


@dataclass
class Prometheus:
    """A server that answers each query with *value*."""

    url: str = ""
    value: str = "0"
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """Start a server that speaks as Prometheus does."""
    said = Prometheus()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            assert parts.path == "/api/v1/query"
            said.asked += urllib.parse.parse_qs(parts.query)["query"]
            result = [{"metric": {}, "value": [1, said.value]}]
            data = {"resultType": "vector", "result": result}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said.url = f"http://127.0.0.1:{server.server_port}"
    yield said
    server.shutdown()
    server.server_close()


def with_policy(group: Group, **changes: object) -> Group:
    """Return *group* with another policy."""
    return replace(group, policy=replace(group.policy, **changes))  # type: ignore[arg-type]


@dataclass
class Terminal:
    """Another terminal beside the one in which a rotation goes on."""

    group: Group

    def waits_for(self, name: str) -> None:
        """Wait until the rotation asks for the approval of *name*."""
        backend = self.group.backend()
        try:

            def asked() -> bool:
                progress = read_progress(backend)
                return progress is not None and progress.waits_for == name

            until(f"somebody to ask for {name}", asked)
        finally:
            backend.close()

    def says(self, word: str) -> None:
        """Approve what is waited for, or abort for another reason."""
        backend = self.group.backend()
        try:
            approve(backend, "", "bob") if word == "approve" else abort(backend, word, "bob")
        finally:
            backend.close()


def meanwhile(group: Group, release: str) -> tuple[threading.Thread, list[Result]]:
    """Begin a rotation in a terminal of its own."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(group.rotate(release)))
    thread.start()
    return thread, results


def test_a_canary_asks_prometheus_and_people_and_migrates_first(
    group: Group, prometheus: Prometheus
) -> None:
    old, new = present(group), another(group)
    query = 'sum(rate(http_requests_total{status=~"5.."}[1m]))'
    errors = Gate("errors", "prometheus", url=prometheus.url, query=query, threshold=0.5)
    migrate = "echo $0 >> /srv/data/schema"
    careful = replace(
        with_policy(
            group,
            strategy=Strategy.CANARY,
            steps=(CanaryStep(50, None),),
            gates=(errors, Gate("smoke", "command", "end", command=("sh", "-c", "exit 0"))),
        ),
        volumes=(Volume("data", "/srv/data", "shared"),),
        hooks=(
            Hook("expand", "before", ("/bin/sh", "-c", migrate, "expand"), timeout=60),
            Hook("clean", "after", ("/bin/sh", "-c", migrate, "clean"), Phase.CONTRACT, 60),
        ),
    )
    volume = f"kiln-{group.name}-data"
    docker("volume", "create", "--label", f"io.kiln.group={group.name}", volume)
    opens = ("--user", "0", "--volume", f"{volume}:/srv/data", "--entrypoint", "chmod")
    docker("run", "--rm", "--no-healthcheck", *opens, group.images[old], "0777", "/srv/data")
    terminal = Terminal(careful)
    with Load(group.url, slow=False) as load:
        thread, results = meanwhile(careful, new)
        terminal.waits_for("50%")
        assert careful.versions() == sorted([old, new])
        terminal.says("approve")
        thread.join()
    (result,) = results
    assert result.ending is Ending.ROTATED, result.message
    assert careful.versions() == [new, new]
    assert load.failed == 0, [one.said for one in load.counted]
    assert set(prometheus.asked) == {query}
    said = docker("exec", names(careful)[0], "cat", "/srv/data/schema")
    assert said.split() == ["expand", "clean"]
    told = group.journal.read_text()
    assert "approved 50% by bob" in told
    assert "errors lets pass: 0 is <= 0.5" in told
    assert "smoke lets pass" in told


def names(group: Group) -> list[str]:
    """Return what the engine calls the group's instances."""
    mine = ("--filter", f"label=io.kiln.group={group.name}")
    role = ("--filter", "label=io.kiln.role=instance")
    return docker("ps", "--format", "{{.Names}}", *mine, *role).split()


def test_both_colours_run_until_the_gate_says_which(group: Group, tmp_path: Path) -> None:
    old, new = present(group), another(group)
    ready = tmp_path / "ready"
    test = ("sh", "-c", f'[ "$KILN_VERSION" = {new} ] && [ -e {ready} ]')
    coloured = with_policy(
        group,
        strategy=Strategy.BLUE_GREEN,
        max_surge=Amount(100, percent=True),
        gates=(Gate("smoke", "command", timeout=3.0, interval=0.5, command=test),),
    )
    with Load(group.url, slow=False) as load:
        refused = coloured.rotate(new)
        assert (refused.ending, refused.cause) == (Ending.ROLLED_BACK, Cause.GATE), refused.message
        assert (refused.highest, refused.lowest) == (2 * group.size, group.size)
        assert group.versions() == [old, old]
        ready.touch()
        assert coloured.rotate(new).ending is Ending.ROTATED
    assert group.versions() == [new, new]
    assert load.failed == 0, [one.said for one in load.counted]


def test_nothing_goes_back_by_itself_behind_a_contract_hook(group: Group) -> None:
    old, new = present(group), another(group)
    hook = Hook("drop", "before", ("/bin/sh", "-c", "exit 0"), Phase.CONTRACT, 60)
    contracted = replace(with_policy(group, start_timeout=3.0), hooks=(hook,))
    result = contracted.rotate("sick")
    assert (result.ending, result.cause) == (Ending.PAUSED, Cause.RELEASE), result.message
    assert "because the hook drop (contract) was begun" in result.message
    assert group.versions() == [old, old]
    # Forward to a release that works is what is left.
    assert group.rotate(new).ending is Ending.ROTATED
    assert group.versions() == [new, new]


def test_a_rotation_that_is_aborted_goes_back_and_one_that_pauses_goes_on(
    group: Group, tmp_path: Path
) -> None:
    old, new = present(group), another(group)
    ready = tmp_path / "ready"
    gate = Gate("go", "command", timeout=3.0, interval=0.5, command=("test", "-e", str(ready)))
    asking = with_policy(group, gates=(Gate("go", "approval", "end"),), max_surge=Amount(1))
    thread, results = meanwhile(asking, new)
    terminal = Terminal(asking)
    terminal.waits_for("go")
    terminal.says("wrong version")
    thread.join()
    assert (results[0].ending, results[0].cause) == (Ending.ROLLED_BACK, Cause.ABORT)
    assert "wrong version (bob)" in results[0].message
    assert group.versions() == [old, old]
    pausing = with_policy(
        group, gates=(gate,), batch=Amount(1), max_surge=Amount(1), on_failure=OnFailure.PAUSE
    )
    paused = pausing.rotate(new)
    assert (paused.ending, paused.cause) == (Ending.PAUSED, Cause.GATE)
    assert group.versions() == sorted([old, new])
    ready.touch()
    assert pausing.rotate(new).ending is Ending.ROTATED
    assert group.versions() == [new, new]

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation asks and tells outside of its backend."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    Notification,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.gates import ask
from ansible_collections.kiln.immutable.plugins.module_utils.groups.holder import (
    is_gone,
    this_process,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notification import tell
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Gate

ERRORS = Gate("errors", "prometheus", url="http://p.example.com/", query="sum(x)", threshold=0.5)


def vector(*values: str) -> bytes:
    result = [{"metric": {}, "value": [1, value]} for value in values]
    return json.dumps(
        {"status": "success", "data": {"resultType": "vector", "result": result}}
    ).encode()


@pytest.mark.parametrize(
    ("answer", "passes", "detail"),
    [
        (vector("0.25"), True, "0.25 is <= 0.5"),
        (vector("0.25", "0.75"), False, "0.75 is not <= 0.5"),
        (vector("NaN"), False, "nan is not <= 0.5"),
        (vector(), False, "the query has no result"),
        (b'{"status": "error", "error": "bad query"}', False, "Prometheus says: bad query"),
        (b"<html>", False, "Prometheus answered with something that is no JSON."),
    ],
)
def test_prometheus_lets_pass_only_what_is_within_the_threshold(
    answer: bytes, passes: bool, detail: str
) -> None:
    asked: list[str] = []

    def get(url: str, timeout: float) -> bytes:
        asked.append(url)
        return answer

    found = ask(ERRORS, 5.0, {}, get=get)
    assert (found.passes, found.detail) == (passes, detail)
    assert [unquote_plus(url) for url in asked] == [
        "http://p.example.com/api/v1/query?query=sum(x)"
    ]


def test_a_server_that_does_not_answer_does_not_let_pass() -> None:
    def get(url: str, timeout: float) -> bytes:
        raise DriverError("It does not answer.")

    assert not ask(ERRORS, 5.0, {}, get=get).passes


def test_a_command_lets_pass_by_its_status_and_knows_the_version() -> None:
    gate = Gate("smoke", "command", command=("sh", "-c", "echo no; test $KILN_VERSION = 1.0.2"))
    assert ask(gate, 10.0, {"KILN_VERSION": "1.0.2"}).passes
    found = ask(gate, 10.0, {"KILN_VERSION": "1.0.1"})
    assert (found.passes, found.detail) == (False, "its command ended with status 1: no")


def test_everybody_who_asked_is_told_and_who_cannot_be_is_a_warning() -> None:
    sent: list[tuple[str, Any]] = []

    def send(url: str, body: bytes, timeout: float) -> None:
        sent.append((url, json.loads(body)))

    def runner(argv: Sequence[str], **options: Any) -> Completed:
        raise DriverError(f"{argv[0]} is not there.")

    who = [
        Notification("webhook", url="https://chat.example.com", events=("failed",)),
        Notification("webhook", url="https://other.example.com", events=("started",)),
        Notification("command", command=("mail",)),
    ]
    message: Mapping[str, Any] = {"group": "web"}
    warnings = tell(who, "failed", message, runner=runner, send=send)
    assert sent == [("https://chat.example.com", {"event": "failed", "group": "web"})]
    assert warnings == ["A notification of failed failed: mail is not there."]


def test_a_process_of_this_host_is_known_to_be_gone_when_it_is() -> None:
    mine = this_process("ada")
    assert not is_gone(mine)
    with subprocess.Popen(["true"]) as ended:
        pass
    assert is_gone(mine.replace(f"process {os.getpid()}", f"process {ended.pid}"))
    assert not is_gone(mine.replace("@", "@another"))
    assert not is_gone("somebody")


def test_a_reused_process_number_is_another_process() -> None:
    began = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    assert is_gone(this_process("ada").replace(f", {began})", f", {int(began) + 1})"))

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a policy's gates: a Prometheus server or a command. Approvals come as signals."""

from __future__ import annotations

import json
import math
import operator
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.command import Runner, last_lines, run
from ..core.errors import DriverError
from .exchange import exchange
from .policy import Gate

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gate said.

    :param detail: why, for the journal.
    """

    passes: bool
    detail: str


Fetch = Callable[[str, float], bytes]


def fetch(url: str, timeout: float) -> bytes:
    """Return what the server at *url* answers; DriverError when it does not answer well."""
    return exchange("GET", url, timeout)


def ask(
    gate: Gate,
    timeout: float,
    environment: Mapping[str, str],
    *,
    runner: Runner = run,
    get: Fetch = fetch,
) -> Answer:
    """Ask *gate* once. What cannot be asked does not pass.

    :param environment: what a command is told: group, image, versions.
    """
    try:
        if gate.kind == "prometheus":
            return _prometheus(gate, timeout, get)
        done = runner(list(gate.command), env=environment, check=False, timeout=timeout)
    except DriverError as error:
        return Answer(False, str(error))
    if done.status == 0:
        return Answer(True, "its command says yes")
    return Answer(False, f"its command ended with status {done.status}: {last_lines(done, 1)}")


def _prometheus(gate: Gate, timeout: float, get: Fetch) -> Answer:
    query = urllib.parse.urlencode({"query": gate.query})
    document = _object(get(f"{gate.url.rstrip('/')}/api/v1/query?{query}", timeout))
    data = document.get("data") or {}
    kind, result = data.get("resultType"), data.get("result") or []
    if document.get("status") != "success":
        return Answer(False, f"Prometheus says: {document.get('error') or 'nothing sensible'}")
    samples = [result[1]] if kind == "scalar" and len(result) == 2 else []
    if kind == "vector":
        samples = [one["value"][1] for one in result]
    if not samples:
        return Answer(False, "the query has no result")
    values = [float(sample) for sample in samples]
    compare = _COMPARE[gate.operator]
    bad = [one for one in values if math.isnan(one) or not compare(one, gate.threshold)]
    shown = ", ".join(f"{one:g}" for one in (bad or values)[:3])
    word = "is not" if bad else "is"
    return Answer(not bad, f"{shown} {word} {gate.operator} {gate.threshold:g}")


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DriverError("Prometheus answered with something that is no JSON.") from error
    return value if isinstance(value, dict) else {}

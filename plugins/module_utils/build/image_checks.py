# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""goss and Lynis in a container of the finished image, which has neither.

Their files are in a volume of a container that is never started. goss comes with the C library
that it was built for, so it does not matter which one the image has.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.command import last_lines
from ..core.errors import DriverError
from .definition_model import Definition
from .engine import SESSION_LABEL, Engine
from .finished_root import holder
from .toolbox import Toolbox, ToolboxSpec

TOOLS = "/run/kiln/tools"
RETRY = "30s"
"""How long goss waits for a service of the image that is still starting."""

_FILL = f"""\
set -eu
cd {TOOLS}
mkdir lib
ldd /usr/bin/goss | sed -n 's/^[^/]*\\(\\/[^ ]*\\).*/\\1/p' | xargs -I @ cp -L @ lib/
mv lib/ld-linux-* lib/loader
cp /usr/bin/goss .
mkdir lynis
cp /usr/sbin/lynis lynis/
cp -r /usr/share/lynis/include /usr/share/lynis/db lynis/
cp /etc/lynis/default.prf lynis/
mkdir lynis/plugins
# What the kernel, the processes, the clock and the network of this machine are is none of the
# image's doing.
grep -E '^(ACCT|BOOT|CONT|FIRE|HTTP|KRNL|LOGG|MACF|NETW|PROC|TIME|VIRT)-' lynis/db/tests.db |
cut -d : -f 1 | sed 's/^/skip-test=/' >> lynis/default.prf
cat > goss.yaml
"""
_GOSS = (f"{TOOLS}/lib/loader", "--library-path", f"{TOOLS}/lib", f"{TOOLS}/goss")
_LYNIS = f"""\
cd {TOOLS}/lynis || exit 1
sh ./lynis audit system --quick --quiet --no-colors --profile ./default.prf \
  --report-file /tmp/report --logfile /tmp/log > /tmp/said 2>&1
if [ -s /tmp/report ]; then cat /tmp/report; else cat /tmp/said >&2; exit 1; fi
"""


def checks_spec(mirror: str | None = None) -> ToolboxSpec:
    """Return the toolbox with goss and Lynis."""
    return ToolboxSpec("checks", ("goss", "lynis"), mirror=mirror)


@contextlib.contextmanager
def check_tools(
    engine: Engine, toolbox: Toolbox, *, name: str, session: str, goss: Path | None
) -> Iterator[tuple[str, ...]]:
    """Give the engine's options by which a container has the tools, for the block.

    :param goss: the file that says what goss asks.
    """
    with holder(engine, toolbox.image, f"kiln-checks-{name}-{session}", TOOLS, session) as held:
        toolbox.run(
            ["/bin/sh", "-c", _FILL],
            stdin=b"" if goss is None else goss.read_bytes(),
            options=["--volumes-from", held],
        )
        yield ("--volumes-from", f"{held}:ro")


def run_goss(
    engine: Engine, image: str, definition: Definition, tools: Sequence[str], *, session: str
) -> dict[str, Any]:
    """Ask what the goss file asks, and return its result as JSON-able values.

    A container image is started as it is meant to be, with nothing writable but its state; a VM's
    root, or an image without a command, is looked at with nothing running.
    """
    config = definition.config
    runs = definition.kind == "container" and bool(config.entrypoint or config.cmd)
    options = ["--read-only", "--tmpfs", "/tmp", *tools]
    for state in definition.state:
        if state.kind == "tmpfs":
            uid, _colon, gid = state.owner.partition(":")
            options += ["--tmpfs", f"{state.path}:uid={uid},gid={gid},mode={state.mode}"]
    ask = [*_GOSS, "--gossfile", f"{TOOLS}/goss.yaml", "validate", "--format", "json"]
    ask += ["--retry-timeout", RETRY, "--sleep", "500ms"] if runs else []
    name = f"kiln-goss-{definition.name}-{session}"
    labels = {SESSION_LABEL: session}
    engine.remove_containers([name])
    try:
        if not runs:
            options += ["--user", "0:0", "--network", "none", "--entrypoint", ""]
            options += ["--label", f"{SESSION_LABEL}={session}"]
            done = engine.run_tool(image, ask, options=options, check=False)
        else:
            engine.start_container(name, image, [], options=options, labels=labels)
            # As root, who may look at all files.
            done = engine.runner(["docker", "exec", "--user", "0:0", name, *ask], check=False)
    finally:
        engine.remove_containers([name])
    return read_goss_result(done.stdout, last_lines(done))


def read_goss_result(output: bytes, said: str) -> dict[str, Any]:
    """Return goss's result as the predicate of its statement; DriverError when there is none.

    :param said: the end of what goss said, for the message.
    """
    # With attempts that failed before, goss writes one document for each: the last one counts.
    text = output.decode("utf-8", "replace")
    document = None
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at = text.find("{", at + 1)
            continue
        document = value if isinstance(value, dict) and "results" in value else document
        at = text.find("{", end)
    if document is None:
        raise DriverError(f"goss gave no result: {said}", hint="Look at the file seal.goss names.")
    results = document["results"] or []
    tests = [
        {
            "test": f"{one.get('resource-type')} {one.get('resource-id')}: {one.get('property')}",
            "said": str(one.get("summary-line") or ""),
            "outcome": _outcome(one),
        }
        for one in results
    ]
    failed = [test for test in tests if test["outcome"] == "failed"]
    return {
        "result": "failed" if failed else "passed",
        "counts": {
            name: sum(test["outcome"] == name for test in tests)
            for name in ("passed", "failed", "skipped")
        },
        "failed": [{"test": test["test"], "said": test["said"]} for test in failed],
        "passed": [test["test"] for test in tests if test["outcome"] == "passed"],
    }


def _outcome(result: dict[str, Any]) -> str:
    if result.get("skipped") or result.get("result") == 2:
        return "skipped"
    return "passed" if result.get("successful") else "failed"


def run_lynis(engine: Engine, image: str, tools: Sequence[str], *, session: str) -> dict[str, Any]:
    """Have Lynis look at the root of *image*, and return its report as JSON-able values."""
    options = ["--read-only", "--tmpfs", "/tmp", *tools, "--user", "0:0", "--network", "none"]
    options += ["--hostname", "kiln", "--label", f"{SESSION_LABEL}={session}"]
    done = engine.run_tool(image, ["/bin/sh", "-c", _LYNIS], options=options, check=False)
    if done.status != 0:
        raise DriverError(
            f"Lynis could not look at the finished root: {last_lines(done)}",
            hint="It needs a shell, awk, grep and sed in the image; without them leave it out.",
        )
    return read_lynis_report(done.text)


def read_lynis_report(text: str) -> dict[str, Any]:
    """Return Lynis's report file as the predicate of its statement."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, []).append(value)
    if "hardening_index" not in values:
        raise DriverError("Lynis did not come to its end: its report has no hardening index.")
    return {
        "version": values.get("lynis_version", [""])[0],
        "hardening_index": int(values["hardening_index"][0]),
        "tests": len(values.get("tests_executed", [""])[0].strip("|").split("|")),
        "warnings": [_finding(one) for one in values.get("warning[]", [])],
        # What it says of itself is its age, which depends on the day.
        "suggestions": [
            _finding(one) for one in values.get("suggestion[]", []) if one[:6] != "LYNIS|"
        ],
    }


def _finding(text: str) -> dict[str, str]:
    test, _bar, rest = text.partition("|")
    return {"test": test, "text": rest.partition("|")[0]}

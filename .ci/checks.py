# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every check on this checkout, two side by side, and end with ``N passed, N failed``.

What answers quickly comes first, then the longest. The output of each is kept in
``.cache/checks/NAME.log`` and its end shown when it fails. A check that runs nothing, or skips
something, has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "checks"
BIN = Path(sys.executable).parent
COLLECTIONS = ROOT / ".collections"
LONGEST = (
    "integration-controls",
    "molecule-hardened",
    "lock",
    # After the servers, whose kernel its machines have; what begins with its layers comes later.
    "molecule-vm",
    "integration-groups",
    "integration-disk",
    "integration-disk_packer",
    "reproducible",
    "molecule-operations",
    "bake",
    "molecule-packer",
    "integration-roles",
    "molecule-default",
    "integration-oci",
    "molecule-web",
    "store",
    "bake-failure",
    "bake-bases",
    "integration-publish",
)  # those of the engine that take minutes, so that none of them begins last, and all scenarios
QUICK = "KILN_CHECKS_QUICK"  # a folder in memory, for tests that write thousands of small files
ROOM = 4 << 30  # bytes of memory that must be free for it
MARK = "KILN_CHECKS"  # every process of a run has this in its environment, with the run's own value
LANES = 2  # checks at once; more of them than processors only makes each slower
SHOWN_LINES = 150
GRACE = 20.0  # seconds that an interrupted check has for cleaning up
SETTLING = 10.0  # seconds that ended checks have until nothing of them may be left


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the whole: commands that must all succeed.

    :param limit: seconds after which it has failed.
    :param junit: where pytest writes its results, when the check counts its tests one by one.
    """

    name: str
    group: str
    commands: tuple[tuple[str, ...], ...]
    limit: float = 900
    junit: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended: its counts, and one line about why when it failed."""

    name: str
    passed: int
    failed: int
    seconds: float
    reason: str = ""


# Which checks there are


def all_checks(root: Path = ROOT) -> list[Check]:
    """Return every check, in the order in which to start them: quick answers first."""
    package = "ansible_collections.kiln.immutable.plugins"
    return [
        one("ruff", "ruff", "check", "."),
        one("format", "ruff", "format", "--check", "."),
        Check(
            "mypy",
            "static",
            (
                ("mypy", "--package", package),
                ("mypy", "scripts", ".ci", "tests"),
            ),
        ),
        one("changelog", "antsibull-changelog", "lint"),
        one("yamllint", "yamllint", "--strict", "."),
        pytest_check("unit", root / "tests" / "unit", "-n", "2", group="unit"),
        one("sanity", str(BIN / "python"), ".ci/sanity.py"),
        one("ansible-lint", "ansible-lint"),
        *sorted(
            [*integration_checks(root), *molecule_checks(root)],
            key=lambda check: LONGEST.index(check.name) if check.name in LONGEST else len(LONGEST),
        ),
    ]


def one(name: str, *command: str) -> Check:
    """Return a static check that is a single command."""
    return Check(name, "static", (command,))


def pytest_check(name: str, tests: Path, *options: str, group: str) -> Check:
    """Return the check that runs *tests*, a file or a folder of them."""
    junit = LOGS / f"{name}.xml"
    command = ("pytest", *options, "--durations=15", f"--junitxml={junit}", str(tests))
    return Check(name, group, (command,), limit=2700, junit=junit)


def integration_checks(root: Path) -> Iterator[Check]:
    """Give a check for each folder of integration tests, for those of a bake one for each file."""
    for folder in sorted((root / "tests" / "integration").glob("*/")):
        if folder.name == "bake":
            for path in sorted(folder.glob("test_*.py")):
                name = path.stem.removeprefix("test_").replace("_", "-")
                yield pytest_check(name, path, group="integration")
        elif any(folder.glob("test_*.py")):
            yield pytest_check(f"integration-{folder.name}", folder, group="integration")


def molecule_checks(root: Path) -> Iterator[Check]:
    """Give a check for each Molecule scenario."""
    for scenario in sorted(root.glob("molecule/*/molecule.yml")):
        name = scenario.parent.name
        command = ("molecule", "test", "--scenario-name", name)
        yield Check(f"molecule-{name}", "molecule", (command,), limit=1800)


def select(checks: Sequence[Check], only: str) -> list[Check]:
    """Return the checks whose name or group is in the comma-separated *only*; empty means all."""
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    known = {check.name for check in checks} | {check.group for check in checks}
    if unknown := wanted - known:
        raise SystemExit(
            f"There is no check named {', '.join(sorted(unknown))}; "
            f"there are: {', '.join(sorted(known))}."
        )
    return [check for check in checks if not wanted or {check.name, check.group} & wanted]


# Running them


def quick_place(memory: Path = Path("/dev/shm")) -> str | None:
    """Return where the unit tests' files are quickest; None for where all temporary files are.

    It must do what tests ask of a disk: run programs and keep extended attributes.
    """
    try:
        place = os.statvfs(memory)
        if place.f_flag & os.ST_NOEXEC or place.f_bavail * place.f_frsize < ROOM:
            return None
        with tempfile.NamedTemporaryFile(dir=memory, prefix="kiln-") as probe:
            os.setxattr(probe.name, "user.kiln", b"probe")
    except OSError:
        return None
    return str(memory)


def environment(mark: str, scratch: str, quick: str) -> dict[str, str]:
    """Return the environment of the checks: this checkout's tools, settings and collection.

    :param scratch: a folder of this run's own: in the common one pytest tidies up after other runs.
    :param quick: another one, for the unit tests.
    """
    paths = [str(ROOT / ".ci" / "python"), str(COLLECTIONS), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "LC_ALL": "C.UTF-8",
        "VIRTUAL_ENV": str(BIN.parent),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # Whoever keeps Python from writing bytecode has each short run compile all that it imports.
        "PYTHONDONTWRITEBYTECODE": "",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        # Molecule keeps what its scenarios made there; a later run must not find it.
        "ANSIBLE_HOME": str(Path(scratch) / "ansible"),
        "ANSIBLE_FORCE_COLOR": "false",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
        # Scenarios share a base and layers, and none touches the catalog of who runs the checks.
        "KILN_HOME": os.environ.get("KILN_HOME") or str(ROOT / ".cache" / "home"),
        "PYTEST_DEBUG_TEMPROOT": scratch,
        QUICK: quick,
        MARK: mark,
    }


async def run_check(check: Check, env: Mapping[str, str]) -> Outcome:
    """Run the commands of *check* until one fails, its output going to its log."""
    started = time.monotonic()
    if check.group == "unit" and QUICK in env:
        env = {**env, "PYTEST_DEBUG_TEMPROOT": env[QUICK]}
    if check.junit:
        check.junit.unlink(missing_ok=True)
    reason = ""
    with (LOGS / f"{check.name}.log").open("wb") as log:
        for command in check.commands:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=ROOT,
                    env=env,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                reason = f"{command[0]} cannot be run: {error.strerror}"
                break
            try:
                left = check.limit - (time.monotonic() - started)
                status = await asyncio.wait_for(process.wait(), left)
                reason = f"exit status {status}" if status else ""
            except TimeoutError:
                reason = f"not done within {check.limit:g} s"
            finally:
                await stop(process)
            if reason:
                break
    seconds = time.monotonic() - started
    if check.junit:
        return count_tests(check.name, check.junit, seconds, reason)
    return Outcome(check.name, int(not reason), int(bool(reason)), seconds, reason)


async def stop(process: asyncio.subprocess.Process) -> None:
    """End *process* and all that it started in its session: asked first, then killed."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)


def count_tests(name: str, junit: Path, seconds: float, reason: str) -> Outcome:
    """Return the outcome of a pytest run from the results that it wrote."""
    try:
        suites = list(ET.parse(junit).getroot().iter("testsuite"))  # noqa: S314 (pytest wrote it)
    except (FileNotFoundError, ET.ParseError):
        return Outcome(name, 0, 1, seconds, reason or "pytest wrote no results")
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors + skipped
    if skipped:
        reason = f"{skipped} skipped: a test that does not run proves nothing"
    elif not total:
        reason = reason or "no tests were found"
    return Outcome(name, total - failed, max(failed, int(bool(reason))), seconds, reason)


async def run_all(checks: Iterable[Check], env: Mapping[str, str]) -> list[Outcome]:
    """Run *checks* in their order, at most ``LANES`` at once and of the scenarios only one.

    The first makes the base images that the others start from.
    """
    waiting = list(checks)
    outcomes: list[Outcome] = []
    freed = asyncio.Condition()
    scenario_runs = False

    async def lane() -> None:
        nonlocal scenario_runs
        while waiting:
            async with freed:
                check = next(
                    (c for c in waiting if c.group != "molecule" or not scenario_runs), None
                )
                if check is None:
                    await freed.wait()
                    continue
                waiting.remove(check)
                scenario_runs = scenario_runs or check.group == "molecule"
            outcome = await run_check(check, env)
            outcomes.append(outcome)
            show(outcome)
            async with freed:
                if check.group == "molecule":
                    scenario_runs = False
                freed.notify_all()

    async with asyncio.TaskGroup() as lanes:
        for _number in range(LANES):
            lanes.create_task(lane())
    return outcomes


def show(outcome: Outcome) -> None:
    """Print the line of *outcome*, after the end of its log when it failed."""
    if outcome.failed:
        log = LOGS / f"{outcome.name}.log"
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        print(f"---- {outcome.name}: the last lines of {log} ----", *lines[-SHOWN_LINES:], sep="\n")
        print("----", flush=True)
    print(summary(outcome), flush=True)


def summary(outcome: Outcome) -> str:
    """Return the line that says how *outcome* was."""
    word = "failed" if outcome.failed else "ok"
    counts = f"{outcome.passed} passed" + (f", {outcome.failed} failed" if outcome.failed else "")
    why = f"  ({outcome.reason})" if outcome.reason else ""
    return f"{word:<7}{outcome.name:<24}{outcome.seconds:8.1f} s  {counts}{why}"


# What they leave behind


def engine_objects() -> set[str]:
    """Return our containers and volumes in the engine."""
    found: set[str] = set()
    for kind, listing in (
        ("container", ("ps", "--all", "--format", "{{.Names}}\t{{.Labels}}")),
        ("volume", ("volume", "ls", "--format", "{{.Name}}\t{{.Labels}}")),
    ):
        done = subprocess.run(
            ["docker", *listing],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            name, labels = line.split("\t", 1)
            ours = name.startswith("kiln") or "io.kiln." in labels
            if ours:
                found.add(f"{kind} {name}")
    return found


def remove_caches(before: set[str]) -> None:
    """Remove the volumes in which bakes keep packages and toolkits, unless they were there."""
    listing = ["docker", "volume", "ls", "--quiet", "--filter", "label=io.kiln.cache"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    made = [name for name in done.stdout.split() if f"volume {name}" not in before]
    if made:
        subprocess.run(["docker", "volume", "rm", *made], capture_output=True, check=False)


def marked_processes(mark: str) -> dict[int, str]:
    """Return the processes that a check of this run started, by their ids."""
    found: dict[int, str] = {}
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = command.decode("utf-8", "replace").strip()
    return found


def residue(before: set[str], mark: str) -> list[str]:
    """Return what is left of this run: a line for each container, volume and process."""
    processes = marked_processes(mark)
    return [
        *sorted(engine_objects() - before),
        *(f"process {number} {command}" for number, command in processes.items()),
    ]


def check_residue(before: set[str], mark: str) -> Outcome:
    """Return whether the run left any container, volume or process of ours."""
    started = time.monotonic()
    while left := residue(before, mark):
        if time.monotonic() - started > SETTLING:
            break
        time.sleep(0.5)
    (LOGS / "residue.log").write_text("".join(f"{item}\n" for item in left), "utf-8")
    seconds = time.monotonic() - started
    reason = f"{len(left)} left behind" if left else ""
    return Outcome("residue", int(not left), int(bool(left)), seconds, reason)


def main(argv: Sequence[str]) -> int:
    """Run the selected checks; return 0 when all passed."""
    parser = argparse.ArgumentParser(prog=".ci/run", description="Run the checks.")
    parser.add_argument("--only", default="", metavar="NAMES", help="checks or groups, by commas")
    checks = select(all_checks(), parser.parse_args(argv).only)
    LOGS.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(8)
    before = engine_objects()
    # A shell that starts this in the background has SIGINT ignored; an interrupt must still work.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="kiln-", ignore_cleanup_errors=True) as scratch,
            tempfile.TemporaryDirectory(
                prefix="kiln-", dir=quick_place(), ignore_cleanup_errors=True
            ) as quick,
        ):
            outcomes = asyncio.run(run_all(checks, environment(mark, scratch, quick)))
    except KeyboardInterrupt:
        for number in marked_processes(mark):  # those that had left their check's session
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        remove_caches(before)
        left = [f"left behind: {item}" for item in residue(before, mark)]
        print(*left, "interrupted", sep="\n", flush=True)
        return 130
    remove_caches(before)
    outcomes.append(check_residue(before, mark))
    show(outcomes[-1])
    failed = sum(outcome.failed for outcome in outcomes)
    if failed:
        print("", *(summary(bad) for bad in outcomes if bad.failed), sep="\n")
    print(f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

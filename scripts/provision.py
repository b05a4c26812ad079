# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install and start what a bake or the tests need and this machine lacks, one line said for each.

As root on Debian it installs packages and starts the Docker Engine. Without root, or with an
engine elsewhere (DOCKER_HOST), it does the rest and ends with what somebody else must do.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import prepare

ROOT = Path(prepare.ROOT)
ENVIRONMENT = Path(prepare.ENVIRONMENT)
COLLECTIONS = Path(prepare.COLLECTIONS)
WORK = ROOT / ".cache"
LOG = WORK / "prepare.log"
ENGINE_LOGS = (Path("/var/log/kiln-dockerd.log"), Path("/tmp/kiln-dockerd.log"))
ENGINE_PATIENCE = 60.0  # seconds; a first start creates its storage
# What the collections wheel holds that we use; the other hundred collections stay in it.
WANTED_COLLECTIONS = ("community/docker", "community/library_inventory_filtering_v1")
# The Pythons that the pinned ansible-core runs on; ensurepip is what Debian's python3-venv adds.
USABLE_PYTHON = (
    "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))"
)


class Stuck(Exception):
    """A step failed: the sentence to end with."""


def say(line: str) -> None:
    """Tell the user one line; standard output is left to what is prepared for."""
    sys.stderr.write(f"kiln: {line}\n")
    sys.stderr.flush()


def provision(level: str) -> int:
    """Bring the machine to *level*; return the exit status: 0 when all is there."""
    try:
        with only_one():
            todo = list(bring_up(level))
    except Stuck as stuck:
        say(str(stuck))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 130
    for line in todo:
        say(line)
    return 1 if todo else 0


def bring_up(level: str) -> Iterator[str]:
    """Do each step that is needed and can be done; yield what somebody else must do."""
    packages = wanted_packages(level)
    if packages and may_install():
        refresh_package_lists()
        install_packages(wanted_packages(level))  # fresh lists may name them otherwise
    elif packages:
        command = f"apt-get install --no-install-recommends {' '.join(packages)}"
        yield f"missing, and this user cannot install it; as root on Debian: {command}"
    if not prepare.environment_is_complete(level):
        python = find_venv_python()
        if python is None:
            yield f"the virtual environment is made when that is done, by make {level} again"
        else:
            make_environment(python, level)
    link_collection()
    yield from reach_engine()


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let one preparation at a time work on this checkout."""
    WORK.mkdir(exist_ok=True)
    with (WORK / "prepare.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another preparation of this checkout to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_logged(argv: Sequence[str], *, what: str) -> None:
    """Run *argv* with its output in the log; raise Stuck with the last lines when it fails."""
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }
    with LOG.open("ab") as log:
        start = log.tell()
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
        )
    if done.returncode != 0:
        with LOG.open("rb") as log:
            log.seek(start)
            said = log.read().decode("utf-8", "replace").strip().splitlines()
        raise Stuck(
            f"{what} failed with exit status {done.returncode}; all of it is in {LOG}, "
            "the end of it:\n" + "\n".join(f"    {line}" for line in said[-15:])
        )


# Packages


def may_install() -> bool:
    """Whether this user and machine can install Debian packages."""
    return os.geteuid() == 0 and prepare.find_program("apt-get") is not None


def wanted_packages(level: str) -> list[str]:
    """Return the Debian packages to install, the engine's and Python's own among them."""
    packages = prepare.missing_packages(level)
    if prepare.find_program("docker") is None or (
        not engine_is_elsewhere()
        and prepare.engine_error() is not None
        and prepare.find_program("dockerd") is None
    ):
        packages += docker_packages()
    if not prepare.environment_is_complete(level) and find_venv_python() is None:
        packages.append("python3-venv")
    return sorted(packages)


def docker_packages() -> list[str]:
    """Return the packages that hold the docker command and, unless it is elsewhere, the engine.

    Since Debian 13 the command is a package of its own; before, it comes with the engine.
    """
    split = package_exists("docker-cli")
    if engine_is_elsewhere():
        return ["docker-cli"] if split else ["docker.io"]
    return ["docker-cli", "docker.io"] if split else ["docker.io"]


def package_exists(name: str) -> bool:
    """Whether apt knows a package *name* that can be installed."""
    if prepare.find_program("apt-cache") is None:
        return False
    done = subprocess.run(
        ["apt-cache", "policy", name],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    return b"Candidate: " in done.stdout and b"Candidate: (none)" not in done.stdout


def refresh_package_lists() -> None:
    """Refresh apt's lists; a source that cannot be reached matters only if it is needed."""
    say("refreshing the package lists with apt-get")
    try:
        run_logged(["apt-get", "update", "--quiet"], what="apt-get update")
    except Stuck:
        say(f"not every apt source could be refreshed ({LOG}); going on with those that could")


def install_packages(packages: Sequence[str]) -> None:
    """Install *packages* without what they merely recommend."""
    say(f"installing with apt-get: {' '.join(packages)}")
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    with engine_start_withheld(engine_is_elsewhere() and "docker.io" in packages):
        run_logged(command, what=" ".join(command))


@contextlib.contextmanager
def engine_start_withheld(wanted: bool) -> Iterator[None]:
    """Keep the docker.io package from starting an engine that is not to be used.

    Debian's way is a policy-rc.d that forbids starts (exit status 101); one that is there
    already is left to decide.
    """
    policy = Path("/usr/sbin/policy-rc.d")
    if not wanted or policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


# The virtual environment and the collections


def find_venv_python() -> str | None:
    """Return a Python that can make the environment, or None."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    for python in (base, "python3", "python3.13", "python3.12", "python3.11", "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            probe = subprocess.run(
                [python, "-c", USABLE_PYTHON],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if probe.returncode == 0:
                return python
    return None


def make_environment(python: str, level: str) -> None:
    """Make the environment of *level* whole, from pinned packages checked by their hashes.

    One that is whole for another level with the same pins is added to; any other is made anew.
    """
    keep = [name for name in prepare.REQUIREMENTS if prepare.environment_is_complete(name)]
    for name in prepare.REQUIREMENTS:
        Path(prepare.stamp(name)).unlink(missing_ok=True)
    if not keep:
        say(f"making the virtual environment {ENVIRONMENT}")
        run_logged([python, "-m", "venv", "--clear", str(ENVIRONMENT)], what="making it")
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip"]
    files = [name for name in prepare.REQUIREMENTS[level] if "collections" not in name]
    say(f"installing {' and '.join(files)} with pip")
    install = [*pip, "install", "--quiet", "--require-hashes", "--progress-bar", "off"]
    for name in files:
        # Python compiles what is imported: of what the tests need most never is. The pins are
        # whole, so that pip need not find out what they ask for.
        quick = [] if name in prepare.REQUIREMENTS["bake"] else ["--no-compile", "--no-deps"]
        argv = [*install, *quick, "--requirement", str(ROOT / name)]
        run_logged(argv, what=f"pip install -r {name}")
    if len(files) < len(prepare.REQUIREMENTS[level]):
        take_collections(pip)
    for name in {*keep, "bake", level}:  # the tests' pins hold the bake's
        Path(prepare.stamp(name)).write_text(prepare.requirements_digest(name), encoding="ascii")


def take_collections(pip: Sequence[str]) -> None:
    """Unpack the collections that the tests use from the wheel that carries all of them."""
    requirements = ROOT / "requirements-collections.txt"
    say(f"taking community.docker from the wheel of {requirements.name}")
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        download = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder]
        run_logged(
            [*pip, *download, "--progress-bar", "off", "--requirement", str(requirements)],
            what="pip download of the collections",
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                inside = member.removeprefix("ansible_collections/")
                if inside != member and inside.startswith(WANTED_COLLECTIONS):
                    archive.extract(member, COLLECTIONS.parent)


def link_collection() -> None:
    """Put this checkout where Ansible looks for the collection kiln.immutable."""
    if prepare.collection_is_linked():
        return
    link = Path(prepare.LINK)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(prepare.LINK_TARGET)


# The engine


def engine_is_elsewhere() -> bool:
    """Whether the user has pointed the docker command away from this machine's own engine."""
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return True
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        settings = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return bool(settings.get("currentContext", "default") != "default")


def reach_engine() -> Iterator[str]:
    """Start the engine if that is ours to do; yield what the user must do about it otherwise."""
    error = prepare.engine_error()
    if error is None:
        return
    if os.environ.get("DOCKER_HOST"):
        yield (
            f"no Docker Engine answers at DOCKER_HOST ({error}); start the one there, or unset "
            "DOCKER_HOST to use one on this machine"
        )
    elif engine_is_elsewhere():
        yield (
            "the docker command is set to another context; set DOCKER_HOST to that engine's "
            "address (docker context inspect shows it) so that Ansible finds it too"
        )
    elif os.access(prepare.DEFAULT_SOCKET, os.F_OK) and "Permission" in error:
        yield (
            f"this user may not use the Docker Engine ({error}); as root: "
            f"usermod --append --groups docker {pwd.getpwuid(os.getuid()).pw_name}, "
            "then log in again"
        )
    elif os.geteuid() != 0:
        yield (
            f"no Docker Engine answers ({error}); as root: service docker start; "
            "or set DOCKER_HOST to one that runs elsewhere"
        )
    elif prepare.find_program("dockerd") is None:
        yield "no Docker Engine is installed here, and there is no apt-get to install it with"
    else:
        start_engine()


def start_engine() -> None:
    """Start this machine's engine, by its init where there is one, and wait until it answers."""
    init = Path("/proc/1/comm").read_text(encoding="utf-8", errors="replace").strip()
    if Path("/run/systemd/system").is_dir():
        say("starting the Docker Engine: systemctl start docker")
        run_logged(["systemctl", "start", "docker"], what="systemctl start docker")
        log, process = LOG, None
    elif init in {"init", "runit", "openrc-init"} and prepare.find_program("service"):
        say("starting the Docker Engine: service docker start")
        run_logged(["service", "docker", "start"], what="service docker start")
        log, process = Path("/var/log/docker.log"), None
    else:
        log = next(path for path in ENGINE_LOGS if path.parent.is_dir())
        say(f"starting the Docker Engine by hand, as no init runs here; its log is {log}")
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [prepare.find_program("dockerd") or "dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd="/",
                start_new_session=True,  # it outlives this run, and its Ctrl-C
            )
    deadline = time.monotonic() + ENGINE_PATIENCE
    while (error := prepare.engine_error() or ping_error()) is not None:
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = "ended" if ended else f"did not answer within {ENGINE_PATIENCE:g} s"
            raise Stuck(f"the Docker Engine {why} ({error}); {last_lines(log)}")
        time.sleep(0.1)


def ping_error() -> str | None:
    """Return why the local engine does not answer a ping, or None when it does.

    A starting engine takes connections long before it serves them.
    """
    request = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(prepare.DEFAULT_SOCKET)
            connection.sendall(request)
            answer = connection.recv(64)
    except OSError as error:
        return error.strerror or str(error)
    return None if b" 200 " in answer else "it refused a ping"


def last_lines(log: Path, count: int = 5) -> str:
    """Return where *log* is and what it ends with."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return f"see {log}"
    return f"the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)

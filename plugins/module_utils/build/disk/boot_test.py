# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test of a disk before it becomes a version: it is booted, looked at and shut down."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.command import Runner, last_lines, run
from ...core.errors import DriverError
from ..definition_model import DiskSpec, DiskTests
from ..toolbox import Toolbox
from .assembly import DISK
from .machine import Drive, Machine, MachineSpec, keep_evidence, machine
from .workbench import FOLDER, Workbench

SSH_PORT = 2222
TESTS_SECONDS = 600
_SEED_KIB = 1024
_PATIENCE = "-o ConnectTimeout=120"
_WAY_IN = ("socat", "-", f"TCP:127.0.0.1:{SSH_PORT}")


def boot_disk(
    toolbox: Toolbox,
    bench: Workbench,
    spec: DiskSpec,
    *,
    name: str,
    folder: Path,
    runner: Runner = run,
) -> dict[str, Any]:
    """Boot the disk on *bench* in a machine of *toolbox*; return how that went.

    :param name: of the image.
    :param folder: where its console is kept.

    Raises DriverError, saying where its console is, when the disk does not come up, a unit fails
    in it, its tests do not pass, or it does not shut down.
    """
    began = time.monotonic()
    with (
        _key(spec.tests, runner) as key,
        machine(
            toolbox,
            MachineSpec(
                _drives(bench, spec, name, key, runner),
                firmware=spec.boot,
                ports={22: SSH_PORT} if key is not None else {},
            ),
            name=name,
            session=toolbox.session,
            options=["--volumes-from", f"{bench.container}:ro"],
        ) as it,
    ):
        tests = ""
        try:
            failed = it.wait_until_ready(spec.boot_test)
            seconds = round(time.monotonic() - began, 1)
            if failed:
                raise DriverError(f"Units failed in it: {', '.join(failed)}.")
            if spec.tests is not None and key is not None:
                tests = _run_tests(it, spec.tests, name, key, runner)
            it.shut_down()
        except DriverError as error:
            kept = keep_evidence(folder, it)
            raise DriverError(
                f"{name} gets no version: its disk did not come up as it must. {error.message}",
                hint=f"See {' and '.join(str(path) for path in kept)}.",
                details={"console": it.console[-4000:]},
            ) from error
        keep_evidence(folder, it)
    return {"seconds": seconds, "tests": tests, "console": str(folder / "console.log")}


def _drives(
    bench: Workbench, spec: DiskSpec, name: str, key: Path | None, runner: Runner
) -> tuple[Drive, ...]:
    drives = [Drive(f"{FOLDER}/{DISK}")]
    if spec.state is not None and spec.state.device:
        bench.run("truncate", "--size=256M", "state.raw")
        serial = Path(spec.state.device).name.removeprefix("virtio-")
        drives.append(Drive(f"{FOLDER}/state.raw", serial=serial))
    if key is not None:
        make_seed(bench, name, key.with_suffix(".pub").read_text("utf-8").strip())
        drives.append(Drive(f"{FOLDER}/seed.img"))
    return tuple(drives)


def make_seed(bench: Workbench, name: str, public_key: str) -> None:
    """Make ``seed.img``, a disk from which cloud-init takes what an instance is told (NoCloud)."""
    host = name.replace(".", "-").replace("_", "-")
    bench.write("meta-data", f"instance-id: boot-test\nlocal-hostname: {host}\n".encode())
    bench.write("user-data", f"#cloud-config\nssh_authorized_keys: ['{public_key}']\n".encode())
    bench.run("rm", "-f", "seed.img")
    bench.run("mkfs.vfat", "-n", "CIDATA", "-C", "seed.img", str(_SEED_KIB))
    bench.run("mcopy", "-i", "seed.img", "meta-data", "user-data", "::/")


@contextmanager
def _key(tests: DiskTests | None, runner: Runner) -> Iterator[Path | None]:
    """Give a key for the time of the block, when there are tests that log in with it."""
    if tests is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="kiln-boot-") as scratch:
        path = Path(scratch) / "key"
        runner(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boot-test", "-f", str(path)])
        yield path


def ssh_config(it: Machine, user: str, key: Path) -> str:
    """Return the settings by which ssh(1) reaches *it*, whatever the name of the host.

    By way of its container: from anywhere else the guest would have no way back. One connection
    serves all commands, because to open one takes seconds in a machine that is translated.
    """
    lines = [
        f"User {user}",
        f"IdentityFile {key}",
        "IdentitiesOnly yes",
        "StrictHostKeyChecking no",
        "UserKnownHostsFile /dev/null",
        "LogLevel ERROR",
        "ControlMaster auto",
        "ControlPersist 60",
        f"ControlPath {key.parent}/ssh",
        f"ProxyCommand docker exec --interactive {it.container} {' '.join(_WAY_IN)}",
    ]
    return "\n".join(["Host *", *(f"  {line}" for line in lines)]) + "\n"


def _run_tests(it: Machine, tests: DiskTests, name: str, key: Path, runner: Runner) -> str:
    """Run the tests over SSH; return what pytest says last."""
    config = key.with_name("ssh_config")
    config.write_text(ssh_config(it, tests.user, key), "utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests.path)]
    argv += [f"--hosts=ssh://{name}", f"--ssh-config={config}", f"--ssh-extra-args={_PATIENCE}"]
    done = runner(argv, cwd=tests.path.parent, check=False, timeout=TESTS_SECONDS)
    if done.status != 0:
        if b"No module named pytest" in done.stderr:
            raise DriverError(
                "The tests of the disk need pytest and testinfra on this machine.",
                hint="pip install pytest-testinfra, into the environment of Ansible.",
            )
        said = done.text.strip() or last_lines(done)
        raise DriverError(f"Its tests did not pass:\n{said[-3000:]}")
    return done.text.rpartition("\n")[2]

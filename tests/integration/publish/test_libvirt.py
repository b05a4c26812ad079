# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirt takes disks into a pool: whole or not at all, and once."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed, run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.publish.libvirt import (
    Libvirt,
    LibvirtPublication,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.tests.integration.publish.disks import (
    disk_bytes,
    record_version,
    subject,
)
from ansible_collections.kiln.immutable.tests.integration.publish.playing import play

POOL = "disks"


@dataclass(frozen=True)
class Daemon:
    """A libvirtd of this test's own, and the folder of its pool."""

    uri: str
    pool: Path


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Start libvirtd as a user's own: as root it would be the machine's."""
    folder = Path(tempfile.mkdtemp(prefix="kiln-lv-", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o755)
    pool, rundir = folder / "pool", folder / "run"
    user: list[str] = []
    for one in (pool, rundir):
        one.mkdir()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(one, nobody.pw_uid, nobody.pw_gid)
            user = ["setpriv", "--reuid", "nobody", "--regid", str(nobody.pw_gid)]
            user += ["--clear-groups"]
    config = folder / "libvirtd.conf"
    config.write_text(f'unix_sock_dir = "{rundir}"\n')
    homes = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin"} | dict.fromkeys(homes, str(rundir))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*user, "libvirtd", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    uri = f"storage:///session?socket={rundir}/libvirt-sock"
    try:
        wait_for("libvirtd", lambda: answers(uri), timeout=30, clock=time)
        Libvirt(uri)("pool-create-as", POOL, "dir", "--target", str(pool))
        yield Daemon(uri, pool)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def answers(uri: str) -> bool | None:
    done = Libvirt(uri)("pool-list", check=False)
    return True if done.status == 0 else None


@pytest.fixture
def publication(daemon: Daemon, tmp_path: Path) -> LibvirtPublication:
    """Return a publication of a disk that no other test has."""
    one = subject(tmp_path, "qcow2", raw=disk_bytes(salt=tmp_path.name.encode()))
    return LibvirtPublication(
        one, POOL, f"{tmp_path.name}.qcow2", Libvirt(daemon.uri), tmp_path / "locks", acting()
    )


def acting() -> Steps:
    return Steps(True, lambda what: None)


def test_the_pool_gets_the_disk_and_gets_it_once(
    daemon: Daemon, publication: LibvirtPublication
) -> None:
    looking = replace(publication, steps=Steps(False, lambda what: None))
    assert (looking.run(), len(looking.steps.taken)) == ("", 1)
    assert publication.name not in publication.libvirt.volumes(POOL)

    path = Path(publication.run())
    again = replace(publication, steps=acting())

    assert path == daemon.pool / publication.name
    size = publication.subject.disk.blob.size
    content = path.read_bytes()
    assert hashlib.sha256(content[:size]).hexdigest() == publication.subject.sha256
    assert content[size:].strip(b"\0") == b""
    assert (again.run(), again.steps.taken) == (str(path), [])
    assert not [name for name in publication.libvirt.volumes(POOL) if "partial" in name]


def shortened(argv: Sequence[str], size: int, folder: Path) -> list[str]:
    """Return the upload *argv* with only the first bytes of its file."""
    at = argv.index("--file") + 1
    part = folder / "part"
    part.write_bytes(Path(argv[at]).read_bytes()[:size])
    return [*argv[:at], str(part), *argv[at + 1 :]]


def test_a_failed_upload_leaves_no_volume(publication: LibvirtPublication, tmp_path: Path) -> None:
    def cut(argv: Sequence[str], **given: Any) -> Completed:
        if "vol-upload" in argv:  # half of it arrives, and then the connection is gone
            half = publication.subject.disk.blob.size // 2
            run(shortened(argv, half, tmp_path))
            return Completed(1, b"", b"error: Cannot recv data: Connection reset by peer\n")
        return run(argv, check=False)

    with pytest.raises(DriverError, match=r"virsh vol-upload at .* failed: .*Connection reset"):
        replace(publication, libvirt=replace(publication.libvirt, runner=cut)).run()

    assert not [
        name for name in publication.libvirt.volumes(POOL) if name.startswith(publication.name)
    ]


def test_what_arrives_damaged_is_no_volume(publication: LibvirtPublication, tmp_path: Path) -> None:
    def damage(argv: Sequence[str], **given: Any) -> Completed:
        if "vol-upload" in argv:
            return run(shortened(argv, 4096, tmp_path))
        return run(argv, check=False)

    with pytest.raises(DriverError, match="received is not what was sent"):
        replace(publication, libvirt=replace(publication.libvirt, runner=damage)).run()

    assert publication.name not in publication.libvirt.volumes(POOL)


KILLED = """\
import os, signal, sys
from pathlib import Path
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.publish.libvirt import (
    Libvirt, LibvirtPublication)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps
from ansible_collections.kiln.immutable.tests.integration.publish.disks import disk_bytes, subject
from ansible_collections.kiln.immutable.tests.integration.publish.test_libvirt import shortened
folder, uri, pool, name = Path(sys.argv[1]), *sys.argv[2:]
def runner(argv, **given):
    if "vol-upload" in argv:
        run(shortened(argv, 65536, folder))
        os.kill(os.getpid(), signal.SIGKILL)
    return run(argv, check=False)
one = subject(folder, "qcow2", raw=disk_bytes(salt=folder.name.encode()))
steps = Steps(True, lambda what: None)
LibvirtPublication(one, pool, name, Libvirt(uri, runner=runner), folder / "locks", steps).run()
"""


def test_after_a_kill_the_next_run_brings_it_there(
    daemon: Daemon, publication: LibvirtPublication, tmp_path: Path
) -> None:
    given = [str(tmp_path), daemon.uri, POOL, publication.name]
    killed = subprocess.run([sys.executable, "-c", KILLED, *given], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = publication.libvirt.volumes(POOL)
    assert publication.name not in left
    assert f"{publication.name}.partial" in left

    path = Path(publication.run())

    size = publication.subject.disk.blob.size
    assert hashlib.sha256(path.read_bytes()[:size]).hexdigest() == publication.subject.sha256
    assert f"{publication.name}.partial" not in publication.libvirt.volumes(POOL)


def test_a_volume_of_something_else_stays(publication: LibvirtPublication) -> None:
    create = ["--capacity", "1MiB", "--format", "raw"]
    publication.libvirt("vol-create-as", "--pool", POOL, "--name", publication.name, *create)

    with pytest.raises(DriverError, match=f"has a volume {publication.name} that is not the disk"):
        publication.run()

    assert publication.name in publication.libvirt.volumes(POOL)


def test_a_pool_that_is_not_there_is_named(publication: LibvirtPublication) -> None:
    with pytest.raises(DriverError, match=r"Storage pool not found.*nowhere"):
        replace(publication, pool="nowhere").run()


def test_the_playbook_publishes_once(daemon: Daemon, checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    record_version(home, b"libvirt", ("qcow2",))
    tfvars = tmp_path / "images.auto.tfvars.json"
    given = {
        "kiln_image": "web-vm",
        "kiln_target": "libvirt",
        "kiln_tfvars": str(tfvars),
        "kiln_libvirt_uri": daemon.uri,
        "kiln_libvirt_pool": POOL,
    }
    name = "web-vm_1.0.1.qcow2"

    looked = play(checkout, home, "--check", "--diff", given=given)
    assert not (daemon.pool / name).exists()
    first = play(checkout, home, given=given)

    assert (daemon.pool / name).exists()
    assert name in looked
    assert "changed=1 " in first
    volume = {"format": "qcow2", "name": name, "pool": POOL}
    assert json.loads(tfvars.read_text()) == {"web_vm_volume": volume}
    assert "changed=0 " in play(checkout, home, given=given)

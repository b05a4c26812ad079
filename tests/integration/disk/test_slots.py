# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions on one machine, booted for real: a good one is installed, and a bad one is left.

The first version is baked. The next ones are its layers and a file more, which makes the last one
bad. The machine does everything by itself: what it says on its console, and its disk, are judged.
That is unpacked as Google's cloud does it, onto a disk that is larger, to whose end the state has
to grow.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import (
    DiskArtefact,
    disks_of,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import assemble
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.files import (
    plan_files,
    write_files,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    MachineSpec,
    keep_evidence,
    last_words,
    machine,
    machine_spec,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.making import store_forms
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.signed_sums import (
    sign_sums,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Mount,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import read_image
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import read_tree

SLOTS = Path(__file__).parent / "slots"
SESSION = uuid.uuid4().hex[:8]
KEY = "slots@example.org"
PATIENCE = 900.0  # seconds for four boots, where the host has a lot else to do
BAKE_SECONDS = 600.0
GROWN = 48 << 20  # bytes that the machine's disk has more than the image's
STARTED = re.compile(r"^chain: up (\S+) (\S+) (\S*)\s*$", re.MULTILINE)
SEEN = re.compile(r"^chain: (1\.0\.\d) (\S+) (.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A machine that was back from the bad version: what it had said, and its disk by then.

    :param kernels: the names of the kernels in the EFI system partition.
    :param labels: of the partitions, in their order.
    :param state: bytes of the state's partition, and of the file system in it.
    """

    console: str
    kernels: tuple[str, ...]
    labels: tuple[str, ...]
    state: tuple[int, int]

    @property
    def started(self) -> list[tuple[str, str, str]]:
        """Each boot: of which version, of which machine, and what its state had by then."""
        return STARTED.findall(self.console)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the machine's container sees."""
    return tmp_path_factory.mktemp("slots")


@pytest.fixture(scope="module")
def keyring(folder: Path) -> Iterator[Path]:
    """Return the public key of who signs versions; gpg has the other half until the end."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(home))
        make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
        subprocess.run([*make, KEY, "ed25519", "sign", "never"], check=True)
        path = folder / "keyring.gpg"
        with path.open("wb") as stream:
            subprocess.run(["gpg", "--export", KEY], check=True, stdout=stream)
        yield path
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=True)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Return a home whose catalog is new, with what the checks' own home has in its cache."""
    shared = Home.at(None)
    made = Home(shared.root / f"slots-{SESSION}")
    made.cache.mkdir(parents=True)
    # Records before the blobs that they name: others write there at the same time.
    parts = ("cache/bases", "cache/layers", "cache/toolkits", "store/blobs", "store/listings")
    for part in parts:
        if (shared.root / part).exists():
            shutil.copytree(shared.root / part, made.root / part, copy_function=link)
    yield made
    shutil.rmtree(made.root)


def link(source: str, target: str) -> None:
    """Give a file that is never changed a second name, unless it is gone by now."""
    with contextlib.suppress(FileNotFoundError):
        os.link(source, target)


@pytest.fixture(scope="module")
def baked(checkout: Path, home: Home, folder: Path, keyring: Path) -> Iterator[Path]:
    """Bake the first version; return its definition."""
    path = folder / "vm-slots.yml"
    document = yaml.safe_load((SLOTS / "vm-slots.yml").read_text("utf-8"))
    document["vars"] = {"ab_update_keyring": str(keyring)}
    document["layers"][-1]["role"] = os.path.relpath(SLOTS / "roles" / "chain", folder)
    path.write_text(yaml.safe_dump(document))
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [sys.executable, str(program), "-i", "localhost,", str(checkout / "playbooks/bake.yml")]
    done = subprocess.run(
        [*argv, "-e", f"kiln_images={path}", "-e", f"kiln_home={home.root}"],
        capture_output=True,
        text=True,
        timeout=BAKE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield path
    remove = ["docker", "image", "rm", "--force", "kiln/vm-slots:1.0.1"]
    subprocess.run(remove, check=True, capture_output=True)


def publish(
    bench: Workbench, home: Home, definition: Path, version: str, file: str, folder: Path
) -> DiskArtefact:
    """Write a version with a *file* more than the first one has; return the first one's disk."""
    layout = Layout(home.store)
    loaded = load(definition)
    assert loaded.disk is not None
    index = layout.tags()[f"{loaded.name}-1.0.1"]
    layers = [*read_image(layout, index).layers, layer(layout, {file: b""})]
    laid = assemble(
        bench,
        read_tree(layout, layers),
        loaded.disk,
        image=loaded.name,
        seed=layers[-1].descriptor.digest,
        architecture="amd64",
        version=version,
    )
    parts = replace(loaded.disk, formats=("sysupdate",))
    forms = store_forms(layout, bench, laid, parts, loaded.name)
    write_files(layout, plan_files(forms, folder, name=loaded.name, version=version), folder)
    sign_sums(folder, KEY)
    return next(one for one in disks_of(layout, index) if one.format == "tar.gz")


def layer(layout: Layout, files: Mapping[str, bytes]) -> Layer:
    """Store a layer that adds *files* to /usr/lib."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"usr/lib/{name}")
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    stored = store_layer(layout, [buffer.getvalue()])
    assert stored is not None
    return stored


@pytest.fixture(scope="module")
def ended(baked: Path, home: Home, folder: Path) -> Ended:
    """Return the machine when it had tried the bad version and was back."""
    engine = Engine()
    toolbox = ensure_toolbox(disk_spec(), engine=engine, home=home)
    inside = [Mount(str(folder), "/machine", read_only=False)]
    drives = [Drive("/machine/disk.raw", lasts=True)]
    for before, version, file in (("1.0.1", "1.0.2", "sound"), ("1.0.2", "1.0.3", "broken")):
        updates = folder / version
        updates.mkdir()
        with workbench(toolbox, name="vm-slots", session=SESSION, epoch=0) as bench:
            disk = publish(bench, home, baked, version, file, updates)
        at = f"/machine/{version}"
        toolbox.run(["mkfs.erofs", "--quiet", f"{at}.img", at], mounts=inside)
        drives.append(Drive(f"{at}.img", serial=f"after-{before}"))
    packed = Layout(home.store).path(disk.blob.digest)
    subprocess.run(["tar", "-xzf", str(packed), "-C", str(folder)], check=True)
    os.truncate(folder / "disk.raw", disk.size + GROWN)
    with machine(
        ensure_toolbox(machine_spec(), engine=engine, home=home),
        MachineSpec(tuple(drives), starts_anew=True),
        name="vm-slots",
        session=SESSION,
        options=["--volume", f"{folder}:/machine"],
    ) as it:

        def back() -> bool | None:
            runs, started = it.runs, STARTED.findall(it.console)
            assert runs, last_words(it.console, 60)
            return len(started) > 3 or None

        try:
            wait_for("the bad version to be left", back, timeout=PATIENCE, interval=1)
        except DriverError as error:
            raise AssertionError(f"{error}: {last_words(it.console, 60)}") from error
        finally:
            keep_evidence(folder, it)
        console = it.console
    at = f"/machine/disk.raw@@{1 << 20}"
    kernels = toolbox.run(["mdir", "-b", "-i", at, "::/EFI/Linux"], mounts=inside).text
    said = toolbox.run(["sfdisk", "--json", "/machine/disk.raw"], mounts=inside).text
    table = json.loads(said)["partitiontable"]["partitions"]
    return Ended(
        console,
        tuple(sorted(one.rpartition("/")[2] for one in kernels.split())),
        tuple(one["name"] for one in table),
        (table[-1]["size"] * 512, ext4_bytes(folder / "disk.raw", table[-1]["start"] * 512)),
    )


def ext4_bytes(disk: Path, start: int) -> int:
    """Return how large the file system is that begins at byte *start* of *disk*."""
    with disk.open("rb") as stream:
        stream.seek(start + 1024)
        block = stream.read(1024)
    assert block[0x38:0x3A] == b"\x53\xef"
    blocks, shift = (int.from_bytes(block[at : at + 4], "little") for at in (0x4, 0x18))
    return blocks * (1024 << shift)


def test_the_first_version_is_good_once_it_was_healthy(ended: Ended) -> None:
    assert SEEN.findall(ended.console)[0] == ("1.0.1", "good", "vm-slots_1.0.1.efi")


def test_the_next_version_is_installed_beside_it_and_is_good_too(ended: Ended) -> None:
    both = "vm-slots_1.0.1.efi vm-slots_1.0.2.efi"
    assert SEEN.findall(ended.console)[1] == ("1.0.2", "good", both)


def test_the_version_after_that_takes_the_place_of_the_first(ended: Ended) -> None:
    slots = [*["vm-slots_1.0.3"] * 2, *["vm-slots_1.0.2"] * 2]
    assert ended.labels == ("esp", *slots, "state")


def test_a_version_that_is_not_healthy_is_tried_and_left_for_the_one_before(ended: Ended) -> None:
    versions = [version for version, _machine, _note in ended.started]
    tried = ended.console.rpartition("chain: installed")[2]

    assert versions == ["1.0.1", "1.0.2", "1.0.3", "1.0.2"]
    assert "kiln-health: this does not succeed: test ! -e /usr/lib/broken" in tried
    assert ended.kernels == ("vm-slots_1.0.2.efi", "vm-slots_1.0.3+0-1.efi")


def test_what_lasts_outlives_each_change_of_version(ended: Ended) -> None:
    _versions, machines, notes = zip(*ended.started, strict=True)

    assert notes == ("", "1.0.1", "1.0.2", "1.0.2")
    assert len({*machines}) == 1
    assert re.fullmatch("[0-9a-f]{32}", machines[0])


def test_the_state_grows_to_the_end_of_its_disk(ended: Ended) -> None:
    partition, file_system = ended.state

    assert partition >= GROWN
    assert partition - file_system < 1 << 20


TRANSFER = """\
[Transfer]
Verify=yes
[Source]
Type=url-file
Path=file:///tmp/source
MatchPattern=app_@v.efi
[Target]
Type=regular-file
Path=/tmp/target
MatchPattern=app_@v.efi
"""


def install(source: Path) -> tuple[str, str]:
    """Have the image's systemd-sysupdate install from *source*; return what it said and has then.

    In a container: what is asked is whose files it takes, which needs no machine.
    """
    (source / "definitions").mkdir(exist_ok=True)
    (source / "definitions" / "app.transfer").write_text(TRANSFER)
    update = "/usr/lib/systemd/systemd-sysupdate --definitions=/tmp/source/definitions update"
    script = f"mkdir /tmp/target; {update} >&2; ls /tmp/target"
    argv = ["docker", "run", "--rm", "--network", "none", "--volume", f"{source}:/tmp/source:ro"]
    argv += ["--entrypoint", "sh", "kiln/vm-slots:1.0.1", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stderr, done.stdout.strip()


@pytest.mark.usefixtures("baked")
def test_what_is_signed_is_installed_and_what_was_changed_is_not(folder: Path) -> None:
    source = folder / "source"
    source.mkdir()
    kernel, sums = source / "app_1.0.2.efi", source / "SHA256SUMS"
    kernel.write_bytes(b"kernel")
    listed = f"{hashlib.sha256(b'kernel').hexdigest()}  {kernel.name}\n"
    sums.write_text(listed)
    sign_sums(source, KEY)
    signed = install(source)
    kernel.write_bytes(b"forged")
    forged = install(source)
    sums.write_text(listed.replace("1.0.2", "1.0.3"))
    relisted = install(source)

    assert signed[1] == kernel.name
    assert (forged[1], relisted[1]) == ("", "")
    assert "tampered with" in forged[0]
    assert "Signature verification failed" in relisted[0]

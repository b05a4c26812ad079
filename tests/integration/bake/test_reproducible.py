# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web image is the same, byte for byte, on a machine that has nothing in common with this one.

The other machine is simulated: another user without privileges, another place of the checkout,
another engine with storage of its own, another umask, locale, time zone and host name, and a clock
that is five hours ahead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.tests.integration.homes import copy_cache

SUITES = ("bookworm", "trixie")
USER = "kiln-elsewhere"
BRIDGE = "kiln-elsewhere"
NETWORK = "172.30.213"
RULES = (
    ("nat", "POSTROUTING", f"-s {NETWORK}.0/24 ! -o {BRIDGE} -j MASQUERADE"),
    ("filter", "FORWARD", f"-i {BRIDGE} -j ACCEPT"),
    ("filter", "FORWARD", f"-o {BRIDGE} -j ACCEPT"),
)


def run(*argv: str, check: bool = True) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def other_user() -> Iterator[str]:
    """Make a user who may speak to engines and to nothing else."""
    forget_user()  # a run that was killed leaves its own
    run("useradd", "--create-home", "--groups", "docker", USER)
    yield USER
    assert forget_user()


def forget_user() -> bool:
    """Remove the user and all that runs in its name; say whether there was one."""
    run("pkill", "-KILL", "-u", USER, check=False)
    argv = ["userdel", "--remove", "--force", USER]
    return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0


def forget_network() -> None:
    """Remove the bridge and its packet filter rules, as often as they are there."""
    run("ip", "link", "delete", BRIDGE, check=False)
    for table, chain, rule in RULES:
        argv = ["iptables", "-t", table, "-D", chain, *rule.split()]
        while subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0:
            pass


@pytest.fixture(scope="module")
def other_engine() -> Iterator[str]:
    """Start an engine with storage and network of its own; its address is what DOCKER_HOST takes.

    It leaves the packet filter alone, which belongs to the first engine.
    """
    top = Path(tempfile.mkdtemp(prefix="kiln-engine-"))  # a socket's path may have 104 characters
    top.chmod(0o755)
    forget_network()  # a run that was killed leaves its own
    with contextlib.ExitStack() as stack:
        stack.callback(forget_network)
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for table, chain, rule in RULES:
            run("iptables", "-t", table, "-I", chain, *rule.split())
        socket = top / "docker.sock"
        with (top / "log").open("wb") as log:
            engine = subprocess.Popen(
                [
                    "dockerd",
                    f"--host=unix://{socket}",
                    f"--data-root={top}/data",
                    f"--exec-root={top}/exec",
                    f"--pidfile={top}/pid",
                    f"--bridge={BRIDGE}",
                    "--iptables=false",
                    "--ip-masq=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        stack.callback(shutil.rmtree, top)
        # The engine mounts its storage on itself and leaves that so.
        stack.callback(run, "umount", f"{top}/data", check=False)
        stack.callback(engine.wait, 60)
        stack.callback(engine.terminate)
        address = f"unix://{socket}"
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["docker", "--host", address, "version"], capture_output=True, check=False
        ).returncode:
            assert engine.poll() is None, (top / "log").read_text()
            assert time.monotonic() < deadline, (top / "log").read_text()
            time.sleep(0.1)
        yield address


def quick_place() -> dict[str, str]:
    """Let bootstraps unpack in memory, where there is a place for it: it is quicker."""
    place = os.statvfs("/dev/shm")
    if place.f_flag & os.ST_NOEXEC or place.f_bavail * place.f_frsize < 4 << 30:
        return {}
    return {"TMPDIR": "/dev/shm"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how a bake runs."""

    checkout: Path
    home: Path
    environment: Mapping[str, str]
    prefix: tuple[str, ...] = ()

    def bake(self, definitions: Sequence[Path], clock: tuple[str, ...] = ()) -> dict[str, str]:
        """Bake *definitions* and return the digest of each version's index, by the image's name.

        :param clock: a program in front that gives those after it another time.
        """
        program = Path(sys.executable).with_name("ansible-playbook")
        playbook = self.checkout / "playbooks" / "bake.yml"
        argv = [*self.prefix, *clock, sys.executable, str(program), str(playbook)]
        variables = {"kiln_images": list(map(str, definitions)), "kiln_home": str(self.home)}
        done = subprocess.run(
            [*argv, "-e", json.dumps(variables)],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "KILN_"))},
                "ANSIBLE_COLLECTIONS_PATH": str(self.checkout / ".collections"),
                "ANSIBLE_CONFIG": str(self.checkout / "ansible.cfg"),
                **self.environment,
            },
            cwd=self.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        records = {
            one.stem: self.home / "catalog" / "images" / one.stem / "versions" / "1.0.1.yml"
            for one in definitions
        }
        return {
            name: str(yaml.safe_load(path.read_text())["index"]) for name, path in records.items()
        }


def copy_checkout(checkout: Path, target: Path) -> Path:
    """Lay the checkout's files out at *target*, as a clone would be."""
    names = run(
        "git", "-C", str(checkout), "ls-files", "-z", "-c", "-o", "--exclude-standard"
    ).split("\0")
    for name in filter(None, names):
        source = checkout / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
            if source.stat().st_mode & 0o100:
                (target / name).chmod(0o755)
    link = target / ".collections" / "ansible_collections" / "kiln" / "immutable"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    return target


def definitions_of(checkout: Path) -> list[Path]:
    """Write the web example for each suite beside the original, and return them."""
    paths = []
    for suite in SUITES:
        document = yaml.safe_load((checkout / "examples" / "images" / "web.yml").read_text())
        document["name"] = name_of(suite)
        document["base"]["debootstrap"]["suite"] = suite
        paths.append(checkout / "examples" / "images" / f"{name_of(suite)}.yml")
        paths[-1].write_text(yaml.safe_dump(document))
    return paths


def name_of(suite: str) -> str:
    return f"reproduced-{suite}"


def unpacked(home: Path, name: str, target: Path) -> Path:
    """Unpack the version of *name* in *home*, for a comparison that a person can read."""
    run("umoci", "unpack", "--image", f"{home / 'store'}:{name}-1.0.1", str(target))
    return target / "rootfs"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both machines made: the digest of each image's index, by the image's name."""

    here: Machine
    elsewhere: Machine
    digests: Mapping[str, str]
    digests_elsewhere: Mapping[str, str]

    def difference(self, name: str, folder: Path) -> str:
        """Say how the images called *name* differ."""
        homes = (self.here.home, self.elsewhere.home)
        layers = "".join(
            f"{home}: {sorted(path.name for path in (home / 'cache' / 'layers').glob('*.json'))}\n"
            for home in homes
        )
        trees = [unpacked(home, name, folder / f"{at}") for at, home in enumerate(homes)]
        return layers + run("diffoscope", "--text", "-", *map(str, trees), check=False)


# mmdebstrap without the other clock: what fakes it cannot follow into a user namespace.
REAL_CLOCK = """\
#!/bin/sh
unset LD_PRELOAD FAKETIME FAKETIME_SHARED
exec {program} "$@"
"""


@pytest.fixture(scope="module")
def comparison(
    checkout: Path,
    stocked: Any,
    tmp_path_factory: pytest.TempPathFactory,
    other_user: str,
    other_engine: str,
) -> Iterator[Comparison]:
    """Bake the images on both machines."""
    folder = tmp_path_factory.mktemp("reproducible")
    # Bases and layers that other checkouts of this machine made serve as well.
    copy_cache(stocked.home, folder / "home")
    here = Machine(copy_checkout(checkout, folder / "here"), folder / "home", {})
    place = Path(f"~{other_user}").expanduser()
    program = place / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(REAL_CLOCK.format(program=shutil.which("mmdebstrap")))
    program.chmod(0o755)
    elsewhere = Machine(
        copy_checkout(checkout, place / "deep" / "down" / "clone of kiln"),
        place / "kiln home",
        {
            "DOCKER_HOST": other_engine,
            "HOME": str(place),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            **quick_place(),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "TZ": "Pacific/Kiritimati",
            "USER": other_user,
        },
        (
            *("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"),
            *("setpriv", f"--reuid={other_user}", f"--regid={other_user}", "--init-groups"),
            # The interpreter that runs the tests may be in a home that others may not enter.
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            *("sh", "-c", 'umask 077 && exec "$@"', "sh"),
        ),
    )
    images = definitions_of(elsewhere.checkout)
    run("chown", "--recursive", f"{other_user}:", str(place))
    try:
        yield Comparison(
            here,
            elsewhere,
            here.bake(definitions_of(here.checkout)),
            elsewhere.bake(images, clock=("faketime", "-f", "+5h")),
        )
    finally:
        made = [f"kiln/{name_of(suite)}:1.0.1" for suite in SUITES]
        run("docker", "image", "rm", "--force", *made, check=False)


@pytest.mark.parametrize("suite", SUITES)
def test_another_machine_bakes_the_same_bytes(
    comparison: Comparison, suite: str, tmp_path: Path
) -> None:
    name = name_of(suite)
    assert comparison.digests_elsewhere[name] == comparison.digests[name], comparison.difference(
        name, tmp_path
    )


def test_what_differs_is_told(tmp_path: Path) -> None:
    """The comparison of the test above works, or a failure of it would say nothing."""
    trees = []
    for name, content in (("one", "same\n"), ("other", "not the same\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "motd").write_text(content)
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            archive.add(tmp_path / name / "motd", "etc/motd")
        trees.append(str(tmp_path / f"{name}.tar"))
    told = run("diffoscope", "--text", "-", *trees, check=False)
    assert "+not the same" in told

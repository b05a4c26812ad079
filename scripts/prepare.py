# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure that this checkout can bake, or run its tests; quick when all is there already.

This file only looks, with the few imports that takes, because it stands before every bake;
``provision.py`` beside it installs and starts what is found missing.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENT = os.path.join(ROOT, ".venv")
COLLECTIONS = os.path.join(ROOT, ".collections", "ansible_collections")
LINK = os.path.join(COLLECTIONS, "kiln", "immutable")
LINK_TARGET = os.path.join("..", "..", "..")
DEFAULT_SOCKET = "/var/run/docker.sock"

# What a level needs: pip's requirement files, and programs with the Debian package of each.
REQUIREMENTS = {
    "bake": ("requirements.txt",),
    "test": ("requirements.txt", "requirements-test.txt", "requirements-collections.txt"),
}
BAKE_PROGRAMS = {"git": "git", "gpg": "gnupg", "mmdebstrap": "mmdebstrap"}
TEST_PROGRAMS = {
    "diffoscope": "diffoscope-minimal",
    "docker-registry": "docker-registry",
    "faketime": "faketime",
    "htpasswd": "apache2-utils",
    "ip": "iproute2",
    "iptables": "iptables",
    "libvirtd": "libvirt-daemon",
    "newuidmap": "uidmap",
    "npm": "npm",
    "openssl": "openssl",
    "packer": "packer",
    "pigz": "pigz",
    "podman": "podman",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "shellcheck": "shellcheck",
    "skopeo": "skopeo",
    "ssh-keygen": "openssh-client",
    "systemd-analyze": "systemd",
    "umoci": "umoci",
    "virsh": "libvirt-clients",
    "wrk": "wrk",
}
PROGRAMS = {"bake": BAKE_PROGRAMS, "test": {**BAKE_PROGRAMS, **TEST_PROGRAMS}}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def missing_packages(level: str) -> list[str]:
    """Return the Debian packages whose programs or files *level* needs and does not find.

    The engine and its command are not among them: where they come from depends on DOCKER_HOST.
    """
    programs = dict(PROGRAMS[level])
    if os.geteuid() != 0:
        programs["newuidmap"] = "uidmap"  # mmdebstrap maps user ids when it is not root
    missing = [package for program, package in programs.items() if not find_program(program)]
    if not os.path.exists(KEYRING):
        missing.append("debian-archive-keyring")
    return missing


def find_program(name: str) -> str | None:
    """Return the path of program *name*, also when only root has its folder on the PATH."""
    search = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in [*search, "/usr/local/sbin", "/usr/sbin", "/sbin"]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def stamp(level: str) -> str:
    """Return the path of the file that says that the environment is complete for *level*."""
    return os.path.join(ENVIRONMENT, f"kiln-{level}.sha256")


def requirements_digest(level: str) -> str:
    """Return the digest of what the environment of *level* was, or is to be, made from."""
    digest = hashlib.sha256(ROOT.encode())  # the programs in an environment name its place
    for name in REQUIREMENTS[level]:
        with open(os.path.join(ROOT, name), "rb") as stream:
            digest.update(stream.read())
    return digest.hexdigest()


def environment_is_complete(level: str) -> bool:
    """Whether the virtual environment was made whole from the present requirements."""
    try:
        with open(stamp(level), encoding="ascii") as stream:
            return stream.read() == requirements_digest(level)
    except FileNotFoundError:
        return False


def collection_is_linked() -> bool:
    """Whether Ansible finds this checkout as the collection kiln.immutable."""
    try:
        return os.readlink(LINK) == LINK_TARGET
    except OSError:
        return False


def engine_error() -> str | None:
    """Return why the Docker Engine does not answer, or None when it does.

    Answering means that it takes a connection. An engine behind ssh:// or any other address that
    cannot be tried this way counts as answering: the bake itself will say if it does not.
    """
    address = os.environ.get("DOCKER_HOST") or f"unix://{DEFAULT_SOCKET}"
    scheme, place = address.split("://", 1) if "://" in address else ("tcp", address)
    try:
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(place)
        elif scheme in {"tcp", "http", "https"}:
            host, port = place.split("/")[0].rsplit(":", 1)
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        return f"{address}: {getattr(error, 'strerror', None) or error}"
    return None


def is_ready(level: str) -> bool:
    """Whether nothing is missing for *level*."""
    return (
        environment_is_complete(level)
        and collection_is_linked()
        and find_program("docker") is not None
        and not missing_packages(level)
        and engine_error() is None
    )


def main(argv: list[str]) -> int:
    """Prepare for the level named by the one argument; return the exit status."""
    if len(argv) != 2 or argv[1] not in REQUIREMENTS:
        sys.stderr.write("usage: scripts/prepare bake|test\n")
        return 2
    if is_ready(argv[1]):
        return 0
    from provision import provision

    return provision(argv[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv))

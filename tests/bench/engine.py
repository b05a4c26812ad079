# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench asks the Docker Engine about images, and how it tidies up there."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image weighs, in bytes, and what is in it.

    :param size: as `docker image inspect` counts, all layers together.
    :param compressed: `docker save` through one gzip.
    :param packages: versions of the installed Debian packages, by name.
    """

    size: int
    compressed: int
    files: int
    python_files: tuple[str, ...]
    packages: Mapping[str, str]


def inspect(image: str) -> Contents:
    """Weigh *image* and list its files; a container of it is started and removed."""
    size = int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image]).text)
    listing = _inside(image, "find", "/", "-xdev", "-type", "f")
    python = tuple(path for path in sorted(listing) if Path(path).name.startswith("python3"))
    packages = _inside(image, "dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n")
    versions = dict(line.split(" ", 1) for line in packages)
    return Contents(size, _compressed_size(image), len(listing), python, versions)


def _inside(image: str, program: str, *arguments: str) -> list[str]:
    """Return the lines that *program* prints in a container of *image*."""
    options = ("--rm", "--network", "none", "--user", "0:0", "--entrypoint", program)
    return run(["docker", "run", *options, image, *arguments]).text.splitlines()


def _compressed_size(image: str) -> int:
    squeeze = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    total = 0
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as process:
        while process.stdout and (chunk := process.stdout.read(1 << 20)):
            total += len(squeeze.compress(chunk))
    if process.returncode != 0:
        raise DriverError(f"docker save {image} failed with exit status {process.returncode}.")
    return total + len(squeeze.flush())


def tags(repository: str) -> list[str]:
    """Return the references of *repository* (which may hold wildcards), newest first."""
    return run(
        [
            *("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"),
            *("--filter", f"reference={repository}"),
        ]
    ).text.split()


def version() -> str:
    """Return the engine's version; DriverError when none answers."""
    answer = run(["docker", "version", "--format", "{{.Server.Version}}"], check=False)
    if answer.status != 0:
        raise DriverError(
            "No Docker Engine answers.", hint="Start one, or set DOCKER_HOST; `make bake` helps."
        )
    return answer.text


def volumes() -> set[str]:
    """Return the names of the engine's volumes."""
    return set(run(["docker", "volume", "ls", "--quiet"]).text.split())


def containers(name: str) -> list[str]:
    """Return the IDs of the containers whose names contain *name*."""
    return run(["docker", "ps", "--all", "--quiet", "--filter", f"name={name}"]).text.split()


def remove_images(references: Sequence[str]) -> None:
    """Remove images by reference; one that another process uses or removed is passed over."""
    if references:
        run(["docker", "image", "rm", *references], check=False)


def remove_all(name: str, made_volumes: Sequence[str]) -> list[str]:
    """Remove the containers and images that carry *name*, and *made_volumes*; return what stayed.

    *name* is random, so nothing of anybody else carries it.
    """
    if found := containers(name):
        run(["docker", "rm", "--force", "--volumes", *found], check=False)
    patterns = (f"kiln/{name}", f"kiln/{name}-*", f"{name}-*", f"kiln-chain:{name}-*")
    remove_images([tag for pattern in patterns for tag in tags(pattern)])
    for volume in made_volumes:
        run(["docker", "volume", "rm", volume], check=False)
    left = containers(name) + [tag for pattern in patterns for tag in tags(pattern)]
    return left + sorted(volumes() & set(made_volumes))

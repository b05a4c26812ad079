# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker Engine, driven through its command line client.

The client is used, not a library for the API, because Ansible's connections to the build
containers use it too: a context, ``DOCKER_HOST`` over ssh, or a credential helper then works
for all of a bake or for none of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ..core.command import Completed, Runner, last_lines, run
from ..core.errors import DriverError

LABEL = "io.kiln"
SESSION_LABEL = f"{LABEL}.session"
CACHE_LABEL = f"{LABEL}.cache"
CHAIN_REPOSITORY = "kiln-chain"
"""Names of the images that build containers start from: ``kiln-chain:IMAGE-SESSION``."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine said of itself."""

    version: str
    architecture: str
    containerd_store: bool


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image that the engine holds: its ID (digest of its configuration) and its layers."""

    id: str
    diff_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """The Docker Engine that the client on the PATH speaks to."""

    runner: Runner = field(default=run)

    def facts(self) -> EngineFacts:
        """Ask the engine who it is; DriverError says what to do when none answers."""
        done = self.runner(["docker", "info", "--format", "{{json .}}"], check=False)
        answer = _object(done.stdout)
        if done.status != 0 or answer.get("ServerErrors") or not answer.get("ServerVersion"):
            where = os.environ.get("DOCKER_HOST")
            raise DriverError(
                f"No Docker Engine answers{f' at DOCKER_HOST={where}' if where else ''}: "
                f"{last_lines(done, 1)}",
                hint="Check the address."
                if where
                else "Start it (service docker start, or make bake as root does it).",
            )
        drivers = dict(answer.get("DriverStatus") or [])
        return EngineFacts(
            version=str(answer["ServerVersion"]),
            architecture=_GO_ARCHITECTURE.get(
                str(answer.get("Architecture")), str(answer.get("Architecture"))
            ),
            containerd_store="io.containerd.snapshotter.v1" in str(drivers.get("driver-type", "")),
        )

    def architecture(self) -> str:
        """Return the engine's architecture as Go writes it (amd64); DriverError as of facts()."""
        done = self.runner(["docker", "version", "--format", "{{.Server.Arch}}"], check=False)
        return done.text if done.status == 0 and done.text else self.facts().architecture

    def image(self, reference: str) -> ImageFacts | None:
        """Return the image that *reference* (name or ID) names, None when there is none."""
        found = self.images([reference])
        return found[0] if found else None

    def images(self, references: Sequence[str]) -> list[ImageFacts]:
        """Return those of the *references* that the engine holds."""
        if not references:
            return []
        done = self.runner(["docker", "image", "inspect", *references], check=False)
        if done.status != 0 and not _only_absent(done):
            raise _failed("look for images", done)
        return [
            ImageFacts(str(entry["Id"]), tuple(entry.get("RootFS", {}).get("Layers") or ()))
            for entry in json.loads(done.stdout or b"[]")
        ]

    def our_images(self) -> list[ImageFacts]:
        """Return every image that carries our label."""
        listing = self.runner(
            ["docker", "image", "ls", "--quiet", "--no-trunc", "--filter", f"label={LABEL}.image"]
        )
        return self.images(sorted(set(listing.text.split())))

    def references(self, pattern: str) -> list[str]:
        """Return the names of images that match *pattern*, in which ``*`` stands for any text."""
        listing = self.runner(
            [
                *("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"),
                *("--filter", f"reference={pattern}"),
            ]
        )
        return listing.text.split()

    def load(self, archive: Iterable[bytes]) -> None:
        """Feed a ``docker load`` archive to the engine."""
        done = _feed(["docker", "load", "--quiet"], archive)
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise DriverError(f"The engine refused an image: {said or 'it did not say why.'}")

    def start_container(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        *,
        options: Sequence[str] = (),
        labels: Mapping[str, str],
    ) -> str:
        """Start *command* in a new container of *image*, detached; return the container's ID."""
        argv = ["docker", "run", "--detach", "--pull", "never", "--name", name]
        for key, value in sorted(labels.items()):
            argv += ["--label", f"{key}={value}"]
        return self.runner([*argv, *options, image, *command]).text.strip()

    def execute(
        self,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
    ) -> Completed:
        """Run *argv* in *container* to its end."""
        keep_open = [] if stdin is None else ["--interactive"]
        return self.runner(
            ["docker", "exec", *keep_open, container, *argv], stdin=stdin, check=check
        )

    def stream(self, container: str, argv: Sequence[str]) -> Iterator[bytes]:
        """Run *argv* in *container* and give its output piece by piece.

        When it fails, DriverError with the end of what it wrote to standard error; the caller
        must treat what it got until then as void.
        """
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                ["docker", "exec", container, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as process,
        ):
            stdout: IO[bytes] = process.stdout  # type: ignore[assignment]  # PIPE was asked for
            try:
                while chunk := stdout.read(CHUNK):
                    yield chunk
            except BaseException:
                process.kill()
                raise
            status = process.wait()
            if status != 0:
                errors.seek(0)
                raise _failed(
                    f"run {argv[0]} in {container}", Completed(status, b"", errors.read())
                )

    def feed(self, container: str, argv: Sequence[str], content: Iterable[bytes]) -> None:
        """Run *argv* in *container* with *content* as its standard input.

        DriverError when it fails.
        """
        done = _feed(["docker", "exec", "--interactive", container, *argv], content)
        if done.status != 0:
            raise _failed(f"run {argv[0]} in {container}", done)

    def containers(self, label: str) -> list[str]:
        """Return the IDs of containers, running or not, with *label* (``key`` or ``key=value``)."""
        listing = self.runner(
            ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}"]
        )
        return listing.text.split()

    def images_in_use(self) -> set[str]:
        """Return the IDs of the images that containers, running or not, were made from."""
        ids = self.runner(["docker", "ps", "--all", "--quiet", "--no-trunc"]).text.split()
        if not ids:
            return set()
        # One that is removed just now makes inspect fail, after it answered for the others.
        form = ["docker", "container", "inspect", "--format", "{{.Image}}"]
        return set(self.runner([*form, *ids], check=False).text.split())

    def remove_containers(self, ids: Sequence[str]) -> None:
        """Remove containers and their anonymous volumes; those that are gone already are fine."""
        if ids:
            done = self.runner(["docker", "rm", "--force", "--volumes", *ids], check=False)
            if done.status != 0 and b"o such container" not in done.stderr:
                raise _failed("remove containers", done)

    def rename(self, container: str, name: str) -> None:
        """Give *container* another name."""
        self.runner(["docker", "rename", container, name])

    def has_volume(self, name: str) -> bool:
        """Tell whether a volume of exactly that name is there."""
        listing = self.runner(["docker", "volume", "ls", "--quiet", "--filter", f"name=^{name}$"])
        return name in listing.text.split()

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one that is there already is kept as it is."""
        argv = ["docker", "volume", "create"]
        for key, value in sorted(labels.items()):
            argv += ["--label", f"{key}={value}"]
        self.runner([*argv, name])

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses."""
        self.runner(["docker", "volume", "rm", "--force", name])

    def remove_image(self, reference: str) -> None:
        """Take the name *reference* away, and the image with its last name."""
        done = self.runner(["docker", "image", "rm", "--no-prune", reference], check=False)
        if done.status != 0 and b"o such image" not in done.stderr:
            raise _failed(f"remove the image {reference}", done)


_GO_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def _only_absent(done: Completed) -> bool:
    """Whether all that the client complained of is that images are not there."""
    lines = done.stderr.splitlines()
    return bool(lines) and all(b"o such image" in line for line in lines)


def _feed(argv: Sequence[str], content: Iterable[bytes]) -> Completed:
    """Run *argv* with *content* as its standard input; all that it says comes back as errors."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=said, stderr=said) as process,
    ):
        stdin: IO[bytes] = process.stdin  # type: ignore[assignment]  # PIPE was asked for
        try:
            for chunk in content:
                stdin.write(chunk)
            stdin.close()
        except BrokenPipeError:
            # It ended early: its own message follows. What is left in the buffer has nowhere to
            # go, which a second attempt to write it would say again.
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        said.seek(0)
        return Completed(status, b"", said.read())


def _failed(what: str, done: Completed) -> DriverError:
    return DriverError(f"The engine could not {what}: {last_lines(done)}")


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

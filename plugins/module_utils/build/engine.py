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
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from ..core.command import Completed, Runner, last_lines, run
from ..core.errors import DriverError
from ..core.waiting import Clock

LABEL = "io.kiln"
SESSION_LABEL = f"{LABEL}.session"
CACHE_LABEL = f"{LABEL}.cache"
CHAIN_REPOSITORY = "kiln-chain"
"""Names of the images that build containers start from: ``kiln-chain:IMAGE-SESSION``."""
CHUNK = 1 << 20
_BEING_REMOVED = b"layer does not exist"
_REMOVAL = 10.0
"""Seconds that the removal of an image may take."""


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
    clock: Clock = field(default=time)

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
        done = self._inspect_images(references)
        if done.status != 0 and not _only_absent(done):
            raise _failed("look for images", done)
        return [
            ImageFacts(str(entry["Id"]), tuple(entry.get("RootFS", {}).get("Layers") or ()))
            for entry in json.loads(done.stdout or b"[]")
        ]

    def _inspect_images(self, references: Sequence[str]) -> Completed:
        """Inspect images; asked again while one of them is just being removed by somebody.

        Such an image is still there, and its layers are not (moby/moby#31350); soon it is absent.
        """
        until = self.clock.monotonic() + _REMOVAL
        while True:
            done = self.runner(["docker", "image", "inspect", *references], check=False)
            if _BEING_REMOVED not in done.stderr or self.clock.monotonic() >= until:
                return done
            self.clock.sleep(0.1)

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
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise DriverError(f"The engine refused an image: {said or 'it did not say why.'}")

    def import_root(self, tar: IO[bytes], reference: str, labels: Mapping[str, str]) -> None:
        """Make an image of one layer from the root file system in *tar*, which has a descriptor."""
        argv = ["docker", "import"]
        for key, value in sorted(labels.items()):
            argv += ["--change", f"LABEL {key}={value}"]
        done = subprocess.run([*argv, "-", reference], stdin=tar, capture_output=True, check=False)
        if done.returncode != 0:
            raise _failed(
                f"import {reference}", Completed(done.returncode, done.stdout, done.stderr)
            )

    def created(self, reference: str) -> float:
        """Return when the engine made the image, in seconds since 1970; it must be there."""
        form = ["docker", "image", "inspect", "--format", "{{.Created}}", reference]
        # Nanoseconds, which no Python before 3.12 reads, are more than anyone needs.
        text = self.runner(form).text.partition(".")[0].rstrip("Z")
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def run_tool(
        self,
        image: str,
        argv: Sequence[str],
        *,
        options: Sequence[str] = (),
        stdin: bytes | Iterable[bytes] | None = None,
        check: bool = True,
    ) -> Completed:
        """Run *argv* to its end in a new container of *image*, which is gone afterwards.

        :param check: raise DriverError when it exits non-zero.
        """
        with self._passing(image, argv, options, has_input=stdin is not None) as command:
            if stdin is None or isinstance(stdin, bytes):
                done = self.runner(command, stdin=stdin, check=False)
            else:
                done = _feed(command, stdin)
        if check and done.status != 0:
            raise _failed(f"run {argv[0]} in {image}", done)
        return done

    def stream_tool(
        self,
        image: str,
        argv: Sequence[str],
        *,
        options: Sequence[str] = (),
        stdin: Iterable[bytes] | None = None,
    ) -> Iterator[bytes]:
        """Run *argv* as run_tool() does and give its output piece by piece.

        When it fails, DriverError comes last: what was given until then is void.
        """
        with self._passing(image, argv, options, has_input=stdin is not None) as command:
            yield from _read(command, f"run {argv[0]} in {image}", stdin)

    @contextlib.contextmanager
    def _passing(
        self, image: str, argv: Sequence[str], options: Sequence[str], *, has_input: bool
    ) -> Iterator[list[str]]:
        """Give the client's command for a container that goes with its program, or with us."""
        name = f"kiln-tool-{secrets.token_hex(6)}"
        command = ["docker", "run", "--rm", "--pull", "never", "--name", name, "--entrypoint", ""]
        command += ["--no-healthcheck"]
        command += ["--interactive"] if has_input else []
        try:
            yield [*command, *options, image, *argv]
        except BaseException:
            # The client may have ended without its container.
            self.runner(["docker", "rm", "--force", "--volumes", name], check=False)
            raise

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

    def create_container(
        self, name: str, image: str, *, options: Sequence[str] = (), labels: Mapping[str, str]
    ) -> str:
        """Make a container that is not started; return its ID. Its image need have no command."""
        argv = ["docker", "create", "--pull", "never", "--name", name]
        for key, value in sorted(labels.items()):
            argv += ["--label", f"{key}={value}"]
        return self.runner([*argv, *options, image, "none"]).text.strip()

    def export(self, container: str) -> Iterator[bytes]:
        """Give the root file system of *container* as a tar, piece by piece; errors as stream()."""
        return _read(["docker", "export", container], f"export {container}")

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
        return _read(["docker", "exec", container, *argv], f"run {argv[0]} in {container}")

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

    def volume_label(self, name: str, label: str) -> str | None:
        """Return what the volume of exactly that name has as *label*; None when it is not there."""
        form = f'{{{{.Name}}}} {{{{.Label "{label}"}}}}'
        argv = ["docker", "volume", "ls", "--filter", f"name=^{name}$", "--format", form]
        for line in self.runner(argv).text.splitlines():
            found, _space, value = line.partition(" ")
            if found == name:
                return value.strip()
        return None

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one that is there already is kept as it is."""
        argv = ["docker", "volume", "create"]
        for key, value in sorted(labels.items()):
            argv += ["--label", f"{key}={value}"]
        self.runner([*argv, name])

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container uses."""
        self.runner(["docker", "volume", "rm", "--force", name])

    def tag_image(self, image: str, name: str) -> None:
        """Let *name* mean *image*, a name or an ID, instead of what it meant before."""
        self.runner(["docker", "image", "tag", image, name])

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
    """Run *argv* with *content* as its standard input, piece by piece."""
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=output, stderr=errors
        ) as process,
    ):
        _pour(process, content)
        status = process.wait()
        output.seek(0)
        errors.seek(0)
        return Completed(status, output.read(), errors.read())


def _read(
    argv: Sequence[str], what: str, content: Iterable[bytes] | None = None
) -> Iterator[bytes]:
    """Run *argv*, perhaps with *content* as its input, and give its output piece by piece."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if content is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        stdout: IO[bytes] = process.stdout  # type: ignore[assignment]  # PIPE was asked for
        feeding = None if content is None else pool.submit(_pour, process, content)
        try:
            while chunk := stdout.read(CHUNK):
                yield chunk
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        if feeding is not None:
            feeding.result()
        if status != 0:
            errors.seek(0)
            raise _failed(what, Completed(status, b"", errors.read()))


def _pour(process: subprocess.Popen[bytes], content: Iterable[bytes]) -> None:
    """Write *content* to the standard input of *process*, and close it."""
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


def _failed(what: str, done: Completed) -> DriverError:
    return DriverError(f"The engine could not {what}: {last_lines(done)}")


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

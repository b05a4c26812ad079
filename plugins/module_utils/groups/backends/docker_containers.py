# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a group on one engine: looked for, started, stopped."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ...core.command import last_lines
from ...core.errors import DriverError
from ..balancer.container import ROLE_LABEL
from ..definition_model import GroupDefinition, Secret
from ..model import Fault, Finding, Release, Start
from .client import GROUP_LABEL, LIMIT, Client, labels, only_absent
from .docker_options import DockerOptions
from .instances import (
    VALUES_LABEL,
    Address,
    container_name,
    create_options,
    has_check,
    volume_name,
)
from .values import Resolve, environment

SECRETS_LABEL = "io.kiln.secrets"
_LARGEST_SECRET = "1m"  # noqa: S105 (the size of a file system)
# What the engine says when it is the image that cannot be started, not the engine.
_BAD_RELEASE = re.compile(
    rb"executable file not found|exec format error|no such file or directory: unknown"
    rb"|permission denied: unknown|unable to find user|[Nn]o command specified"
    rb"|No such image|not found: manifest"
)


class Refused(DriverError):
    """An action that failed, and whose fault it is."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Containers:
    """The group's containers on the engine of *client*.

    :param values: gives the digests of what *resolve* gives.
    """

    client: Client
    definition: GroupDefinition
    resolve: Resolve
    network: str
    values: Callable[[], str]

    def preflight(self, release: Release, starts: int) -> list[Finding]:
        """Return what stands in the way of *starts* instances of *release* here."""
        where = f" at {self.client.host}" if self.client.host else ""
        try:
            image = self.client.inspect("image", [release.reference])
            done = self.client("info", "--format", "{{json .}}", timeout=20)
        except DriverError as error:
            return [Finding(Fault.PLATFORM, error.message)]
        if not image:
            message = f"The engine{where} has no image {release.reference}"
            return [Finding(Fault.PLATFORM, message)]
        found = []
        wants_check = any(check.kind == "engine" for check in self.definition.health)
        if wants_check and not has_check(image[0]):
            message = f"{release.reference} has no HEALTHCHECK, which the group's health rests on"
            found.append(Finding(Fault.RELEASE, message))
        memory = self.definition.resources.memory
        total = int(json.loads(done.stdout).get("MemTotal") or 0)
        if memory and total and memory * starts > total:
            message = f"The engine{where} has {total >> 20} MiB, {starts} instances may take more"
            found.append(Finding(Fault.PLATFORM, message))
        return found

    def ensure_shared_volumes(self) -> None:
        """Make the volumes that all instances have."""
        for volume in self.definition.volumes:
            if volume.access == "shared":
                self._ensure_volume(volume_name(self.definition, volume, None))

    def start(self, start: Start, address: Address) -> None:
        """Start an instance; one that is there is started when it is not running."""
        name = container_name(self.definition.name, start.id)
        image = self.client.inspect("image", [start.release.reference])
        if not image:
            raise Refused(
                Fault.PLATFORM, f"The engine has no image {start.release.reference} any more."
            )
        marks = (image[0].get("Config") or {}).get("Labels") or {}
        for volume in self.definition.volumes:
            if volume.access == "exclusive":
                self._ensure_volume(volume_name(self.definition, volume, start.slot))
        options = create_options(self.definition, start, address, self.network, marks)
        variables, needed = environment(self.definition.environment, self.resolve)
        command = list(self.definition.command or ())
        if values := self.values():
            options += labels({VALUES_LABEL: values})
        with self._secrets(name) as mounts:
            what = [*options, *variables, *mounts, start.release.reference, *command]
            run = ["run", "--detach", "--pull", "never", "--name", name, *what]
            self._run(run, needed, name)

    def stop(self, instance: str) -> None:
        """Stop an instance as its image asks for, and remove it; its volumes stay."""
        name, patience = container_name(self.definition.name, instance), self._patience
        done = self.client(
            *("stop", "--time", str(patience), name), check=False, timeout=patience + LIMIT
        )
        if done.status != 0 and not only_absent(done):
            raise self.client.failed(f"docker stop {name}", done)
        self.client.remove_container(name)
        for place in range(len(self._secret_folders())):
            self.client("volume", "rm", "--force", _secrets_volume(name, place), check=False)

    def logs(self, instance: str, lines: int) -> str:
        """Return the last *lines* of an instance; empty when it is not here."""
        name = container_name(self.definition.name, instance)
        done = self.client("logs", "--timestamps", "--tail", str(lines), name, check=False)
        if done.status != 0:
            return ""
        both = done.stdout.splitlines() + done.stderr.splitlines()
        both.sort(key=lambda line: line.partition(b" ")[0])
        return b"\n".join(both).decode("utf-8", "replace")

    @property
    def _patience(self) -> int:
        return max(1, round(self.definition.stop_timeout))

    def _run(self, argv: Sequence[str], env: dict[str, str], name: str) -> None:
        done = self.client(*argv, env=env, check=False)
        if done.status == 0:
            return
        fault = Fault.RELEASE if _BAD_RELEASE.search(done.stderr) else Fault.PLATFORM
        if b"is already in use by container" in done.stderr:
            self._go_on(name)
            return
        # What was made but not started would count as an instance.
        with contextlib.suppress(DriverError):
            self.client.remove_container(name)
        raise Refused(fault, f"{name} did not start: {last_lines(done, 2)}")

    def _go_on(self, name: str) -> None:
        """Start what an earlier try, whose answer was lost, has made."""
        found = self.client.inspect("container", [name])
        if found and found[0]["State"]["Status"] == "created":
            self._run(["start", name], {}, name)

    def _ensure_volume(self, name: str) -> None:
        marks = {GROUP_LABEL: self.definition.name, ROLE_LABEL: "state"}
        self.client("volume", "create", *labels(marks), name)

    def _secret_folders(self) -> dict[str, list[Secret]]:
        folders: dict[str, list[Secret]] = {}
        for secret in self.definition.secrets:
            folders.setdefault(str(PurePosixPath(secret.path).parent), []).append(secret)
        return folders

    @contextlib.contextmanager
    def _secrets(self, name: str) -> Iterator[list[str]]:
        """Give the mounts with the secrets of an instance, which are filled for the block.

        They are in memory, so they are there as long as somebody has them mounted: a container
        that only sleeps, until the instance has them too.
        """
        folders = self._secret_folders()
        if not folders:
            yield []
            return
        mounts: list[str] = []
        keeper = f"{name}-secrets"
        marks = {GROUP_LABEL: self.definition.name, SECRETS_LABEL: name}
        self.client.remove_container(keeper)
        for place, folder in enumerate(folders):
            volume = _secrets_volume(name, place)
            memory = ["--opt", "type=tmpfs", "--opt", "device=tmpfs"]
            memory += ["--opt", f"o=size={_LARGEST_SECRET},mode=0755,noexec,nosuid,nodev"]
            self.client("volume", "rm", "--force", volume, check=False)
            self.client("volume", "create", *labels(marks), *memory, volume)
            mounts += ["--volume", f"{volume}:{folder}:ro"]
        try:
            self._fill(keeper, folders, marks, name)
            yield mounts
        finally:
            self.client.remove_container(keeper)

    def _fill(
        self, keeper: str, folders: dict[str, list[Secret]], marks: dict[str, str], name: str
    ) -> None:
        writable = [
            word
            for place, folder in enumerate(folders)
            for word in ("--volume", f"{_secrets_volume(name, place)}:{folder}")
        ]
        image = self._sleeper()
        self.client(
            *("run", "--detach", "--pull", "never", "--name", keeper, *labels(marks), *writable),
            *("--network", "none", "--entrypoint", "sleep", "--no-healthcheck", image, "300"),
        )
        for folder, members in folders.items():
            archive = _archive([(one, self.resolve(one.reference)) for one in members])
            self.client("cp", "-", f"{keeper}:{folder}", stdin=archive)

    def _sleeper(self) -> str:
        """Return an image with a sleep, which the group's own need not have: the balancer's."""
        return DockerOptions.of(self.definition).balancer_image(self.client)


def _secrets_volume(container: str, place: int) -> str:
    return f"{container}-secrets-{place}"


def _archive(files: Sequence[tuple[Secret, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for secret, content in files:
            entry = tarfile.TarInfo(PurePosixPath(secret.path).name)
            uid, _colon, gid = secret.owner.partition(":")
            entry.uid, entry.gid = int(uid), int(gid)
            entry.size, entry.mode = len(content), int(secret.mode, 8)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()

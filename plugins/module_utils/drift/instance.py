# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running instance as its engine and its host's kernel tell of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.command import Runner, last_lines, run
from ..core.errors import DriverError
from . import reading
from .manifest import Entry, read_entries
from .reading import Mount

STATE_LABEL = "io.kiln.state"
HELPER_LABEL = "io.kiln.drift"
TOOLBOX = ("drift", ("python3",))
"""Name and packages of the toolbox that reads instances."""

READING_SOURCE: str = inspect.getsource(reading)
_LIMIT = 300.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process of an instance.

    :param pid: as the instance itself numbers it.
    :param exe: absolute path of its program.
    :param deleted: whether that file is there no more.
    :param digest: of the program's content, also when it was deleted.
    :param mapped: files other than the program that it can execute code of.
    :param entered: it was started from outside, through the engine or the host.
    """

    pid: int
    uid: int
    exe: str
    deleted: bool
    digest: str
    argv: tuple[str, ...]
    mapped: tuple[str, ...] = ()
    entered: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What an instance consists of.

    :param entries: by path, without what is mounted and without declared state.
    :param unreadable: paths that could not be read, and why.
    :param mounts: by path.
    :param processes: None when it does not run.
    """

    entries: Mapping[str, Entry]
    packages: Mapping[str, str]
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    processes: tuple[Process, ...] | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A container as the engine describes it.

    :param pid: of its first process, on the engine's host; 0 when it does not run.
    :param image: what it runs: digest of a configuration, a manifest or an index.
    :param document: all that the engine says (``docker inspect``).
    """

    id: str
    name: str
    pid: int
    image: str
    document: Mapping[str, Any] = field(hash=False, compare=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Instance:
        """Read one member of what ``docker container inspect`` answers."""
        state = document.get("State") or {}
        return cls(
            id=str(document["Id"]),
            name=str(document["Name"]).lstrip("/"),
            pid=int(state.get("Pid") or 0) if state.get("Running") else 0,
            image=str(document["Image"]),
            document=document,
        )

    @property
    def config(self) -> Mapping[str, Any]:
        """What its process was started with; the image's settings are part of it."""
        found: Mapping[str, Any] = self.document.get("Config") or {}
        return found

    @property
    def host_config(self) -> Mapping[str, Any]:
        """What the engine was asked for when it was made."""
        found: Mapping[str, Any] = self.document.get("HostConfig") or {}
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, those of the image too."""
        return dict(self.config.get("Labels") or {})


def declared_state(labels: Mapping[str, str], volumes: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the paths, relative to the root, that an image's configuration declares as state.

    :param labels: of the image. Its definition's ``state`` is one of them.
    :param volumes: ``Volumes`` of the configuration.
    """
    paths = set(volumes or {})
    if STATE_LABEL in labels:
        try:
            paths.update(str(one["path"]) for one in json.loads(labels[STATE_LABEL]))
        except (ValueError, LookupError, TypeError) as error:
            raise DriverError(f"The label {STATE_LABEL} of the image is malformed.") from error
    return frozenset(path.strip("/") for path in paths)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads instances through an engine's client.

    :param image: the toolbox with Python that the engine holds.
    :param client: the engine's client and the options that say which engine.
    """

    image: str
    client: tuple[str, ...] = ("docker",)
    runner: Runner = field(default=run)

    def read(self, instance: Instance, left_out: frozenset[str]) -> Observed:
        """Read a running instance, without the paths *left_out*; DriverError when it cannot be.

        The reader's container sees the processes of the engine's host, so that nothing in the
        instance can see or stop it. It has no network, writes nothing, and holds just the
        capabilities to read what belongs to others.
        """
        if not instance.pid:
            raise DriverError(f"The instance {instance.name} does not run.")
        asked = {"id": instance.id, "pid": instance.pid, "left_out": sorted(left_out)}
        done = self.runner(
            [
                *(*self.client, *_HELPER, "--label", f"{HELPER_LABEL}={instance.id}", self.image),
                *("python3", "-I", "-", json.dumps(asked)),
            ],
            stdin=READING_SOURCE.encode(),
            check=False,
            timeout=_LIMIT,
        )
        if done.status != 0:
            raise DriverError(
                f"The instance {instance.name} could not be read: {last_lines(done, 2)}"
            )
        return read_answer(done.stdout)


_HELPER = (
    *("run", "--rm", "--interactive", "--pull", "never", "--no-healthcheck"),
    *("--pid", "host", "--userns", "host", "--network", "none", "--read-only"),
    *("--cap-drop", "ALL", "--cap-add", "SYS_PTRACE", "--cap-add", "DAC_READ_SEARCH"),
    # Docker's own profile forbids to look at processes of others.
    *("--security-opt", "apparmor=unconfined", "--security-opt", "no-new-privileges"),
    *("--log-driver", "none", "--user", "0:0", "--entrypoint", ""),
)


def read_answer(content: bytes) -> Observed:
    """Read what the program of ``reading`` wrote; DriverError when it is something else."""
    try:
        value = json.loads(content)
        if value["form"] != reading.FORM:
            raise DriverError("The reading is of a form that is not known here.")
        processes = tuple(
            Process(
                pid=one["pid"],
                uid=one["uid"],
                exe=one["exe"],
                deleted=one["deleted"],
                digest=one["digest"],
                argv=tuple(one["argv"]),
                mapped=tuple(one["mapped"]),
                entered=one["entered"],
            )
            for one in value["processes"]
        )
        mounts = {path: Mount(path, kind, tuple(words)) for path, kind, words in value["mounts"]}
        return Observed(
            entries=read_entries(value["entries"]),
            packages=value["packages"],
            mounts=mounts,
            processes=processes,
            unreadable=dict(value["unreadable"]),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise DriverError(
            f"What the reader of the instance wrote is malformed: {error!r}."
        ) from error


def find_instances(
    names: Sequence[str] = (),
    *,
    label: str = "",
    client: Sequence[str] = ("docker",),
    runner: Runner = run,
) -> list[Instance]:
    """Return the containers of these names or IDs, or all with *label*, by name.

    DriverError when one of *names* is not there.
    """
    wanted = list(names)
    if label:
        listing = [*client, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}"]
        wanted += runner(listing).text.split()
    if not wanted:
        return []
    done = runner([*client, "container", "inspect", *wanted], check=False)
    if done.status != 0:
        raise DriverError(f"The engine cannot tell of the instances: {last_lines(done, 3)}")
    found = (Instance.from_document(one) for one in json.loads(done.stdout))
    return sorted(found, key=lambda one: one.name)

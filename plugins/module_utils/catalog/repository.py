# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog: a Git repository of small files. See docs/catalog.md.

Reading goes to the working tree, file by file as it is asked for, so that it costs the same however
many versions there are. Writing is in transaction.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from ..core.command import Runner, run
from ..core.errors import DriverError
from .channel import Channel, ChannelSettings, read_channels
from .documents import read_document, render_time, write_document
from .git import Git
from .group_record import GroupRecord
from .revocation import Revocation, read_revocations
from .tombstone import Tombstone, read_tombstones, tombstones_document
from .transaction import Change, Transactions
from .version import Version, VersionNumber, next_number


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalog in the Git working tree at ``root``.

    :param remote: address of the repository that a team shares; empty is the clone's own origin,
        if it has one.
    """

    root: Path
    runner: Runner = field(default=run)
    remote: str = ""
    now: Callable[[], datetime] = field(default=_now)

    @property
    def git(self) -> Git:
        """The repository."""
        return Git(self.root, self.runner)

    @property
    def transactions(self) -> Transactions:
        """What writes."""
        return Transactions(self.git, self.remote)

    def pull(self) -> None:
        """Take over what the remote has, if there is a remote."""
        if self.remote or (self.root / ".git").exists():
            self.transactions.pull()

    def change(self, plan: Callable[[], Change | None]) -> bool:
        """Make the change that *plan* decides on; see Transactions.change."""
        return self.transactions.change(plan)

    def who(self) -> str:
        """Return the name and address of whoever changes the catalog."""
        return self.git.identity()[1]

    # Versions.

    def images(self) -> list[str]:
        """Return the names of all images."""
        return sorted(path.name for path in self.root.glob("images/*") if path.is_dir())

    def numbers(self, image: str) -> list[VersionNumber]:
        """Return the numbers of all versions of *image*, in their order."""
        return sorted(VersionNumber.parse(path.stem) for path in self._folder(image).glob("*.yml"))

    def version(self, image: str, number: str) -> Version | None:
        """Return one version, None when there is no such."""
        path = self._folder(image) / f"{number}.yml"
        document = read_document(path)
        if document is None:
            return None
        try:
            return Version.from_document(document)
        except DriverError as error:
            raise DriverError(
                f"{path}: {error.message}", hint="git log shows who changed it."
            ) from (error)

    def versions(self, image: str) -> Iterator[Version]:
        """Yield every version of *image*, in the order of their numbers."""
        for number in self.numbers(image):
            found = self.version(image, str(number))
            if found is not None:
                yield found

    def built_on(self, image: str) -> list[Version]:
        """Return every version, of any image, whose base is a version of *image*."""
        # Looked for as text first: to read thousands of files as YAML takes seconds.
        line = rb"^parent: ['\"]?" + re.escape(image.encode()) + rb"['\"]?$"
        mark = re.compile(line, re.MULTILINE)
        found = []
        for path in sorted(self.root.glob("images/*/versions/*.yml")):
            if mark.search(path.read_bytes()):
                version = self.version(path.parent.parent.name, path.stem)
                if version is not None and version.parent == image:
                    found.append(version)
        return found

    def indexes(self) -> dict[str, str]:
        """Return the digest of the index of every version, by ``NAME NUMBER``."""
        return {
            f"{image} {version.number}": version.index
            for image in self.images()
            for version in self.versions(image)
        }

    def find(self, image: str, index: str) -> Version | None:
        """Return the version of *image* whose index has the digest *index*."""
        for path in self._folder(image).glob("*.yml"):
            if index in path.read_text("utf-8"):
                found = self.version(image, path.stem)
                if found is not None and found.index == index:
                    return found
        return None

    def record(
        self, image: str, series: str, index: str, make: Callable[[VersionNumber], Version]
    ) -> tuple[Version, bool]:
        """Record a version and commit it; return it, and whether it is new.

        The same bytes get the same version: when *index* is there already, nothing is written,
        and when it was pruned, it comes back with its number. A number is never given to other
        bytes, also when its file was removed.
        """
        version: Version | None = None

        def plan() -> Change | None:
            nonlocal version
            version = self.find(image, index)
            if version is not None:
                return None
            pruned = self.tombstones(image)
            again = _pruned_as(pruned, index)
            number = self._next(image, series, again)
            version = replace(make(number), recorded=render_time(self.now()))
            files: dict[str, bytes | None] = {
                self.version_path(image, str(number)): write_document(version.as_document())
            }
            message = f"{image} {number}: baked from {version.base}"
            if again is not None:
                left = {key: one for key, one in pruned.items() if key != again}
                files[self.tombstones_path(image)] = (
                    write_document(tombstones_document(left)) if left else None
                )
                message = f"{image} {number}: baked again after it was pruned"
            return Change(files, message)

        is_new = self.change(plan)
        if version is None:
            raise DriverError(f"No version of {image} came of the bake.")
        return version, is_new

    def number_of(self, image: str, series: str, index: str) -> str:
        """Return the number that *index* has, or that record() would give to it now."""
        found = self.find(image, index)
        if found is not None:
            return found.number
        return str(self._next(image, series, _pruned_as(self.tombstones(image), index)))

    def numbers_baked(self, image: str, bake_key: str) -> list[str]:
        """Return the numbers of the versions of *image* that were baked with *bake_key*."""
        return [
            path.stem
            for path in sorted(self._folder(image).glob("*.yml"))
            if bake_key in path.read_text("utf-8")
        ]

    def ensure(self) -> None:
        """Create the repository on first use."""
        self.transactions.ensure()

    def ancestors(self, version: Version) -> Iterator[Version]:
        """Yield *version*, the version that it is built on, and so on."""
        seen: set[tuple[str, str]] = set()
        step: Version | None = version
        while step is not None and (step.image, step.number) not in seen:
            seen.add((step.image, step.number))
            yield step
            if step.parent is None or step.parent_version is None:
                return
            step = self.version(step.parent, step.parent_version)

    def revocation_of(
        self, version: Version, now: datetime | None = None
    ) -> tuple[Version, Revocation] | None:
        """Return why *version* is not to be used: it or what it is built on is revoked."""
        moment = now or self.now()
        for one in self.ancestors(version):
            entry = self.revoked(one.image).get(one.number)
            if entry is not None and entry.holds(moment):
                return one, entry
            base = one.parent
            # A base that was pruned has no record any more, but may have been revoked.
            if base is not None and one.parent_version is not None:
                entry = self.revoked(base).get(one.parent_version)
                if entry is not None and entry.holds(moment):
                    return replace(one, image=base, number=one.parent_version), entry
        return None

    # What is known of them.

    def settings(self) -> ChannelSettings:
        """Return the channels that there are; those that are usual, when nothing says so."""
        document = read_document(self.root / self.SETTINGS)
        where = str(self.root / self.SETTINGS)
        return (
            ChannelSettings()
            if document is None
            else ChannelSettings.from_document(document, where)
        )

    def channels(self, image: str) -> dict[str, Channel]:
        """Return where the channels of *image* point to."""
        path = self.root / self.channels_path(image)
        document = read_document(path)
        return {} if document is None else read_channels(document, str(path))

    def revoked(self, image: str) -> dict[str, Revocation]:
        """Return the revocations of *image*, those too whose time has not come."""
        path = self.root / self.revoked_path(image)
        document = read_document(path)
        return {} if document is None else read_revocations(document, str(path))

    def tombstones(self, image: str) -> dict[str, Tombstone]:
        """Return what was pruned of *image*."""
        path = self.root / self.tombstones_path(image)
        document = read_document(path)
        return {} if document is None else read_tombstones(document, str(path))

    def groups(self) -> list[GroupRecord]:
        """Return what runs where."""
        found = []
        for path in sorted(self.root.glob("groups/*.yml")):
            document = read_document(path)
            if document is not None:
                found.append(GroupRecord.from_document(document, str(path)))
        return found

    # Where things are, below the root.

    SETTINGS: ClassVar[str] = "channels.yml"

    @staticmethod
    def version_path(image: str, number: str) -> str:
        """The file of a version."""
        return f"images/{image}/versions/{number}.yml"

    @staticmethod
    def channels_path(image: str) -> str:
        """The file of an image's channels."""
        return f"images/{image}/channels.yml"

    @staticmethod
    def revoked_path(image: str) -> str:
        """The file of an image's revocations."""
        return f"images/{image}/revoked.yml"

    @staticmethod
    def tombstones_path(image: str) -> str:
        """The file of what was pruned of an image."""
        return f"images/{image}/pruned.yml"

    @staticmethod
    def group_path(name: str) -> str:
        """The file of an instance group."""
        return f"groups/{name}.yml"

    def _next(self, image: str, series: str, again: str | None) -> VersionNumber:
        if again is not None:
            return VersionNumber.parse(again)
        return next_number(series, self._given(image))

    def _given(self, image: str) -> set[VersionNumber]:
        """Return every number that was ever given: those of removed files are in the history."""
        history = self.git.text(
            *("log", "--all", "--format=", "--name-only", "--no-renames", "--diff-filter=A"),
            *("--", f"images/{image}/versions"),
        )
        names = {Path(line).stem for line in history.splitlines() if line.endswith(".yml")}
        names |= self.tombstones(image).keys()
        return {VersionNumber.parse(name) for name in names} | set(self.numbers(image))

    def _folder(self, image: str) -> Path:
        return self.root / "images" / image / "versions"


def _pruned_as(pruned: Mapping[str, Tombstone], index: str) -> str | None:
    """Return the number that *index* had before it was pruned."""
    return next((one.version for one in pruned.values() if one.index == index), None)

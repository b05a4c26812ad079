# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog: a Git repository with a file per version. See docs/architecture.md."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.command import Completed, Runner, run
from ..core.errors import DriverError
from ..core.files import locked, write_whole
from .version import Version, VersionNumber, next_number

# A controller always has PyYAML; a target that unpacks this file along with others may not.
with contextlib.suppress(ImportError):
    import yaml


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalog in the Git working tree at ``root``."""

    root: Path
    runner: Runner = field(default=run)

    def numbers(self, image: str) -> list[VersionNumber]:
        """Return the numbers of all versions of *image*, in their order."""
        return sorted(VersionNumber.parse(path.stem) for path in self._folder(image).glob("*.yml"))

    def version(self, image: str, number: str) -> Version | None:
        """Return one version, None when there is no such."""
        path = self._folder(image) / f"{number}.yml"
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        # libyaml's is ten times as quick and not in every build of PyYAML.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(text, Loader=loader)  # noqa: S506  # both are safe loaders
        if not isinstance(document, dict):
            raise DriverError(f"{path} is no version record.", hint="git log shows who changed it.")
        return Version.from_document(document)

    def indexes(self) -> dict[str, str]:
        """Return the digest of the index of every version, by ``NAME NUMBER``."""
        found = {}
        for path in sorted(self.root.glob("images/*/versions/*.yml")):
            image = path.parent.parent.name
            try:
                version = self.version(image, path.stem)
            except (DriverError, yaml.YAMLError) as error:
                raise DriverError(
                    f"{path} cannot be read: {error}",
                    hint="git log and git checkout bring it back.",
                ) from error
            if version is not None:
                found[f"{image} {path.stem}"] = version.index
        return found

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

        The same bytes get the same version: when *index* is there already, nothing is written.
        A number is never given twice, also when its file was removed. What a killed process left
        uncommitted is committed or undone by the next.
        """
        self.ensure()
        with locked(self.root / ".git" / "kiln.lock"):
            self._settle()
            known = self.find(image, index)
            if known is not None:
                return known, False
            version = make(next_number(series, self._given(image)))
            path = self._folder(image) / f"{version.number}.yml"
            text = yaml.safe_dump(version.as_document(), sort_keys=False, allow_unicode=True)
            write_whole(path, text.encode())
            self._commit(path, f"{image} {version.number}: baked from {version.base}")
            return version, True

    def ensure(self) -> None:
        """Create the repository on first use."""
        if (self.root / ".git" / "kiln.ready").exists():
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DriverError(
                f"The catalog {self.root} cannot be made: {error.strerror}.",
                hint="Name another folder with kiln_home or KILN_HOME.",
            ) from error
        with locked(self.root.with_name(f".{self.root.name}.lock")):
            self._git("init", "--quiet", "--initial-branch", "main")
            write_whole(self.root / ".git" / "kiln.ready", b"")

    def _given(self, image: str) -> set[VersionNumber]:
        """Return every number that was ever given: those of removed files are in the history."""
        folder = self._folder(image).relative_to(self.root)
        history = self._git(
            *("log", "--all", "--format=", "--name-only", "--no-renames", "--diff-filter=A"),
            *("--", str(folder)),
        )
        names = {Path(line).stem for line in history.splitlines() if line.endswith(".yml")}
        return {VersionNumber.parse(name) for name in names} | set(self.numbers(image))

    def _settle(self) -> None:
        """Commit whole records that a killed process wrote but did not commit."""
        status = self._git("status", "--porcelain", "--untracked-files=all", "--", "images")
        for line in status.splitlines():
            path = self.root / line[3:]
            if line.startswith(("??", "A ")) and path.suffix == ".yml":
                self._commit(path, f"{path.parent.parent.name} {path.stem}: recorded after a crash")
            elif path.suffix == ".partial":
                path.unlink(missing_ok=True)

    def _commit(self, path: Path, message: str) -> None:
        name = str(path.relative_to(self.root))
        # By force: what a user's own settings ignore is recorded all the same.
        self._git("add", "--force", "--", name)
        self._git(*self._identity(), "commit", "--quiet", "--message", message, "--", name)

    def _identity(self) -> list[str]:
        """Options that give a committer where Git knows none, as on a CI machine."""
        # Without a guess from the machine's names, which Git may refuse when it comes to it.
        asked = self._run_git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
        if asked.status == 0:
            return []
        return ["-c", "user.name=kiln", "-c", "user.email=kiln@localhost"]

    def _git(self, *arguments: str) -> str:
        return self._run_git(*arguments, check=True).text

    def _run_git(self, *arguments: str, check: bool = False) -> Completed:
        # A bake that a Git hook starts has variables that lead to the repository of the hook.
        own = {
            "GIT_DIR": str(self.root / ".git"),
            "GIT_WORK_TREE": str(self.root),
            "GIT_INDEX_FILE": str(self.root / ".git" / "index"),
        }
        return self.runner(["git", "-C", str(self.root), *arguments], env=own, check=check)

    def _folder(self, image: str) -> Path:
        return self.root / "images" / image / "versions"

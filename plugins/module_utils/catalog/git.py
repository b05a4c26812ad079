# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git as the catalog uses it: objects, one branch, one remote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.command import Completed, Runner, last_lines
from ..core.command import run as run_command
from ..core.errors import DriverError

REMOTE = "origin"
NETWORK_TIMEOUT = 120.0
"""Seconds after which a remote that does not answer is given up."""

_MANY = 1000  # paths that one command line may have


@dataclass(frozen=True, slots=True)
class Merged:
    """How two histories meet: the tree of both, or the files that both changed."""

    tree: str
    conflicts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Git:
    """The repository whose working tree is ``root``."""

    root: Path
    runner: Runner = field(default=run_command)

    @property
    def folder(self) -> Path:
        """Git's own folder."""
        return self.root / ".git"

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run git; its messages are in English and it never asks for a password."""
        # A bake that a Git hook starts has variables that lead to the repository of the hook.
        own = {
            "GIT_DIR": str(self.folder),
            "GIT_WORK_TREE": str(self.root),
            "GIT_INDEX_FILE": str(self.folder / "index"),
            "GIT_TERMINAL_PROMPT": "0",
            **(env or {}),
        }
        argv = ["git", "-C", str(self.root), *arguments]
        return self.runner(argv, stdin=stdin, env=own, check=check, timeout=timeout)

    def text(self, *arguments: str) -> str:
        """Return what git says; DriverError when it fails."""
        return self.run(*arguments).text

    def init(self) -> None:
        """Make the repository; one that is there is left as it is."""
        self.run("init", "--quiet", "--initial-branch", "main")

    def branch(self) -> str:
        """Return the branch that is checked out; DriverError when none is."""
        done = self.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False)
        if done.status != 0:
            raise DriverError(
                f"The catalog {self.root} has no branch checked out.",
                hint=f"git -C {self.root} switch main",
            )
        return done.text

    def commit_of(self, name: str) -> str | None:
        """Return the commit that *name* means, None when there is no such."""
        done = self.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
        return done.text if done.status == 0 else None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Tell whether *new* has all that *old* has."""
        return self.run("merge-base", "--is-ancestor", old, new, check=False).status == 0

    def setting(self, name: str) -> str | None:
        """Return a value of Git's configuration."""
        done = self.run("config", "--get", name, check=False)
        return done.text if done.status == 0 else None

    # Identity.

    def identity(self) -> tuple[list[str], str]:
        """Options that give a committer where Git knows none, as on a CI machine; and who it is."""
        # Without a guess from the machine's names, which Git may refuse when it comes to it.
        asked = self.run("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False)
        if asked.status == 0:
            return [], re.sub(r" \d+ [+-]\d+$", "", asked.text)
        return ["-c", "user.name=kiln", "-c", "user.email=kiln@localhost"], "kiln <kiln@localhost>"

    # Commits, made without the working tree.

    def commit(
        self, files: Mapping[str, bytes | None], parent: str | None, message: str, scratch: Path
    ) -> str:
        """Write a commit that changes *files* of *parent* (None takes one away); return its ID.

        Nothing but the store of objects is touched. Signed when Git's settings ask for it.

        :param scratch: a file for an index of this commit alone.
        """
        scratch.unlink(missing_ok=True)
        own = {"GIT_INDEX_FILE": str(scratch)}
        if parent is not None:
            self.run("read-tree", parent, env=own)
        lines = []
        for path, content in sorted(files.items()):
            if content is None:
                lines.append(f"0 {'0' * 40}\t{path}")
            else:
                blob = self.run("hash-object", "-w", "--stdin", stdin=content).text
                lines.append(f"100644 {blob}\t{path}")
        self.run("update-index", "--index-info", stdin="\n".join([*lines, ""]).encode(), env=own)
        tree = self.run("write-tree", env=own).text
        scratch.unlink(missing_ok=True)
        return self.commit_tree(tree, [parent] if parent else [], message)

    def commit_tree(self, tree: str, parents: Sequence[str], message: str) -> str:
        """Write a commit of *tree*; DriverError says so when it could not be signed."""
        # Plumbing does not look at the setting by itself.
        asked = self.run("config", "--type", "bool", "--get", "commit.gpgSign", check=False)
        sign = ["-S"] if asked.text == "true" else []
        options = [word for parent in parents for word in ("-p", parent)]
        done = self.run(
            *(*self.identity()[0], "commit-tree", *sign, tree, *options),
            stdin=message.encode(),
            check=False,
        )
        if done.status != 0:
            signing = " and sign" if sign else ""
            raise DriverError(
                f"Git could not write{signing} a commit: {last_lines(done)}",
                hint="Your Git settings ask for signed commits (commit.gpgSign): see that the key"
                " can be used without a terminal."
                if sign
                else "",
            )
        return done.text

    def differing(self, old: str | None, new: str) -> dict[str, bool]:
        """Return the paths in which two commits differ, and whether *new* has them."""
        before = old or self.run("hash-object", "-t", "tree", "-w", "--stdin", stdin=b"").text
        listing = self.run(
            "diff-tree", "-r", "-z", "--no-renames", "--name-status", before, new
        ).stdout.decode()
        words = listing.split("\0")
        return {words[at + 1]: words[at] != "D" for at in range(0, len(words) - 1, 2)}

    def contents(self, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the content of files of a commit, all by one process."""
        wanted = list(paths)
        asked = "".join(f"{commit}:{path}\n" for path in wanted).encode()
        answer = self.run("cat-file", "--batch", stdin=asked).stdout
        found = {}
        at = 0
        for path in wanted:
            end = answer.index(b"\n", at)
            size = int(answer[at:end].rpartition(b" ")[2])
            found[path] = answer[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found

    def uncommitted(self, paths: Sequence[str]) -> list[str]:
        """Return those of *paths* that the working tree has otherwise than the last commit."""
        below = self.uncommitted_below(*(paths if len(paths) < _MANY else ()))
        return sorted(set(below).intersection(paths))

    def uncommitted_below(self, *paths: str) -> list[str]:
        """Return what the working tree has otherwise in files and folders; everywhere by default.

        Ignored files too: what a user ignores everywhere is recorded all the same.
        """
        done = self.run(
            *("status", "--porcelain", "-z", "--untracked-files=all", "--ignored"),
            *("--no-renames", "--", *paths),
        )
        return sorted({entry[3:] for entry in done.stdout.decode().split("\0") if entry})

    # The remote.

    def has_remote(self) -> bool:
        """Tell whether there is a remote named origin."""
        return self.setting(f"remote.{REMOTE}.url") is not None

    def set_remote(self, url: str) -> None:
        """Let origin be *url*."""
        if self.setting(f"remote.{REMOTE}.url") != url:
            word = "set-url" if self.has_remote() else "add"
            self.run("remote", word, REMOTE, url)

    def remote_branch(self) -> str | None:
        """Return the branch that the remote has as its first one; None when it is empty."""
        done = self._network("ls-remote", "--symref", REMOTE, "HEAD")
        found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", done.text, re.MULTILINE)
        return found.group(1) if found else None

    def fetch(self, branch: str) -> str | None:
        """Bring *branch* of the remote here; return its commit, None when it has no such."""
        done = self._network("ls-remote", REMOTE, f"refs/heads/{branch}")
        if not done.text:
            return None
        tracking = f"refs/remotes/{REMOTE}/{branch}"
        if done.text.split()[0] != self.commit_of(tracking):
            self._network("fetch", "--quiet", REMOTE, f"+refs/heads/{branch}:{tracking}")
        return self.commit_of(tracking)

    def push(self, commit: str, branch: str) -> str:
        """Offer *commit* as the remote's *branch*; return why it was refused, empty when not."""
        done = self.run(
            *("push", "--porcelain", REMOTE, f"{commit}:refs/heads/{branch}"),
            check=False,
            timeout=NETWORK_TIMEOUT,
        )
        if done.status == 0:
            self.run("update-ref", f"refs/remotes/{REMOTE}/{branch}", commit)
            return ""
        refused = re.search(r"^!\t\S+\t(.*)$", done.text, re.MULTILINE)
        return refused.group(1) if refused else last_lines(done)

    def merge(self, ours: str, theirs: str) -> Merged:
        """Return what both histories come to; nothing is written but objects."""
        done = self.run(
            *("merge-tree", "--write-tree", "--name-only", "--no-messages"),
            *("--allow-unrelated-histories", ours, theirs),
            check=False,
        )
        if done.status not in (0, 1):
            raise DriverError(f"Git could not join two histories: {last_lines(done)}")
        tree, *paths = done.text.splitlines()
        return Merged(tree, tuple(sorted(set(filter(None, paths)))) if done.status == 1 else ())

    def _network(self, *arguments: str) -> Completed:
        done = self.run(*arguments, check=False, timeout=NETWORK_TIMEOUT)
        if done.status != 0:
            where = self.setting(f"remote.{REMOTE}.url")
            raise DriverError(
                f"The catalog's remote {where} cannot be reached: {last_lines(done)}",
                hint="Try git ls-remote with it; kiln_catalog_remote or KILN_CATALOG_REMOTE names"
                " another.",
            )
        return done

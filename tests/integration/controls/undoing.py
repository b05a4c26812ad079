# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a setting away in a root, and putting back what that touched."""

from __future__ import annotations

import base64
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Undo
from testinfra.host import Host

KEPT = "/dev/shm/kiln-kept"  # in memory, on another file system than the root

PIECE = 60_000  # bytes, well below what an argument of a program may have


def apply(host: Host, step: Undo) -> None:
    """Do *step* in *host*; a step that changes nothing is an error."""
    path = shlex.quote(step.path)
    if step.operation == "command":
        host.check_output(step.text)
    elif step.operation == "remove":
        host.check_output(f"test -e {path} -o -L {path} && rm -rf {path}")
    elif step.operation == "mode":
        assert octal(host, step.path) != step.mode, f"{step.path} has the mode {step.mode} already"
        host.check_output(f"chmod {step.mode} {path}")
    elif step.operation == "owner":
        before = host.check_output(f"stat -c %U:%G {path}")
        host.check_output(f"chown {step.owner} {path}")
        assert host.check_output(f"stat -c %U:%G {path}") != before, f"{path} is {step.owner}'s"
    elif step.operation == "create":
        host.check_output(f"mkdir -p {shlex.quote(posixpath.dirname(step.path))}")
        write(host, step.path, step.text.encode())
        host.check_output(f"chmod {step.mode} {path}")
    else:
        edit(host, step)


def octal(host: Host, path: str) -> str:
    """Return the mode of *path* as four octal digits."""
    mode: str = host.check_output(f"stat -c %a {shlex.quote(path)}")
    return mode.zfill(4)


def edit(host: Host, step: Undo) -> None:
    """Change lines of a file in place: its mode and owner stay."""
    found = host.run(f"cat {shlex.quote(step.path)}")
    assert found.rc == 0 or step.operation == "append", found.stderr
    before = found.stdout_bytes.decode() if found.rc == 0 else ""
    after = "".join(_EDITS[step.operation](step, before.splitlines(keepends=True)))
    assert after != before, f"{step.operation} finds nothing in {step.path}: {step.match}"
    write(host, step.path, after.encode())


def _drop(step: Undo, lines: list[str]) -> Iterator[str]:
    return (line for line in lines if not re.search(step.match, line.rstrip("\n")))


def _replace(step: Undo, lines: list[str]) -> Iterator[str]:
    return (re.sub(step.match, step.text, line) for line in lines)


def _append(step: Undo, lines: list[str]) -> Iterator[str]:
    yield from lines
    yield f"{step.text}\n"


_EDITS: dict[str, Callable[[Undo, list[str]], Iterator[str]]] = {
    "drop_line": _drop,
    "replace": _replace,
    "append": _append,
}


def write(host: Host, path: str, content: bytes) -> None:
    """Write *content* into the file at *path*, which keeps its mode and owner."""
    quoted = shlex.quote(path)
    host.check_output(f": >{quoted}")
    for start in range(0, len(content), PIECE):
        text = base64.b64encode(content[start : start + PIECE]).decode()
        host.check_output(f"printf %s {text} | base64 -d >>{quoted}")


@contextmanager
def kept(host: Host, steps: Sequence[Undo]) -> Iterator[None]:
    """Keep what *steps* touch, and put it back after the block. Not for ``command``."""
    touched = {topmost_missing(host, step.path): step.operation for step in steps if step.path}
    host.check_output(f"rm -rf {KEPT} && mkdir -m 0700 {KEPT}")
    back = [
        keep(host, path, f"{KEPT}/{number}", whole=operation == "remove")
        for number, (path, operation) in enumerate(sorted(touched.items()))
    ]
    try:
        yield
    finally:
        for command in back:
            host.check_output(command)
        host.check_output(f"rm -rf {KEPT}")


def topmost_missing(host: Host, path: str) -> str:
    """Return the first part of *path* that is not there, else *path* itself."""
    parts = path.split("/")
    heads = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
    tests = " ".join(shlex.quote(head) for head in heads)
    script = f'for p in {tests}; do [ -e "$p" ] || [ -L "$p" ] || break; done; printf %s "$p"'
    found: str = host.check_output(script)
    return found


def keep(host: Host, path: str, copy: str, *, whole: bool) -> str:
    """Copy *path* to *copy*, and return the command that puts it back as it was.

    :param whole: a directory with all that is in it, because it goes.
    """
    quoted = shlex.quote(path)
    if host.run(f"test -e {quoted} -o -L {quoted}").rc:
        return f"rm -rf {quoted}"
    if whole or host.run(f"test -d {quoted} -a ! -L {quoted}").rc:
        host.check_output(f"cp -a {quoted} {copy}")
        return f"rm -rf {quoted} && cp -a {copy} {quoted}"
    host.check_output(f"mkdir {copy} && {_like(quoted, copy)}")
    return _like(copy, quoted)


def _like(model: str, path: str) -> str:
    tools = (f"chown --reference={model}", f"chmod --reference={model}", f"touch -r {model}")
    return " && ".join(f"{tool} {path}" for tool in tools)


def check(function: Callable[..., Any], host: Host, kind: str, release: str) -> None:
    """Call the check of a control with what it asks for."""
    given = {"host": host, "kind": kind, "release": release, "suite": release}
    code = function.__code__
    function(**{name: given[name] for name in code.co_varnames[: code.co_argcount]})

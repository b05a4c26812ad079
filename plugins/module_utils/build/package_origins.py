# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which packages were unpacked, and which archive has them with which hash.

A self-contained program: it runs in build containers by the toolkit's Python; of a bootstrap, the
controller reads what its hooks found. ``python3 -I -c SOURCE log FILE...`` reads dpkg's logs and
takes them away, so that the next call sees what is new, and prints one JSON object; ``sources``
tells in it only where security updates come from. ``archives FOLDER`` prints a list of the packages
whose files are there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

FORMAT = "|".join(
    f"$({name})"
    for name in ("FILENAME", "REPO_URI", "RELEASE", "CODENAME", "COMPONENT", "SOURCESENTRY")
)


def from_status(text: str) -> list[tuple[str, str, str]]:
    """Return name, version and architecture of what dpkg's status database has unpacked."""
    found = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Status|Version|Architecture): (.*)$", paragraph))
        if fields.get("Status", "").endswith((" installed", " unpacked", " half-configured")):
            found.append((fields["Package"], fields["Version"], fields["Architecture"]))
    return sorted(found)


def from_log(text: str) -> list[tuple[str, str, str]]:
    """Return name, version and architecture of what dpkg's log says was unpacked."""
    lines = re.findall(r"(?m)^\S+ \S+ (?:install|upgrade) ([^ :]+):(\S+) \S+ (\S+)$", text)
    return sorted({(name, version, architecture) for name, architecture, version in lines})


def from_names(names: list[str]) -> list[tuple[str, str, str]]:
    """Return name, version and architecture that apt's names of package files tell."""
    parts = [name.removesuffix(".deb").split("_") for name in names if name.endswith(".deb")]
    return sorted((one[0], one[1].replace("%3a", ":"), one[2]) for one in parts if len(one) == 3)


def targets(*, fetched: bool) -> list[list[str]]:
    """Return, for each index of packages that apt's sources name, the parts of ``FORMAT``.

    :param fetched: only those that apt has; the others have no code name yet.
    """
    options = [] if fetched else ["--no-release-info"]
    done = subprocess.run(
        ["apt-get", "indextargets", *options, "--format", FORMAT, "Created-By: Packages"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return parts_of(done.stdout.decode())


def parts_of(text: str) -> list[list[str]]:
    """Return the parts of each line that ``FORMAT`` gave; what apt does not know is empty."""
    return [
        ["" if part.startswith("$(") else part for part in line.split("|")]
        for line in text.splitlines()
    ]


def read_index(path: str) -> str:
    """Return the text of an index that apt has, however it is compressed."""
    done = subprocess.run(
        ["/usr/lib/apt/apt-helper", "cat-file", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


def described(
    found: Sequence[tuple[str, str, str]],
    indexes: list[list[str]],
    read: Callable[[str], str] = read_index,
) -> list[dict[str, object]]:
    """Return *found* as mappings, with what *indexes* say of each."""
    known = origins(found, indexes, read)
    return [
        {"name": key[0], "version": key[1], "architecture": key[2], **known.get(key, {})}
        for key in found
    ]


def origins(
    wanted: Sequence[tuple[str, str, str]],
    indexes: list[list[str]],
    read: Callable[[str], str],
) -> dict[tuple[str, str, str], dict[str, object]]:
    """Return the archives' word about each of *wanted* that they have.

    When several have the same version, that of a security archive counts.
    """
    found: dict[tuple[str, str, str], dict[str, object]] = {}
    names = {name for name, _version, _architecture in wanted}
    left = set(wanted)
    for index in sorted(indexes, key=lambda parts: parts[2].endswith("-security")):
        for paragraph in read(index[0]).split("\n\n"):
            # The first line nearly always names the package: most are passed over quickly.
            if not paragraph.startswith("Package: ") or (
                paragraph[9 : paragraph.find("\n")].strip() not in names
            ):
                continue
            fields = dict(re.findall(r"(?m)^([A-Za-z0-9-]+): (.*)$", paragraph))
            key = (fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""))
            if key in left and "SHA256" in fields and "Filename" in fields:
                found[key] = {
                    "sha256": fields["SHA256"],
                    "size": int(fields.get("Size", "0")),
                    "suite": index[3] if index[3].endswith("-security") else index[2],
                    "priority": fields.get("Priority", ""),
                    "url": index[1].rstrip("/") + "/" + fields["Filename"],
                }
    return found


def signed_by(entry: str) -> str:
    """Return the path of the keyring that a source names, empty when it names none.

    :param entry: the file of the source, and the number of its line or (deb822) of its entry.
    """
    path, _colon, number = entry.rpartition(":")
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
        text = stream.read()
        if path.endswith(".sources"):
            text = re.sub(r"(?m)^#.*\n", "", text)
            parts = [part for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
            pattern = r"(?mi)^Signed-By:[ \t]*(/\S+)[ \t]*$"
        else:
            parts = text.split("\n")
            pattern = r"(?i)^[^#\[]*\[[^\]]*signed-by=(/[^\s\],]+)"
        found = re.search(pattern, parts[int(number) - 1]) if number.isdigit() else None
        return found.group(1) if found else ""
    return ""


def security(indexes: list[list[str]]) -> list[str]:
    """Return the one-line sources of security archives among apt's *indexes*."""
    found = []
    for _file, uri, release, _codename, component, entry in indexes:
        if release.endswith("-security"):
            key = signed_by(entry)
            options = f"[signed-by={key}] " if key else ""
            found.append(f"deb {options}{uri.rstrip('/')} {release} {component}")
    return sorted(set(found))


def main(argv: list[str]) -> None:
    """Print what the command *argv* asks for."""
    command, *paths = argv
    if command == "archives":
        found = from_names(os.listdir(paths[0]))
        sys.stdout.write(json.dumps(described(found, targets(fetched=True))) + "\n")
        return
    text = ""
    for path in paths:
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            text += stream.read()
            os.unlink(path)
    unpacked = from_log(text)
    packages = described(unpacked, targets(fetched=True) if unpacked else [])
    named = targets(fetched=False) if command == "sources" else []
    answer = {"packages": packages, "security": security(named)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

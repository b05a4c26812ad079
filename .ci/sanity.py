# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on this checkout as it would run on the published collection.

ansible-test wants a real directory ``ansible_collections/kiln/immutable``, and finds nothing in
one that Git ignores; so it works on a fresh copy, outside of the repository, of the files that
are published: those that Git knows or would add, without what ``galaxy.yml`` leaves out of the
build. Arguments go to ansible-test: ``.ci/sanity.py --test pylint``.
"""

from __future__ import annotations

import ast
import configparser
import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pip
import yaml

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "sanity"  # its environments are kept there between runs
BIN = Path(sys.executable).parent
# ansible-test bootstraps pip into each of nine environments with this script, which it downloads;
# the pip of the environment that runs this needs only to be copied.
GET_PIP = """\
import shutil
import sysconfig
from pathlib import Path

for source in {sources!r}:
    target = Path(sysconfig.get_path("purelib"), Path(source).name)
    shutil.copytree(source, target, dirs_exist_ok=True)
"""
NOTHING_RAN = "All targets skipped"
SETTINGS = ("tests/config.yml", "tests/sanity/*")  # ansible-test's own; not published either


def is_copied(name: str, left_out: Sequence[str]) -> bool:
    """Return whether the file *name* is published, or a setting of ansible-test.

    :param left_out: patterns of files and folders, as ``build_ignore`` of galaxy.yml has them.
    """
    if any(fnmatch.fnmatch(name, pattern) for pattern in SETTINGS):
        return True
    parts = name.split("/")
    places = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return not any(fnmatch.fnmatch(place, one) for place in places for one in left_out)


def copy_published(target: Path) -> None:
    """Copy to *target* the files that are published, and the settings of ansible-test."""
    left_out = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["build_ignore"]
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-zco", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source = ROOT / name
        if not is_copied(name, left_out):
            continue
        if source.is_symlink() or source.exists():  # a file deleted since is still listed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def pip_settings() -> configparser.RawConfigParser:
    """Return pip's settings, those from the environment included, as one configuration.

    ansible-test passes nothing but HOME to the pip that it runs.
    """
    settings = configparser.RawConfigParser()
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found: list[tuple[str, str, str]] = []
    for line in listed.stdout.splitlines():
        name, value = line.split("=", 1)
        section, key = name.rsplit(".", 1)
        found.append((section, key, str(ast.literal_eval(value))))
    for variable, key in (("HTTPS_PROXY", "proxy"), ("REQUESTS_CA_BUNDLE", "cert")):
        if os.environ.get(variable) and key not in {known for section, known, value in found}:
            found.append((":env:", key, os.environ[variable]))
    for section, key, value in sorted(found, key=lambda item: item[0] == ":env:"):
        target = "global" if section == ":env:" else section
        if not settings.has_section(target):
            settings.add_section(target)
        settings.set(target, key, value)
    if not settings.has_section("global"):
        settings.add_section("global")
    settings.set("global", "quiet", "1")  # what it finds is worth reading, what it installs not
    settings.set("global", "no-compile", "true")  # most of it is never imported
    return settings


def prepare_home() -> None:
    """Lay out a home for ansible-test: pip's settings, and the script that it would download."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    requirements = BIN.parent.glob("lib/python3*/site-packages/ansible_test/_internal")
    source = next(requirements) / "python_requirements.py"
    for version in sorted(set(find_pip_versions(source.read_text(encoding="utf-8")))):
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        script.write_text(GET_PIP.format(sources=own_pip()), encoding="utf-8")
    configuration = HOME / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.touch(mode=0o600)
    with configuration.open("w", encoding="utf-8") as stream:
        pip_settings().write(stream)


def own_pip() -> list[str]:
    """Return the folders that this environment's pip consists of."""
    place = Path(pip.__file__).parent
    return [str(place), *map(str, place.parent.glob("pip-*.dist-info"))]


def find_pip_versions(source: str) -> list[str]:
    """Return the versions of pip that ansible-test's *source* names."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.count(".") in {1, 2}
        and node.value.replace(".", "").isdigit()
    ]


def main(argv: list[str]) -> int:
    """Run the sanity tests; return the exit status, 1 when none ran."""
    prepare_home()
    with tempfile.TemporaryDirectory(prefix="kiln-sanity-") as folder:
        collection = Path(folder) / "ansible_collections" / "kiln" / "immutable"
        copy_published(collection)
        command = [str(BIN / "ansible-test"), "sanity", "--color", "no", "--requirements"]
        command += ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
        with subprocess.Popen(
            [*command, *argv],
            cwd=collection,
            env={**os.environ, "HOME": str(HOME), "ANSIBLE_COLLECTIONS_PATH": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            nothing_ran = False
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                nothing_ran = nothing_ran or NOTHING_RAN in line
    if nothing_ran:
        sys.stdout.write(f"ansible-test said {NOTHING_RAN!r}, so nothing was checked.\n")
        return 1
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

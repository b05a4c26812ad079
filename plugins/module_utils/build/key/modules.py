# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which options of which modules read files of the controller, or fetch something from afar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from .builtin_names import names
from .mentions import short


class Reads(StrEnum):
    """What becomes of a file that a task names."""

    BYTES = "bytes"
    TEMPLATE = "template"
    VARIABLES = "variables"
    TASKS = "tasks"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class FileOption:
    """An option that names a file of the controller, looked for below *folder* first."""

    options: tuple[str, ...]
    folder: str
    reads: Reads


_FILES = {
    "copy": (FileOption(("src",), "files", Reads.BYTES),),
    "template": (FileOption(("src",), "templates", Reads.TEMPLATE),),
    "script": (FileOption(("cmd", "_raw_params"), "files", Reads.SCRIPT),),
    "unarchive": (FileOption(("src",), "files", Reads.BYTES),),
    "assemble": (FileOption(("src",), "files", Reads.BYTES),),
    "include_vars": (FileOption(("file", "_raw_params", "dir"), "vars", Reads.VARIABLES),),
    "include_tasks": (FileOption(("file", "_raw_params"), "tasks", Reads.TASKS),),
    "import_tasks": (FileOption(("file", "_raw_params"), "tasks", Reads.TASKS),),
    "include": (FileOption(("file", "_raw_params"), "tasks", Reads.TASKS),),
    "synchronize": (FileOption(("src",), "files", Reads.BYTES),),
    "patch": (FileOption(("src",), "files", Reads.BYTES),),
}
#: A module that is not known may have an action plugin that reads these here.
_UNKNOWN = (
    FileOption(("src",), "files", Reads.BYTES),
    FileOption(("template",), "templates", Reads.TEMPLATE),
)

#: Modules of ansible-core and its neighbours whose `src` is a path in the image, or that have none.
_WITHOUT = names(
    """
    add_host apt apt_key apt_repository assert async_status blockinfile command cron debconf
    debug deb822_repository dnf dnf5 dpkg_selections expect fail fetch file find gather_facts
    get_url getent git group group_by hostname import_role include_role iptables known_hosts
    lineinfile meta mount_facts package package_facts pause ping pip raw reboot replace rpm_key
    service service_facts set_fact set_stats setup shell slurp stat subversion systemd
    systemd_service sysvinit tempfile uri user validate_argument_spec wait_for
    wait_for_connection yum_repository mount authorized_key sysctl ini_file archive alternatives
    locale_gen timezone capabilities htpasswd xml seboolean
    """
)


def base_name(module: str) -> str:
    """Return the last part of a module's name."""
    return short(module).rpartition(".")[2]


def file_options(module: str, options: dict[str, str]) -> tuple[FileOption, ...]:
    """Return the options of *module* that name a file of the controller in this task.

    :param options: the task's options that are plain scalars, as text.
    """
    name = base_name(module)
    remote = options.get("remote_src", "yes" if name == "assemble" else "no").strip().lower()
    if remote in ("yes", "true", "on", "1", "y", "t"):
        return ()
    if name == "unarchive" and options.get("copy", "yes").strip().lower() in ("no", "false"):
        return ()
    if name == "synchronize" and options.get("mode", "push").strip() == "pull":
        return ()
    if name in _FILES:
        return _FILES[name]
    return () if name in _WITHOUT else _UNKNOWN


#: Modules that install from an index which no lock of ours pins.
INDEXES = names(
    """
    pip npm yarn gem bundler composer cpanm snap flatpak cargo go_get pipx opam bower
    docker_image helm maven_artifact apt_key
    """
)
#: option -> modules where a URL in it means bytes from elsewhere.
REMOTE_OPTIONS = {
    "unarchive": ("src",),
    "apt": ("deb",),
    "dnf": ("name",),
    "rpm_key": ("key",),
    "authorized_key": ("key",),
    "deb822_repository": ("signed_by",),
    "copy": (),
}
REPOSITORIES = frozenset(("git", "subversion", "hg", "svn"))
COMMANDS = frozenset(("command", "shell", "raw", "script", "expect"))
#: Modules where a `url` is only a word.
WORDS_ONLY = names("debug set_fact assert fail meta include_tasks import_tasks")
URL = re.compile(r"(?:https?|ftps?|git|ssh|s3|svn|rsync|scp)://|^git@")
FETCHERS = re.compile(
    r"(?<![\w./-])(?:\S*/)?(?:curl|wget|pip3?\s+install|npm\s+i|gem\s+install|git\s+(?:clone|fetch|pull)|rsync|scp)\s"
    r"|(?:https?|ftp)://(?!localhost|127\.|\[::1\])"
)
COMMIT = re.compile(r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")
CHECKSUM = re.compile(r"^(?:sha224|sha256|sha384|sha512|sha1|md5):[0-9a-fA-F]{32,}$")

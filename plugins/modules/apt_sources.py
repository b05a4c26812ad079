#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's package sources in deb822 form, with the keyring that vouches for each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_sources
short_description: Turn one-line package sources into deb822 sources with Signed-By
version_added: 0.1.0
description:
  - Reads C(/etc/apt/sources.list) and C(/etc/apt/sources.list.d/*.list), writes what they say
    into one deb822 file, and removes them. Where they are in that form already, nothing changes.
  - A source that names no keyring gets I(keyring), so that no other key on the system can vouch
    for it.
  - Sources that differ only in their suite become one entry.
options:
  keyring:
    description: The keyring of sources that name none.
    type: path
    default: /usr/share/keyrings/debian-archive-keyring.gpg
  path:
    description: The file that is written.
    type: path
    default: /etc/apt/sources.list.d/debian.sources
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the file before and after.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Say which key signs the package sources
  kiln.immutable.apt_sources:
"""

RETURN = r"""
converted:
  description: The one-line files that were converted and removed.
  returned: always
  type: list
  elements: str
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

_LINE = re.compile(r"^(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*$")


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of sources.list(5)."""

    kind: str
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    def stanza(self, keyring: str) -> str:
        """Return the entry in deb822 form, signed by *keyring* unless it names another."""
        fields = {
            "Types": self.kind,
            "URIs": self.uri,
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
        }
        options = {name.title(): value.replace(",", " ") for name, value in self.options}
        # "signed-by" and "arch" are spelt another way in deb822.
        if "Arch" in options:
            options["Architectures"] = options.pop("Arch")
        options.setdefault("Signed-By", keyring)
        lines = [f"{name}: {value}" for name, value in {**fields, **options}.items() if value]
        return "\n".join(lines) + "\n"


def parse(text: str, name: str) -> list[Source]:
    """Return the entries of one-line sources; DriverError names the line that is none."""
    sources = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = _LINE.match(content)
        if found is None:
            raise DriverError(
                f"{name}:{number}: this is no package source: {content}",
                hint="Write it as 'deb URI SUITE COMPONENT...', or leave it out.",
            )
        kind, options, uri, suite, components = found.groups()
        pairs = [option.partition("=") for option in (options or "").split()]
        sources.append(
            Source(
                kind,
                uri,
                (suite,),
                tuple(components.split()),
                tuple((key.lower(), value) for key, _equals, value in pairs),
            )
        )
    return sources


def merge(sources: Sequence[Source]) -> list[Source]:
    """Return *sources* with the suites of entries that are otherwise equal put together."""
    suites: dict[Source, list[str]] = {}
    for source in sources:
        key = Source(source.kind, source.uri, (), source.components, source.options)
        suites.setdefault(key, []).extend(source.suites)
    return [
        Source(key.kind, key.uri, tuple(dict.fromkeys(found)), key.components, key.options)
        for key, found in suites.items()
    ]


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Convert what is there in one-line form."""
    path, keyring = Path(module.params["path"]), str(module.params["keyring"])
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    old = [file for file in files if file.is_file()]
    sources = [source for file in old for source in parse(file.read_text(), str(file))]
    before = path.read_text() if path.is_file() else ""
    if not sources:
        return {"changed": False, "converted": []}
    if not Path(keyring).is_file() and not module.check_mode:
        raise DriverError(
            f"The keyring {keyring} does not exist on the target.",
            hint="Install debian-archive-keyring, or name another one in the option keyring.",
        )
    stanzas = [source.stanza(keyring) for source in merge(sources)]
    after = "\n".join([before.rstrip("\n") + "\n"] * bool(before) + stanzas)
    if not module.check_mode:
        write_whole(path, after.encode())
        for file in old:
            file.unlink()
    return {
        "changed": True,
        "converted": [str(file) for file in old],
        "diff": {
            "before_header": str(path),
            "after_header": str(path),
            "before": before,
            "after": after,
        },
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "keyring": {
                "type": "path",
                "default": "/usr/share/keyrings/debian-archive-keyring.gpg",
            },
            "path": {"type": "path", "default": "/etc/apt/sources.list.d/debian.sources"},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()

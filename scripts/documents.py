# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the documents that are made from data: docs/hardening.md and the READMEs of the roles.

What a role's README says up to its marker comes from ``meta/argument_specs.yml``; what stands
below the marker is written by hand and stays. Run it with ``make docs``.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import load_controls
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_page import (
    render_controls_page,
)

ROOT = Path(__file__).resolve().parent.parent
MARKER = "<!-- Up to here from meta/argument_specs.yml by `make docs`; below by hand. -->"
WIDTH = 120
LONGEST_VALUE = 60
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_MARKUP = re.compile(r"\b[CVOM]\(([^)]*)\)")


def documents(root: Path = ROOT) -> dict[Path, str]:
    """Return what each document is to hold."""
    folders = sorted(path for path in (root / "roles").iterdir() if path.is_dir())
    controls = load_controls(root / "roles")
    proved = {control.role for control in controls if not control.waiver}
    found = {}
    about = {}
    for folder in folders:
        specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text("utf-8"))
        main = specs["argument_specs"]["main"]
        about[folder.name] = main["short_description"]
        path = folder / "README.md"
        old = path.read_text("utf-8") if path.is_file() else ""
        found[path] = readme(folder.name, main, old, has_controls=folder.name in proved)
    found[root / "docs" / "hardening.md"] = render_controls_page(controls, about)
    return found


def readme(name: str, main: Mapping[str, Any], old: str, *, has_controls: bool) -> str:
    """Return the README of the role *name*; what is below the marker in *old* is kept."""
    described = main.get("description") or [main["short_description"] + "."]
    paragraphs = [described] if isinstance(described, str) else described
    parts = [f"# {name}", textwrap.fill(markdown(" ".join(paragraphs)), WIDTH)]
    options = main.get("options") or {}
    if options:
        rows = "\n".join(option_rows(options))
        parts.append(f"| variable | default | meaning |\n|---|---|---|\n{rows}")
    else:
        parts.append("The role has no variables.")
    if has_controls:
        parts.append(
            f"What it sees to, control by control: [hardening](../../docs/hardening.md#{name})."
        )
    parts.append(MARKER)
    if by_hand := below(old):
        parts.append(by_hand)
    return "\n\n".join(parts) + "\n"


def below(old: str) -> str:
    """Return what stands below the marker in *old*, or below its table when there is none yet."""
    _above, marker, by_hand = old.partition(MARKER)
    if not marker:
        by_hand = re.split(r"(?m)^\|.*\|\n(?!\|)", old, maxsplit=1)[-1] if "\n|" in old else ""
    return by_hand.strip()


def option_rows(options: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield a row of the table for each of *options*, and for those inside of it."""
    for name, option in options.items():
        described = option.get("description", "")
        text = described if isinstance(described, str) else " ".join(described)
        if choices := option.get("choices"):
            text += " One of " + ", ".join(f"`{value(choice)}`" for choice in choices) + "."
        cell = markdown(" ".join(text.split())).replace("|", "\\|")
        yield f"| `{above}{name}` | {default(option)} | {cell} |"
        yield from option_rows(option.get("options") or {}, f"{above}{name}.")


def default(option: Mapping[str, Any]) -> str:
    """Return what the column for defaults says."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "[by rule](defaults/main.yml)"
    text = value(option["default"])
    return f"`{text}`" if len(text) <= LONGEST_VALUE else "[a list](defaults/main.yml)"


def value(of: object) -> str:
    """Return a default as YAML would have it on one line."""
    if isinstance(of, str) and _PLAIN.fullmatch(of) and of not in {"yes", "no", "on", "off"}:
        return of
    if isinstance(of, list):
        return f"[{', '.join(value(item) for item in of)}]"
    if isinstance(of, dict):
        return f"{{{', '.join(f'{key}: {value(item)}' for key, item in of.items())}}}"
    return json.dumps(of)


def markdown(text: str) -> str:
    """Return *text* with Ansible's markup as Markdown's."""
    return _MARKUP.sub(r"`\1`", text)


def outdated(root: Path = ROOT) -> list[str]:
    """Return the documents that are not what they are to be."""
    return [
        str(path.relative_to(root))
        for path, text in documents(root).items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def main() -> int:
    """Write the documents that have changed, and name them."""
    wanted = documents()
    for path in outdated():
        (ROOT / path).write_text(wanted[ROOT / path], "utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

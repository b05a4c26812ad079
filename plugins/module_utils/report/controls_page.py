# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about all controls, made from their data. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .controls_model import KINDS, RELEASES, Control

_NUMBERS = {"bookworm": "12", "trixie": "13"}
_INTRODUCTION = """\
# Hardening, control by control

What a hardened image holds to. Each control is data in its role's `meta/controls.yml`; `make docs`
makes this page from that. The check of a control is a function in `tests/testinfra/controls/`, and
a test proves that each of them fails once its setting is gone.

- *CIS 12* and *CIS 13* are sections of the CIS Debian Linux 12 and 13 Benchmarks.
- *R* and a number is a recommendation of ANSSI-BP-028.
- *OpenSCAP* lists rules of the SCAP Security Guide, without `xccdf_org.ssgproject.content_rule_`.

An image that does not hold to a control says so in its definition, with the reason
([waivers](image-definition.md#waivers)).
"""


def render_controls_page(controls: Sequence[Control], about: Mapping[str, str]) -> str:
    """Return docs/hardening.md.

    :param about: what each role is for, by its name; its order is that of the page.
    """
    parts = [_INTRODUCTION, _counts(controls)]
    for role, purpose in about.items():
        own = [control for control in controls if control.role == role and not control.waiver]
        if own:
            parts.append(f"## {role}\n\n{purpose}.\n\n" + "".join(map(_entry, own)))
    waived = [control for control in controls if control.waiver]
    if waived:
        parts.append(
            "## Not done\n\nWhat the guides ask for and these roles leave, with the reasons.\n\n"
            + "".join(map(_entry, waived))
        )
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _counts(controls: Sequence[Control]) -> str:
    done = [control for control in controls if not control.waiver]
    rows = [
        f"| {kind} | {release} | {sum(one.holds(kind, release) for one in done)} |\n"
        for kind in KINDS
        for release in RELEASES
    ]
    head = "| kind of image | release | controls |\n|---|---|---|\n"
    return f"{head}{''.join(rows)}"


def _entry(control: Control) -> str:
    words = [f"**{_sentence(control.title)}** {control.waiver or control.why}"]
    if limits := _limits(control):
        words.append(f"Only {limits}.")
    references = _references(control)
    lines = [f"- `{control.control}`: {' '.join(word.strip() for word in words)}"]
    if control.variable:
        references = [f"`{control.variable}`", *references]
    if references:
        lines[0] += "  "  # a line break of Markdown's
        lines.append(f"  {'; '.join(references)}")
    return "\n".join(lines) + "\n"


def _sentence(title: str) -> str:
    return title if title.endswith((".", "?", "!")) else f"{title}."


def _limits(control: Control) -> str:
    limits = []
    if len(control.kinds) < len(KINDS):
        limits.append("in a VM" if control.kinds == ("vm",) else "in a container")
    if len(control.releases) < len(RELEASES):
        limits.append(f"on {control.releases[0]}")
    return " ".join(limits)


def _references(control: Control) -> list[str]:
    found = [
        f"CIS {_NUMBERS[release]}: {', '.join(control.cis[release])}"
        for release in RELEASES
        if release in control.cis
    ]
    if control.anssi:
        found.append(f"ANSSI {', '.join(control.anssi)}")
    if control.openscap:
        found.append("OpenSCAP " + ", ".join(f"`{rule}`" for rule in control.openscap))
    return found

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``seal`` of a definition asks of the finished image before it gets a version."""

from __future__ import annotations

from pathlib import Path

from ..core.yaml_fields import Section
from ..core.yaml_source import TAG, Source, shape_of
from .definition_base import beside
from .definition_model import Compliance

FAIL_ON = ("unwaived", "any", "never")

_PROFILE_PREFIX = "xccdf_org.ssgproject.content_profile_"


def read_compliance(seal: Section) -> Compliance | None:
    """Return the ``compliance`` of a seal, None when it has none."""
    field = seal.get("compliance")
    if field is None:
        return None
    section = field.section("{profile: cis_level1_server}")
    wanted = section.require("profile", "it names what the image is compared with")
    profile = ""
    if wanted is not None:
        given = wanted.text("a profile such as cis_level1_server") or ""
        profile = given.removeprefix(_PROFILE_PREFIX)
        if given and not set(profile) <= set("abcdefghijklmnopqrstuvwxyz0123456789_"):
            wanted.complain(f"is {given}; a profile has small letters, digits and _")
    asked = section.get("fail")
    fail = asked.choice(FAIL_ON) if asked is not None else None
    section.close()
    return Compliance(profile, fail or FAIL_ON[0])


def read_goss(seal: Section, source: Source) -> Path | None:
    """Return the path of the goss file of a seal, None when it has none."""
    field = seal.get("goss")
    text = field.text("the path of a goss file") if field is not None else None
    if field is None or text is None:
        return None
    path = beside(text, source)
    if not path.is_file():
        field.complain(
            f"is {text}, where there is no file; it is looked for from {source.path.parent}"
        )
    return path


def read_lynis(seal: Section) -> bool:
    """Return whether a seal asks for Lynis."""
    field = seal.get("lynis")
    if field is None:
        return False
    if field.node.tag != TAG + "bool":
        field.complain(f"is {shape_of(field.node)}; it must be true or false")
        return False
    return str(field.node.value).lower() in ("true", "yes", "on")

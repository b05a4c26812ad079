# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of an image definition: which keys there are, and what each may hold."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.grammar import NAME, NAME_LENGTH, NAME_WANTS
from ..core.yaml_fields import Field, Section, nearest
from ..core.yaml_source import NO_VARS, Source
from .definition_base import beside, read_base
from .definition_checks import read_compliance, read_goss, read_lynis
from .definition_config import read_config, read_state
from .definition_disk import read_disk
from .definition_model import Definition, DiskSpec, LayerSpec, Seal
from .definition_scan import read_scan, read_truth
from .definition_waivers import read_waivers

KINDS = ("container", "vm")
SEAL_PYTHON = ("remove", "keep")
RESERVED_IMAGES = ("all", "ungrouped", "localhost", "kiln_images")
RESERVED_LAYERS = ("seal",)
RESERVED_VARS = ("kiln_definition", "kiln_definition_dir", "kiln_image", "kiln_session")

_LAYER_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_LAYER_NAME_WANTS = "a layer's name has at most 63 letters, digits, . _ and -"
_ROLE = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


def read_definition(source: Source) -> Definition:
    """Return what *source* defines; raises one DriverError that lists all of its problems."""
    top = Field(source.root, "", 1, source.problems).section("")
    name, name_line = _name(top, source)
    series = _series(top)
    description = _text(top, "description")
    asked = top.get("kind")
    kind = asked.choice(KINDS) if asked is not None else KINDS[0]
    base = read_base(top, source)
    vars_source, vars_values = _variables(top)
    layers = _layers(top, source)
    seal_field = top.get("seal")
    config = read_config(top)
    state = read_state(top, config)
    waivers = read_waivers(top)
    disk = read_disk(top, kind, source, name)
    seal = _seal(seal_field, source, disk)
    top.close(free_prefix="x-")
    if source.problems or base is None or kind is None:
        raise source.problems.error()
    return Definition(
        name=name,
        path=source.path,
        shown_path=source.shown_path,
        digest=source.digest,
        base=base,
        kind=kind,
        description=description,
        series=series,
        vars_source=vars_source,
        vars_values=vars_values,
        layers=layers,
        seal=seal,
        config=config,
        state=state,
        waivers=waivers,
        disk=disk,
        name_line=name_line,
    )


def _name(top: Section, source: Source) -> tuple[str, int]:
    field = top.get("name")
    if field is None:
        stem = source.path.stem
        if re.fullmatch(NAME, stem) is None or len(stem) > NAME_LENGTH:
            source.problems.add(
                1, f"name is missing, and the file's name {stem} cannot be one; {NAME_WANTS}."
            )
        elif stem in RESERVED_IMAGES:
            source.problems.add(1, f"name is {stem}, after the file; that name is reserved.")
        return stem, 1
    name = field.match(NAME, NAME_WANTS) or ""
    if name in RESERVED_IMAGES:
        field.complain(f"is {name}, which the inventory reserves; choose another")
    elif len(name) > NAME_LENGTH:
        field.complain(f"has {len(name)} characters; a name has at most {NAME_LENGTH}")
    return name, field.line


def _series(top: Section) -> str:
    field = top.get("version")
    wants = 'text, MAJOR.MINOR such as "1.0"'
    expectation = 'it must be MAJOR.MINOR such as "1.0"; the bake adds the last number'
    number = r"(0|[1-9][0-9]*)"
    series = field.match(rf"{number}\.{number}", expectation, wants) if field else "1.0"
    return series or ""


def _text(section: Section, key: str) -> str:
    field = section.get(key)
    return (field.text() if field else None) or ""


def _variables(section: Section) -> tuple[str, dict[str, object]]:
    field = section.get("vars")
    return field.variables(RESERVED_VARS) if field else (NO_VARS, {})


def _layers(top: Section, source: Source) -> tuple[LayerSpec, ...]:
    layers: list[LayerSpec] = []
    first_lines: dict[str, int] = {}
    field = top.get("layers")
    for item in field.items("[{role: kiln.immutable.base}]") if field is not None else ():
        layer = _layer(item, source)
        if layer is None:
            continue
        if layer.name in first_lines:
            item.complain(
                f"has the name {layer.name}, as the layer on line {first_lines[layer.name]} has; "
                "give one of them another name"
            )
        first_lines.setdefault(layer.name, item.line)
        layers.append(layer)
    return tuple(layers)


def _layer(item: Field, source: Source) -> LayerSpec | None:
    if item.is_text:
        item.complain(f"is text; write it as a mapping, role: {item.node.value}")
        return None
    section = item.section("{role: kiln.immutable.base}")
    wanted = section.require("role", "a layer is what one role changes")
    role = wanted.text("a role's name or path") if wanted is not None else None
    if wanted is None or role is None:
        named = section.get("name")
        if named is not None:
            named.text()
        _variables(section)
        section.get("inputs")
        section.close()
        return None
    role_path = _role_path(wanted, role, source)
    named = section.get("name")
    if named is not None:
        name = named.match(_LAYER_NAME, _LAYER_NAME_WANTS) or ""
    else:
        name = role_path.name if role_path is not None else role.rpartition(".")[2]
    if name in RESERVED_LAYERS:
        (named or wanted).complain(
            f"gives a layer the name {name}, which is reserved: the bake seals every image "
            "itself, last"
        )
    vars_source, vars_values = _variables(section)
    declared = section.get("inputs")
    inputs = declared.texts("[files/*.conf]") if declared is not None else None
    section.close()
    return LayerSpec(name, role, wanted.line, role_path, vars_source, vars_values, inputs)


def _role_path(field: Field, role: str, source: Source) -> Path | None:
    """Return the directory of a path role, None for a role that Ansible finds by its name."""
    if role.startswith(("./", "../")):
        path = beside(role, source)
        if not path.is_dir():
            parent = path.parent
            near = nearest(path.name, [entry.name for entry in _directories(parent)])
            advice = (
                f"did you mean {role.rstrip('/').rpartition('/')[0]}/{near}?"
                if near
                else "the path starts from the definition's own directory."
            )
            field.problems.add(
                field.line, f"{field.path} is {role}, where there is no directory; {advice}"
            )
        return path
    if role.startswith(("/", "~")):
        field.complain(f"is {role}; write a path role relative to the definition, with ./ or ../")
    elif "/" in role:
        field.complain(f"is {role}; a path role begins with ./ or ../, so write ./{role}")
    elif re.fullmatch(_ROLE, role) is None:
        field.complain(
            f"is {role}; a role is a name such as kiln.immutable.base, or a path that begins "
            "with ./ or ../"
        )
    return None


def _directories(parent: Path) -> list[Path]:
    return [entry for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []


def _seal(field: Field | None, source: Source, disk: DiskSpec | None) -> Seal:
    # cloud-init is written in Python: an instance without it would not hear who may log in.
    usual = "keep" if disk is not None and disk.provision == "cloud-init" else "remove"
    if field is None:
        return Seal(usual)
    section = field.section("{python: remove}")
    python = asked.choice(SEAL_PYTHON) if (asked := section.get("python")) is not None else None
    vars_source, vars_values = _variables(section)
    compliance = read_compliance(section)
    goss = read_goss(section, source)
    lynis = read_lynis(section)
    sbom = read_truth(section, "sbom")
    scan = read_scan(section)
    section.close()
    return Seal(python or usual, vars_source, vars_values, compliance, goss, lynis, sbom, scan)

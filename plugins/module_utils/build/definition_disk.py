# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``disk`` of a definition: what disks the layers of a VM become."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.yaml_fields import Field, Section
from ..core.yaml_source import Source
from .definition_base import beside
from .definition_model import DiskSlots, DiskSpec, DiskState, DiskTests

FORMATS = ("raw", "qcow2", "vmdk", "vhd", "tar.gz", "sysupdate")
ROOTS = ("erofs", "ext4")
BOOTS = ("uefi", "bios")
PROVISIONS = ("plain", "cloud-init")

LEAST_STATE = 16 << 20
LEAST_ESP = 64 << 20
MOST_TRIES = 9
# A partition's label has 36 characters (UEFI 2.10, section 5.3.3), and ends in the version.
LONGEST_SLOT_NAME = 24
_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"([1-9][0-9]*)(MiB|GiB)")
_CONSOLE = r"tty[A-Z]*[0-9]+(,[1-9][0-9]*[noe]?[78]?r?)?"
_CONSOLE_WANTS = 'a console is a device and perhaps its speed, such as "ttyS0,115200"'
_USER = r"[a-z_][a-z0-9_-]*"
# They say where the root is and what it is verified by: the assembly alone knows.
_OURS = ("root", "rootfstype", "roothash", "usrhash", "ro", "rw", "init", "rdinit", "console")


def read_disk(top: Section, kind: str | None, source: Source, name: str) -> DiskSpec | None:
    """Return the ``disk`` of a definition, None when it has none.

    :param kind: of the image; only a VM has a disk.
    :param name: of the image.
    """
    field = top.get("disk")
    if field is None:
        return None
    if kind == "container":
        field.complain("is for images with kind: vm; this one is a container")
    section = field.section("{formats: [qcow2]}")
    wanted = section.require("formats", "name at least one, such as formats: [qcow2]")
    formats = _formats(wanted) if wanted is not None else ()
    root_field, boot_field = section.get("root"), section.get("boot")
    root = _choice(root_field, ROOTS)
    boot = _choice(boot_field, BOOTS)
    if root == "erofs" and boot == "bios" and boot_field is not None:
        boot_field.complain(
            "is bios, which cannot verify a kernel's command line; write root: ext4 beside it, "
            "or boot: uefi"
        )
    writable_field, state_field = section.get("writable"), section.get("state")
    writable = writable_field is not None and writable_field.truth()
    if writable and writable_field is not None and root == "erofs":
        writable_field.complain("is true, and erofs is never written; write root: ext4 beside it")
    if writable and state_field is not None:
        state_field.complain("is of no use beside writable: true, where all of the root lasts")
    tests_field = section.get("tests")
    slots_field = section.get("slots")
    spec = DiskSpec(
        formats=formats,
        size=_size(section.get("size"), LEAST_STATE),
        root=root,
        writable=writable,
        boot=boot,
        state=_state(state_field),
        command_line=_command_line(section.get("command_line")),
        console=_console(section.get("console")),
        provision=_choice(section.get("provision"), PROVISIONS),
        boot_test=_boot_test(section.get("boot_test")),
        tests=_tests(tests_field, source),
        slots=_slots(slots_field),
    )
    if slots_field is not None:
        _check_slots(slots_field, spec, name)
    elif "sysupdate" in formats and wanted is not None:
        wanted.complain("has sysupdate, which fills a second slot; write slots: {} beside it")
    if tests_field is not None and spec.provision != "cloud-init":
        tests_field.complain("log in with a key from cloud-init; write provision: cloud-init")
    if tests_field is not None and not spec.boot_test:
        tests_field.complain("are of no use with boot_test: false")
    section.close()
    return spec


def _formats(field: Field) -> tuple[str, ...]:
    found = field.each("[qcow2]", lambda item: item.choice(FORMATS))
    if not found and field.is_list and not field.node.value:
        field.complain("is empty; name at least one format, such as [qcow2]")
    return found


def _choice(field: Field | None, allowed: tuple[str, ...]) -> str:
    return (field.choice(allowed) if field is not None else None) or allowed[0]


def _size(field: Field | None, least: int) -> int:
    if field is None:
        return 0
    wants = 'a whole number with its unit, such as "512MiB" or "4GiB"'
    if field.is_whole_number:
        field.complain(f"is {field.node.value}; it must be {wants}")
        return 0
    text = field.match(_SIZE.pattern, f"it must be {wants}", wants)
    found = _SIZE.fullmatch(text or "")
    if found is None:
        return 0
    size = int(found.group(1)) * _UNITS[found.group(2)]
    if size < least:
        field.complain(f"is {text}; it must be at least {least >> 20}MiB")
    return size


def _state(field: Field | None) -> DiskState | None:
    if field is None:
        return None
    usual = DiskState()
    section = field.section("{size: 512MiB}")
    size_field, device_field = section.get("size"), section.get("device")
    size = _size(size_field, LEAST_STATE) or usual.size
    device = ""
    if device_field is not None:
        device = device_field.absolute_path() or ""
        if device and not device.startswith("/dev/"):
            device_field.complain(
                f"is {device}; name a disk below /dev, best by its serial number, such as "
                "/dev/disk/by-id/virtio-state"
            )
        if size_field is not None:
            size_field.complain("is of no use beside device: a disk of its own has its own size")
    section.close()
    return DiskState(size, device)


def _slots(field: Field | None) -> DiskSlots | None:
    if field is None:
        return None
    section = field.section("{tries: 3}, or {}")
    tries_field = section.get("tries")
    tries = DiskSlots().tries
    if tries_field is not None:
        tries = tries_field.count(1) or tries
        if tries > MOST_TRIES:
            tries_field.complain(f"is {tries}; it must be at most {MOST_TRIES}")
    slots = DiskSlots(
        size=_size(section.get("size"), LEAST_STATE),
        esp=_size(section.get("esp"), LEAST_ESP),
        tries=tries,
    )
    section.close()
    return slots


def _check_slots(field: Field, spec: DiskSpec, name: str) -> None:
    if spec.root != "erofs" or spec.boot != "uefi":
        field.complain(
            "are for a verified root that UEFI starts; write root: erofs and boot: uefi beside it"
        )
    if len(name) > LONGEST_SLOT_NAME:
        field.complain(
            f"need a shorter name of the image than {name}, which is a part of the labels of its"
            f" partitions; at most {LONGEST_SLOT_NAME} characters"
        )


def _command_line(field: Field | None) -> tuple[str, ...]:
    words: list[str] = []
    for item in field.items("[quiet]") if field is not None else ():
        word = item.match(r"\S+", "write each word as an item of its own", "a word for the kernel")
        if word is None:
            continue
        if word.partition("=")[0] in _OURS:
            item.complain(f"is {word}, which the disk's own layout decides; leave it out")
        words.append(word)
    return tuple(words)


def _console(field: Field | None) -> str:
    if field is None:
        return DiskSpec(()).console
    if field.is_text and field.node.value == "none":
        return ""
    return field.match(_CONSOLE, f"{_CONSOLE_WANTS}, or none") or ""


def _boot_test(field: Field | None) -> int:
    usual = DiskSpec(()).boot_test
    if field is None:
        return usual
    if field.is_truth:
        return usual if field.truth() else 0
    duration = field.duration(1_000_000_000)
    return usual if duration is None else duration // 1_000_000_000


def _tests(field: Field | None, source: Source) -> DiskTests | None:
    if field is None:
        return None
    if field.is_text:
        wanted: Field | None = field
        user = DiskTests(Path()).user
    else:
        section = field.section("{path: tests/web-vm, user: admin}")
        wanted = section.require("path", "it must be a file or a folder with tests of testinfra")
        asked = section.get("user")
        wants = "a user's name has small letters, digits, _ and -"
        user = (asked.match(_USER, wants) if asked is not None else None) or DiskTests(Path()).user
        section.close()
    text = wanted.text("the path of tests") if wanted is not None else None
    if wanted is None or text is None:
        return None
    path = beside(text, source)
    if not path.exists():
        wanted.complain(
            f"is {text}, where there is nothing; it is looked for from {source.path.parent}"
        )
    return DiskTests(path, user)

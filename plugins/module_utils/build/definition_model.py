# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image definition says, as values: nothing here reads a file or checks anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..core.yaml_source import NO_VARS


@dataclass(frozen=True, slots=True)
class Debootstrap:
    """A base made from a signed Debian archive.

    :param mirror: URL of the archive; None leaves the choice to the tool.
    :param keyring: absolute path of the keys that may sign the archive; None is the tool's own.
    :param expired: ``accept`` takes releases whose time is over, as archives of snapshots have.
    """

    kind: ClassVar[str] = "debootstrap"

    suite: str
    mirror: str | None = None
    components: tuple[str, ...] = ("main",)
    variant: str = "minbase"
    include: tuple[str, ...] = ()
    keyring: Path | None = None
    expired: str = "refuse"


@dataclass(frozen=True, slots=True)
class Registry:
    """A base pulled from a registry: a reference that ends in its digest."""

    kind: ClassVar[str] = "registry"

    image: str

    @property
    def digest(self) -> str:
        """The digest that the reference is pinned to, ``sha256:HEX``."""
        return self.image.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Archive:
    """A base from a file: a root filesystem's tar, or the directory of an OCI image layout.

    :param path: absolute.
    :param digest: of the tar's bytes, or of the manifest in the layout.
    """

    kind: ClassVar[str] = "archive"

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Parent:
    """A base that is another image of ours, by the name in its definition."""

    kind: ClassVar[str] = "image"

    name: str
    line: int = field(default=1, compare=False)


Base = Debootstrap | Registry | Archive | Parent


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One role of an image.

    :param role: as written: an FQCN, a path that begins with ``./`` or ``../``, or a bare name.
    :param role_line: the line that names it.
    :param role_path: the absolute directory of a path role, None for the other two forms.
    :param vars_source: YAML text of a mapping, with ``!vault``, ``!unsafe`` and templates as they
        were written, anchors and merge keys resolved; ``{}`` when there are none.
    :param vars_values: the same for analysis, untemplated, with Vaulted and Unsafe in it.
    :param inputs: paths and globs, relative to the definition's directory, that the layer
        declares to depend on; None when it declares nothing.
    """

    name: str
    role: str
    role_line: int = field(default=1, compare=False)
    role_path: Path | None = None
    vars_source: str = NO_VARS
    vars_values: Mapping[str, object] = field(default_factory=dict, hash=False, repr=False)
    inputs: tuple[str, ...] | None = None

    @property
    def vars_names(self) -> tuple[str, ...]:
        """The names that the layer's ``vars`` set, in the order written."""
        return tuple(self.vars_values)


@dataclass(frozen=True, slots=True)
class Compliance:
    """A scan of the finished root by OpenSCAP.

    :param profile: without ``xccdf_org.ssgproject.content_profile_``.
    :param fail: when the image gets no version: ``unwaived`` (a rule fails without a waiver),
        ``any`` (a rule fails) or ``never``.
    """

    profile: str
    fail: str = "unwaived"


@dataclass(frozen=True, slots=True)
class AllowedSecret:
    """A secret that may be in the image, and why.

    :param path: a glob of absolute paths.
    :param rule: the name of the rule that finds it; empty for all rules.
    """

    path: str
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What is looked for in the finished image.

    :param vulnerabilities: packages that the security archive has newer.
    :param scanners: ask grype and trivy, where they are installed.
    """

    vulnerabilities: bool = True
    scanners: bool = True
    allowed: tuple[AllowedSecret, ...] = ()


@dataclass(frozen=True, slots=True)
class Seal:
    """How the image is closed, and what is asked of it before it gets a version.

    :param python: ``remove`` or ``keep``, for a Python that the layers' packages brought along.
    :param goss: absolute path of a goss file that the finished image must pass.
    :param lynis: whether Lynis looks at the finished root.
    :param sbom: make bills of materials.
    :param scan: None when nothing is looked for in the finished root's files.
    """

    python: str = "remove"
    vars_source: str = NO_VARS
    vars_values: Mapping[str, object] = field(default_factory=dict, hash=False, repr=False)
    compliance: Compliance | None = None
    goss: Path | None = None
    lynis: bool = False
    sbom: bool = True
    scan: Scan | None = Scan()

    @property
    def examines(self) -> bool:
        """Whether anything is asked of the finished image."""
        return bool(self.compliance or self.goss or self.lynis)

    @property
    def vars_names(self) -> tuple[str, ...]:
        """The names that the seal's ``vars`` set, in the order written."""
        return tuple(self.vars_values)


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the image serves; its text is that of OCI's ``ExposedPorts``."""

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How an engine asks a container of the image whether it works. Durations in nanoseconds.

    :param test: ``CMD`` or ``CMD-SHELL`` and what to run, or ``NONE`` alone.
    """

    test: tuple[str, ...]
    interval: int = 30_000_000_000
    timeout: int = 30_000_000_000
    start_period: int = 0
    retries: int = 3


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The OCI image configuration that the definition asks for.

    An empty string, an empty tuple of ``ports`` or ``volumes`` and None mean that the definition
    does not say. An ``entrypoint`` or ``cmd`` of ``()`` was written as an empty list.
    """

    user: str = ""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    ports: tuple[Port, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    healthcheck: Healthcheck | None = None


@dataclass(frozen=True, slots=True)
class StatePath:
    """A path that lives outside of the image.

    :param kind: ``volume`` or ``tmpfs``.
    :param owner: ``UID:GID``, numbers.
    :param mode: four octal digits.
    """

    path: str
    kind: str = "volume"
    owner: str = "0:0"
    mode: str = "0755"


@dataclass(frozen=True, slots=True)
class DiskState:
    """The file system of a VM that lasts: it is not of the image.

    :param device: absolute path of a disk of its own; empty for a partition behind the image's,
        which the first boot grows to the end of the disk.
    :param size: bytes of that partition as the image has it.
    """

    size: int = 64 << 20
    device: str = ""


@dataclass(frozen=True, slots=True)
class DiskTests:
    """What a booted disk must pass: tests of testinfra, over SSH.

    :param path: absolute, a file or a folder.
    :param user: who logs in, as cloud-init makes it.
    """

    path: Path
    user: str = "admin"


@dataclass(frozen=True, slots=True)
class DiskSlots:
    """Room for a second version beside the first, on the same machine.

    :param size: bytes of the root in each slot; 0 is half as much again as the first one needs.
    :param esp: bytes of the EFI system partition; 0 is room for two kernels, each half as large
        again as the first one.
    :param tries: how often a version is started that was never healthy yet.
    """

    size: int = 0
    esp: int = 0
    tries: int = 3


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """The disks that a VM's layers become.

    :param formats: at least one of ``raw``, ``qcow2``, ``vmdk``, ``vhd``, ``tar.gz`` and, with
        slots, ``sysupdate``.
    :param size: bytes of the whole disk; 0 is as much as its partitions need.
    :param root: ``erofs``, read-only and verified, or ``ext4``.
    :param writable: the root is the machine's own, to be changed by what builds on the disk.
    :param boot: ``uefi`` or ``bios``.
    :param state: None when nothing outlasts the machine.
    :param command_line: words for the kernel, beside those that the image's files give.
    :param console: the serial console, such as ``ttyS0,115200``; empty for none.
    :param provision: who gives an instance its users and network: ``cloud-init`` or ``plain``.
    :param boot_test: seconds within which the disk must boot before it becomes a version; 0 for no
        such test.
    :param tests: None when it is enough that the machine comes up.
    :param slots: None for a disk that holds one version.
    """

    formats: tuple[str, ...]
    size: int = 0
    root: str = "erofs"
    writable: bool = False
    boot: str = "uefi"
    state: DiskState | None = None
    command_line: tuple[str, ...] = ()
    console: str = "ttyS0,115200"
    provision: str = "plain"
    boot_test: int = 600
    tests: DiskTests | None = None
    slots: DiskSlots | None = None


@dataclass(frozen=True, slots=True)
class Waiver:
    """Something that the image does not hold to: a control of ours or a rule of OpenSCAP's.

    :param rule: without ``xccdf_org.ssgproject.content_rule_``.
    """

    control: str = ""
    rule: str = ""
    reason: str = ""
    line: int = field(default=1, compare=False)

    @property
    def subject(self) -> str:
        """What is waived, in words."""
        return f"control {self.control}" if self.control else f"rule {self.rule}"


@dataclass(frozen=True, slots=True)
class Definition:
    """One image, as its file describes it.

    :param path: the file, absolute; relative paths in it are relative to its directory.
    :param shown_path: the file as the user named it, for messages.
    :param digest: ``sha256:HEX`` of the file's bytes.
    :param kind: ``container`` or ``vm``: what the image is going to run as.
    :param series: ``MAJOR.MINOR``; each bake adds the last number of the version.
    """

    name: str
    path: Path
    shown_path: str
    digest: str
    base: Base
    kind: str = "container"
    description: str = ""
    series: str = "1.0"
    vars_source: str = NO_VARS
    vars_values: Mapping[str, object] = field(default_factory=dict, hash=False, repr=False)
    layers: tuple[LayerSpec, ...] = ()
    seal: Seal = Seal()
    config: ImageConfig = ImageConfig()
    state: tuple[StatePath, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    disk: DiskSpec | None = None
    name_line: int = field(default=1, compare=False)

    @property
    def directory(self) -> Path:
        """The absolute directory that the definition's relative paths start from."""
        return self.path.parent

    @property
    def vars_names(self) -> tuple[str, ...]:
        """The names that the definition's own ``vars`` set, in the order written."""
        return tuple(self.vars_values)

    def at(self, line: int) -> str:
        """Return ``FILE:LINE``, the beginning of a message about this definition."""
        return f"{self.shown_path}:{line}"

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lock pins: the base's and each layer's packages, by version and hash. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.canonical import digest
from .lock_state import FORMAT, LockDigests


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """A package as dpkg names it; the architecture is ``all`` or Debian's name of one."""

    name: str
    version: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package.

    A package that came from no archive, such as a file that a role installed with dpkg, has
    neither hash nor URL: only its version is pinned, as the role's own files are part of its key.

    :param sha256: hex digest of the ``.deb``.
    :param size: of the ``.deb`` in bytes.
    :param suite: the suite of the archive that had it, such as bookworm-security.
    :param priority: the archive's, where the base's choice of packages follows it.
    """

    installed: Installed
    sha256: str = ""
    size: int = 0
    url: str = ""
    suite: str = ""
    priority: str = ""

    @property
    def name(self) -> str:
        """The package's name."""
        return self.installed.name

    @property
    def file_name(self) -> str:
        """A name for the ``.deb`` that apt can take apart again, which wants epochs escaped."""
        one = self.installed
        return f"{one.name}_{one.version.replace(':', '%3a')}_{one.architecture}.deb"

    def as_json(self) -> dict[str, Any]:
        """The package as the mapping that stands in a lock; what it has not is left out."""
        one = self.installed
        values: dict[str, Any] = {
            "name": one.name,
            "version": one.version,
            "architecture": one.architecture,
            "sha256": self.sha256,
            "size": self.size,
            "suite": self.suite,
            "priority": self.priority,
            "url": self.url,
        }
        return {key: value for key, value in values.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Package:
        """The inverse of as_json."""
        rest = {k: v for k, v in value.items() if k not in ("name", "version", "architecture")}
        return cls(Installed(value["name"], value["version"], value["architecture"]), **rest)


@dataclass(frozen=True, slots=True)
class LockedBase:
    """What the base is made from.

    :param digest: of a base of kind registry or archive, which pins itself.
    :param epoch: seconds since 1970, the date of the archive; 0 for bases that are not
        bootstrapped.
    :param sources: ``/etc/apt/sources.list`` as the image has it, which names the real archive.
    """

    kind: str
    digest: str = ""
    epoch: int = 0
    sources: str = ""
    packages: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """A definition's lock.

    :param security: one-line sources of the archives that security updates come from.
    :param layers: the packages that each layer unpacks, by the layer's name.
    :param toolkit: what the Python for Ansible is made of, which is no part of the image.
    """

    architecture: str
    suite: str
    base: LockedBase
    security: tuple[str, ...] = ()
    layers: Mapping[str, tuple[Package, ...]] = field(default_factory=dict, hash=False)
    toolkit: tuple[Package, ...] = ()

    @property
    def layer_packages(self) -> tuple[Package, ...]:
        """The packages of all layers."""
        return tuple(package for packages in self.layers.values() for package in packages)

    @property
    def packages(self) -> tuple[Package, ...]:
        """Every package of the image, the base's first."""
        return (*self.base.packages, *self.layer_packages)

    @property
    def digests(self) -> LockDigests:
        """What the keys of base and layers take from the lock: what is installed, not whence.

        The toolkit is not in them, as it is not in those of a bake without a lock.
        """
        base = {
            "format": FORMAT,
            "kind": self.base.kind,
            "digest": self.base.digest,
            "epoch": self.base.epoch,
            "sources": self.base.sources,
            "packages": sorted(map(_identity, self.base.packages)),
        }
        layers = {name: sorted(map(_identity, found)) for name, found in self.layers.items()}
        return LockDigests(
            base=digest({**base, "architecture": self.architecture}),
            layers=digest({"format": FORMAT, "layers": layers, "suite": self.suite}),
        )


def _identity(package: Package) -> list[str]:
    one = package.installed
    return [one.name, one.version, one.architecture, package.sha256, package.priority]


@dataclass(frozen=True, slots=True)
class Change:
    """A package that another lock has in another version; an empty version is none."""

    name: str
    old: str
    new: str
    suite: str = ""


def changes(old: Lock | None, new: Lock) -> tuple[Change, ...]:
    """Return what *new* pins otherwise than *old*, sorted by name.

    Of a package that base and layers bring in different versions, each is a version of its own.
    """
    before = _versions(() if old is None else old.packages)
    after = _versions(new.packages)
    suites = {package.name: package.suite for package in new.packages}
    return tuple(
        Change(
            name,
            ", ".join(before.get(name, ())),
            ", ".join(after.get(name, ())),
            suites.get(name, ""),
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _versions(packages: Iterable[Package]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for package in packages:
        version = package.installed.version
        if version not in found.get(package.name, ()):
            found[package.name] = (*found.get(package.name, ()), version)
    return found


def differences(
    where: str, locked: Iterable[Package], found: Iterable[Installed]
) -> tuple[str, ...]:
    """Return a sentence for each package that *where* has otherwise than the lock says."""
    wanted = {(p.name, p.installed.architecture, p.installed.version) for p in locked}
    given = {(one.name, one.architecture, one.version) for one in found}
    sentences = []
    for name in sorted({entry[0] for entry in wanted ^ given}):
        says = ", ".join(sorted(version for n, _a, version in wanted if n == name))
        has = ", ".join(sorted(version for n, _a, version in given if n == name))
        if not has:
            sentences.append(f"{name}: the lock says {says}, but {where} did not install it.")
        elif not says:
            sentences.append(f"{name}: {where} installed {has}, and the lock does not have it.")
        else:
            sentences.append(f"{name}: {where} installed {has}, but the lock says {says}.")
    return tuple(sentences)

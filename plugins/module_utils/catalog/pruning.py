# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning, as far as the catalog goes: records of versions become tombstones, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import DriverError
from .documents import read_document, render_time, write_document
from .repository import Catalog
from .retention import Decision, Kept, RetentionPolicy, plan_retention
from .tombstone import Tombstone, tombstones_document
from .transaction import Change
from .version import Version

POLICY = "retention.yml"


@dataclass(frozen=True, slots=True)
class Pruning:
    """What was decided, and the versions that it was decided about."""

    decisions: tuple[Decision, ...]
    versions: Mapping[tuple[str, str], Version]

    @property
    def going(self) -> tuple[Version, ...]:
        """The versions that go."""
        return tuple(self.versions[one.key] for one in self.decisions if not one.keep)

    @property
    def staying(self) -> dict[str, str]:
        """The digest of the index of each version that stays, by ``NAME NUMBER``."""
        keys = [one.key for one in self.decisions if one.keep]
        return {f"{image} {number}": self.versions[image, number].index for image, number in keys}


def read_policy(catalog: Catalog) -> RetentionPolicy:
    """Return what the catalog's ``retention.yml`` says, the usual when there is none."""
    path = catalog.root / POLICY
    document = read_document(path)
    return (
        RetentionPolicy()
        if document is None
        else RetentionPolicy.from_document(document, str(path))
    )


def read_pins(catalog: Catalog, image: str) -> dict[str, str]:
    """Return the versions that ``images/NAME/pins.yml`` names, each with the reason."""
    path = catalog.root / f"images/{image}/pins.yml"
    document = read_document(path)
    try:
        return {str(k): str(v) for k, v in document["pins"].items()} if document else {}
    except (LookupError, AttributeError) as error:
        raise DriverError(
            f"{path} is no file of pins.", hint="Write it such as pins: {1.0.3: for the audit}."
        ) from error


def decide(
    catalog: Catalog,
    policy: Callable[[RetentionPolicy], RetentionPolicy],
    *,
    only: Collection[str] = (),
    referred: Mapping[str, str] | None = None,
) -> Pruning:
    """Read the catalog and judge its versions.

    :param policy: changes what the catalog says.
    :param only: images of which versions may go; all when it is empty.
    """
    now = catalog.now()
    names = catalog.images()
    versions = {(v.image, v.number): v for name in names for v in catalog.versions(name)}
    images = {
        name: Kept(
            catalog.channels(name),
            {number for number, one in catalog.revoked(name).items() if one.holds(now)},
            read_pins(catalog, name),
        )
        for name in names
    }
    decisions = plan_retention(
        versions.values(),
        images=images,
        groups=catalog.groups(),
        referred=referred or {},
        policy=policy(read_policy(catalog)),
        now=now,
    )
    if only:
        decisions = tuple(
            one if one.keep or one.image in only else _other(one) for one in decisions
        )
    return Pruning(decisions, versions)


def _other(one: Decision) -> Decision:
    return Decision(one.image, one.number, True, ("of an image that was not asked about",))


def prune_catalog(
    catalog: Catalog, judge: Callable[[], Pruning], *, reason: str = ""
) -> tuple[Pruning, bool]:
    """Commit what *judge* decides; return that, and whether anything went.

    :param judge: is asked again when somebody else changed the catalog meanwhile.
    """
    found: list[Pruning] = []

    def plan() -> Change | None:
        found.append(judge())
        return _change(catalog, found[-1], reason)

    changed = catalog.change(plan)
    return found[-1], changed


def _change(catalog: Catalog, pruning: Pruning, reason: str) -> Change | None:
    going: dict[str, list[Decision]] = {}
    for one in pruning.decisions:
        if not one.keep:
            going.setdefault(one.image, []).append(one)
    if not going:
        return None
    files: dict[str, bytes | None] = {}
    at, by = render_time(catalog.now()), catalog.who()
    for image, decisions in going.items():
        stones = catalog.tombstones(image)
        for one in decisions:
            index = pruning.versions[one.key].index
            stones[one.number] = Tombstone(one.number, index, at, by, "; ".join(one.rules))
            files[catalog.version_path(image, one.number)] = None
        files[catalog.tombstones_path(image)] = write_document(tombstones_document(stones))
    return Change(files, f"{_subject(going)}\n\n{reason or 'Retention.'}\n")


def _subject(going: Mapping[str, Sequence[Decision]]) -> str:
    words = [f"{name} {', '.join(one.number for one in some)}" for name, some in going.items()]
    text = f"Prune {'; '.join(words)}"
    count = sum(map(len, going.values()))
    return text if len(text) <= 100 else f"Prune {count} versions of {', '.join(going)}"

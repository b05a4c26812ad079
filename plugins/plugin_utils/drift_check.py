# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for drift: a version's own manifest, an instance's own files, and what both make."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

from ..module_utils.build.engine import CHUNK
from ..module_utils.build.toolbox import ToolboxSpec, ensure_toolbox
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.command import Runner, run
from ..module_utils.core.errors import DriverError
from ..module_utils.drift.comparison import Expectation, compare
from ..module_utils.drift.exported import UNSEEN, read_export
from ..module_utils.drift.findings import Finding, Kind, Report, Rule, judge
from ..module_utils.drift.instance import (
    TOOLBOX,
    Instance,
    Observed,
    Reader,
    declared_state,
)
from ..module_utils.drift.settings import SAFE, image_settings
from ..module_utils.oci.image import Image
from .manifests import image_manifest
from .wanted_version import stored_image

_AT_ONCE = 4


def client_of(host: str) -> tuple[str, ...]:
    """Return the engine's client for the engine at *host*; empty is the one that it speaks to."""
    return ("docker", "--host", host) if host else ("docker",)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is said of instances besides the version that they should be.

    :param state: absolute paths, beside those that the image declares.
    :param settings: by name, as observed_settings has them; over those of the image.
    :param whole_environment: the settings name all variables that there may be.
    :param commands: what may be started in the instance from outside.
    """

    rules: tuple[Rule, ...] = ()
    state: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    whole_environment: bool = False
    commands: tuple[tuple[str, ...], ...] = ()


PLAIN = Asked()


def expectation(shop: Workshop, version: Version, asked: Asked = PLAIN) -> Expectation:
    """Return what an instance of *version* should be; DriverError when the store has it not."""
    image = stored_image(shop, version)
    config = _config_of(shop, image)
    state = declared_state(config.get("Labels") or {}, config.get("Volumes"))
    return Expectation(
        version=f"{version.image} {version.number}",
        manifest=image_manifest(shop.layout, image),
        # Which of them an engine calls the image depends on how it stores images.
        images=frozenset((image.config.digest, image.manifest.digest, image.index.digest)),
        state=state | {path.strip("/") for path in asked.state},
        settings={**SAFE, **image_settings(config), **asked.settings},
        whole_environment=asked.whole_environment,
        commands=asked.commands,
    )


def image_config(shop: Workshop, version: Version) -> dict[str, Any]:
    """Return what containers of *version* start with: ``config`` of OCI image-spec v1.1."""
    return _config_of(shop, stored_image(shop, version))


def _config_of(shop: Workshop, image: Image) -> dict[str, Any]:
    return dict(json.loads(shop.layout.read(image.config)).get("config") or {})


def version_of(catalog: Catalog, instance: Instance, image: str, number: str) -> Version:
    """Return the version that *instance* should be: the named one, or the one that its image is.

    DriverError when the catalog has none such.
    """
    name = image or instance.labels.get("io.kiln.image", "")
    if not name or name not in catalog.images():
        raise DriverError(
            f"The catalog does not know the image {name!r} of {instance.name}."
            if name
            else f"The instance {instance.name} does not say of which image it is.",
            hint="Name it with the option image.",
        )
    if number:
        found = catalog.version(name, number)
        if found is None:
            raise DriverError(f"The catalog has no version {number} of {name}.")
        return found
    for one in catalog.versions(name):
        if instance.image in (one.config, one.index):
            return one
    raise DriverError(
        f"The instance {instance.name} runs {instance.image}, which is no version of {name}.",
        hint="Name the version that it should be with the option version.",
    )


@dataclass(frozen=True, slots=True)
class Checker:
    """Compares instances on one engine with their versions.

    :param prepare: gives the name of the toolbox, made or brought to the engine when it is not
        there; asked only when an instance runs.
    """

    client: tuple[str, ...]
    prepare: Callable[[], str]
    runner: Runner = field(default=run)

    def check(
        self,
        instances: Sequence[tuple[Instance, Expectation]],
        rules: tuple[Rule, ...] = (),
        known: Sequence[Sequence[Finding]] = (),
    ) -> list[Report]:
        """Return a report for each of the instances, in their order; several are read at once.

        :param known: for each what was found out already.
        """
        toolbox = self.prepare() if any(one.pid for one, _expected in instances) else ""
        reader = Reader(toolbox, self.client, self.runner)

        def report(pair: tuple[Instance, Expectation], more: Sequence[Finding]) -> Report:
            instance, expected = pair
            observed = self._observe(reader, instance, expected)
            unseen = UNSEEN if observed.processes is None else ()
            found = [*more, *compare(expected, instance, observed)]
            return judge(instance.name, expected.version, found, rules, unseen)

        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            return list(pool.map(report, instances, known or [()] * len(instances)))

    def _observe(self, reader: Reader, instance: Instance, expected: Expectation) -> Observed:
        if instance.pid:
            return reader.read(instance, expected.state)
        return read_export(_export([*self.client, "export", instance.id]), instance)


def wrong_version(instance: Instance, reason: str) -> Report:
    """Return the report of an instance that is no version at all, so that no more can be said."""
    found = Finding(Kind.IMAGE, instance.name, "changed", reason)
    return judge(instance.name, "no version", [found], ())


def checker_of(
    shop: Workshop,
    host: str,
    *,
    mirror: str | None,
    say: Callable[[str], None],
    make: bool = True,
) -> Checker:
    """Return what checks instances of the engine at *host*.

    :param make: make the toolbox when it is not there; else that is an error.
    """

    def prepare() -> str:
        return toolbox_at(shop, host, mirror=mirror, say=say, make=make)

    return Checker(client_of(host), prepare)


def toolbox_at(
    shop: Workshop,
    host: str,
    *,
    mirror: str | None,
    say: Callable[[str], None],
    make: bool = True,
) -> str:
    """Return the name of the toolbox that reads instances, after the engine at *host* has it."""
    client, (name, packages) = client_of(host), TOOLBOX
    spec = ToolboxSpec(name, packages, mirror=mirror)
    made = spec.reference(shop.engine.architecture())
    if not make and run([*client, "image", "inspect", made], check=False).status != 0:
        raise DriverError(
            "The toolbox that reads instances is not there.", hint="kiln.immutable.drift makes it."
        )
    if make:
        ensure_toolbox(spec, engine=shop.engine, home=shop.home, say=say)
    if host and run([*client, "image", "inspect", made], check=False).status != 0:
        say(f"Bringing the toolbox {name} to {host}")
        run([*client, "load", "--quiet"], stdin=run(["docker", "save", made]).stdout)
    return made


def _export(argv: Iterable[str]) -> Iterator[bytes]:
    """Run *argv* and give its output piece by piece; DriverError at the end when it failed."""
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ) as process:
        stdout: IO[bytes] = process.stdout  # type: ignore[assignment]  # PIPE was asked for
        while chunk := stdout.read(CHUNK):
            yield chunk
    if process.returncode != 0:
        raise DriverError("The engine could not export the files of an instance.")

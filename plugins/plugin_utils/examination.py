# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of its finished image: the scan and the checks, and what stops a version.

Nothing of this is imported by a bake whose definition asks for none of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..module_utils.build.build_container import load_image
from ..module_utils.build.compliance import scan_root, scanner_spec
from ..module_utils.build.compliance_result import judge, stops
from ..module_utils.build.definition_model import Compliance
from ..module_utils.build.engine import CHAIN_REPOSITORY
from ..module_utils.build.finished_root import finished_root
from ..module_utils.build.image_checks import check_tools, checks_spec, run_goss, run_lynis
from ..module_utils.build.toolbox import ensure_toolbox
from ..module_utils.build.workshop import Sealed, Workshop
from ..module_utils.core.errors import DriverError
from ..module_utils.oci import predicates
from ..module_utils.oci.statement import Statement
from ..module_utils.report.waived import reasons_by_rule
from .image_controls import image_controls

PREDICATES = {
    "compliance": predicates.HARDENING,
    "goss": predicates.TEST_RESULT,
    "lynis": predicates.LYNIS,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one of the tools found.

    :param name: ``compliance``, ``goss`` or ``lynis``.
    :param stops: why the image gets no version; empty when it may have one.
    """

    name: str
    predicate: Mapping[str, Any]
    stops: str = ""

    @property
    def statement(self) -> Statement:
        """The finding as an in-toto statement; docs/compliance.md says what each holds."""
        if self.name == "goss":
            return Statement(PREDICATES[self.name], test_result(self.predicate))
        return Statement(PREDICATES[self.name], self.predicate)


def test_result(goss: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goss found as in-toto's own predicate for test results, version 0.1."""
    return {
        "result": "FAILED" if goss["failed"] else "PASSED",
        "configuration": [{"name": "goss", "digest": {"sha256": goss["file"]}}],
        "passedTests": list(goss["passed"]),
        "warnedTests": [],
        "failedTests": [one["test"] for one in goss["failed"]],
    }


def examine(
    shop: Workshop,
    sealed: Sealed,
    *,
    session: str,
    playbook_folder: Path,
    containerd_store: bool,
    say: Callable[[str], None],
    mirror: str | None = None,
) -> tuple[Finding, ...]:
    """Scan and check the finished image as its definition asks, before it has a version.

    :param playbook_folder: where Ansible looks for roles first.
    :param containerd_store: as the engine's facts have it.
    :param mirror: of the Debian archive that toolboxes are made from.
    """
    definition = sealed.definition
    asked = definition.seal
    # Named as the images of build containers are, so that the same keeper tidies it up.
    reference = f"{CHAIN_REPOSITORY}:{definition.name}-sealed-{session}"
    load_image(shop.layout, shop.engine, sealed.image, [reference], whole=containerd_store)
    found: list[Finding] = []
    try:
        if asked.compliance is not None:
            found.append(
                _comply(
                    shop, sealed, asked.compliance, reference, session, playbook_folder, mirror, say
                )
            )
        if asked.goss is not None or asked.lynis:
            toolbox = ensure_toolbox(
                checks_spec(mirror), engine=shop.engine, home=shop.home, session=session, say=say
            )
            with check_tools(
                shop.engine, toolbox, name=definition.name, session=session, goss=asked.goss
            ) as tools:
                if asked.goss is not None:
                    said = run_goss(shop.engine, reference, definition, tools, session=session)
                    said["file"] = hashlib.sha256(asked.goss.read_bytes()).hexdigest()
                    found.append(Finding("goss", said, _goss_stops(said)))
                if asked.lynis:
                    said = run_lynis(shop.engine, reference, tools, session=session)
                    found.append(Finding("lynis", said))
    finally:
        shop.engine.remove_image(reference)
    return tuple(found)


def refuse(name: str, findings: tuple[Finding, ...]) -> None:
    """Raise DriverError when one of *findings* keeps the image *name* from getting a version."""
    reasons = [finding.stops for finding in findings if finding.stops]
    if reasons:
        raise DriverError(
            f"{name} gets no version. " + "\n".join(reasons),
            details={"findings": {one.name: dict(one.predicate) for one in findings}},
        )


def _comply(
    shop: Workshop,
    sealed: Sealed,
    asked: Compliance,
    reference: str,
    session: str,
    playbook_folder: Path,
    mirror: str | None,
    say: Callable[[str], None],
) -> Finding:
    definition, suite = sealed.definition, sealed.base.suite
    controls = image_controls(definition, playbook_folder)
    waivers = reasons_by_rule(definition, controls, suite)
    toolbox = ensure_toolbox(
        scanner_spec(mirror), engine=shop.engine, home=shop.home, session=session, say=say
    )
    say(f"Scanning {definition.name}: {asked.profile}")
    with finished_root(
        shop.engine,
        toolbox,
        reference,
        name=definition.name,
        kind=definition.kind,
        session=session,
    ) as root:
        scan = scan_root(toolbox, root, suite=suite, profile=asked.profile)
    judged = judge(scan, waivers)
    stopping = stops(judged, asked.fail)
    reason = ""
    if stopping:
        rows = "".join(f"\n  {one.rule} ({one.severity}): {one.title}" for one in stopping)
        without = " without a waiver" if asked.fail == "unwaived" else ""
        reason = f"{len(stopping)} rules of {asked.profile} fail{without}:{rows}"
    return Finding("compliance", {**judged.as_json(), "fail": asked.fail}, reason)


def _goss_stops(said: Mapping[str, Any]) -> str:
    rows = "".join(f"\n  {one['said'] or one['test']}" for one in said["failed"])
    return f"{len(said['failed'])} tests of goss fail:{rows}" if rows else ""

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be said of a finished image, and what of that has not been said yet. Pure.

None of it is a byte of the image, so it is in no bake key: whoever asks for more gets it for the
version that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .definition_model import Definition
from .sealing import examination_manifest


def asked_of(definition: Definition, signature: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what *definition* and the signing settings ask for, as JSON-able values.

    :param signature: ``key``, what tells one key from another, and ``repository``, what the
        signature is for; None when nothing signs.
    """
    scan = definition.seal.scan
    return {
        "sbom": definition.seal.sbom,
        "scan": None
        if scan is None
        else {
            "vulnerabilities": scan.vulnerabilities,
            "scanners": scan.scanners,
            "allow_secrets": [[one.path, one.rule, one.reason] for one in scan.allowed],
        },
        "examination": examination_manifest(definition) or None,
        "signature": None if signature is None else dict(signature),
    }


def lacking(asked: Mapping[str, Any], attested: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return a reason for each thing that is asked for and was not said of the version.

    What was said and is not asked for any more stays as it is.

    :param attested: what was asked when the version was attested last; None when that is unknown.
    """
    if attested is None:
        return ("it is not known to have the attestations that are asked for",)
    found = []
    if asked["sbom"] and not attested.get("sbom"):
        found.append("its bills of materials are missing")
    for name, told in (("scan", "its scan"), ("examination", "its examination")):
        before = attested.get(name)
        if asked[name] is not None and asked[name] != before:
            found.append(f"{told} {'is missing' if before is None else 'was another one'}")
    wanted, signed = asked["signature"], attested.get("signature")
    if wanted is not None and wanted != signed:
        same_key = signed is not None and signed.get("key") == wanted["key"]
        what = f"for {wanted['repository']}" if same_key else "by the key that signs now"
        found.append(f"it is not signed {what}")
    return tuple(found)

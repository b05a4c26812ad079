# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The predicate types of the statements that we make or ask for, and what each must hold."""

from __future__ import annotations

PROVENANCE = "https://slsa.dev/provenance/v1"
"""How the image was made (SLSA v1.0, provenance.md)."""

CYCLONEDX = "https://cyclonedx.org/bom"
"""A bill of materials: a CycloneDX document is the predicate."""

SPDX = "https://spdx.dev/Document"
"""A bill of materials: an SPDX document is the predicate."""

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
"""Tests of the finished image: ``result`` is PASSED, WARNED or FAILED; ``passedTests`` and
``failedTests`` are lists of names."""

_OURS = "https://github.com/kiln-immutable/kiln.immutable/attestation"

HARDENING = f"{_OURS}/hardening/v1"
"""A scan against a hardening profile: ``score`` from 0 to 100, ``profile``, ``failed``, and more
(docs/compliance.md)."""

LYNIS = f"{_OURS}/lynis/v1"
"""What Lynis found: ``hardening_index``, ``warnings``, ``suggestions``."""

VULNERABILITIES = f"{_OURS}/fixed-vulnerabilities/v1"
"""Packages of which the security archive has a newer version: ``status`` (complete or unknown),
``fixable`` (how many), ``packages``, ``scanned`` (RFC 3339, UTC)."""

SECRETS = f"{_OURS}/secrets/v1"
"""Secrets in files of the image: ``found`` (how many), ``findings``, ``allowed``."""

EXPOSURE = f"{_OURS}/exposure/v1"
"""What an attacker looks for in a root: ``setuid``, ``world_writable``, ``listening``,
``unowned``, each a list, and ``counts`` of them."""

MANIFEST = f"{_OURS}/manifest/v1"
"""Every file of the root: ``digest`` of the manifest, which is kept beside the statements, its
``mediaType``, and how many ``entries`` and ``packages`` it has."""

SCANNER = "https://cosign.sigstore.dev/attestation/vuln/v1"
"""The report of a scanner of vulnerabilities, as ``cosign attest --type vuln`` has it."""

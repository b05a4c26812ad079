# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of the words that a definition uses in several places."""

from __future__ import annotations

NAME = r"[a-z0-9]+([._-][a-z0-9]+)*"
NAME_LENGTH = 63
NAME_WANTS = "a name has small letters and digits, with single . _ or - between them"
DIGEST = r"sha256:[0-9a-f]{64}"
DIGEST_WANTS = 'a digest is "sha256:" and 64 hexadecimal digits in small letters'

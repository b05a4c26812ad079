# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of OCI registries (distribution-spec v1.1): push, pull, tags, and who may.

``client.py`` is one repository; ``push.py`` and ``pull.py`` move whole versions between it and a
layout; ``tags.py`` names and removes. The other files are what these stand on.
"""

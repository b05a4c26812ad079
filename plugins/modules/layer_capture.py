#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_capture
short_description: Captures what a role changed in a build container as a layer
version_added: 0.1.0
description:
  - Streams what changed since the last capture out of the container, in a normal form, into the
    store, and records it under its key.
author: kiln.immutable contributors (@kiln-immutable)
options:
  layer:
    description: Name of the layer in the definition.
    type: str
    required: true
attributes:
  check_mode:
    support: none
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Capture the layer nginx
  kiln.immutable.layer_capture:
    layer: nginx
"""

RETURN = r"""
key:
  description: The layer's key in the cache.
  returned: success
  type: str
diff_id:
  description: Digest of the layer's tar; none when the role changed nothing.
  returned: success
  type: str
size:
  description: Bytes of the layer's tar.
  returned: success
  type: int
seconds:
  description: How long the role and the capture took.
  returned: success
  type: float
"""

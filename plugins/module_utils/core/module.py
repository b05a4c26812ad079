# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one bridge between the driver and AnsibleModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .errors import DriverError


def run_module(module: AnsibleModule, body: Callable[[AnsibleModule], Mapping[str, Any]]) -> None:
    """Run *body* and answer Ansible: its result, or a DriverError as a failure.

    Any other exception is a programming error and keeps its traceback.
    """
    try:
        result = body(module)
    except DriverError as error:
        module.fail_json(msg=str(error), **dict(error.details))
    module.exit_json(**dict(result))

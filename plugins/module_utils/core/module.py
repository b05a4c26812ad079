# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one bridge between the driver and AnsibleModule."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .errors import DriverError

_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "LC_ALL": "C.UTF-8",
}
_REASON = re.compile(r"^(?:E|W): .*$", re.MULTILINE)


def run_module(module: AnsibleModule, body: Callable[[AnsibleModule], Mapping[str, Any]]) -> None:
    """Run *body* and answer Ansible: its result, or a DriverError as a failure.

    Any other exception is a programming error and keeps its traceback.
    """
    try:
        result = body(module)
    except DriverError as error:
        module.fail_json(msg=str(error), **dict(error.details))
    module.exit_json(**dict(result))


def run_apt(module: AnsibleModule, command: Sequence[str], purpose: str) -> str:
    """Run a command of apt or dpkg and return what it printed.

    :param purpose: what it is for, as "to ..." would go on.

    Raises DriverError with the lines that say why it failed.
    """
    code, output, errors = module.run_command(list(command), environ_update=_ENVIRONMENT)
    if code:
        said = f"{errors}\n{output}"
        reasons = _REASON.findall(said) or [line for line in said.splitlines() if line.strip()][-5:]
        raise DriverError(
            f"{command[0]} failed to {purpose}: {' '.join(dict.fromkeys(reasons))}",
            details={"stdout": str(output), "stderr": str(errors)},
        )
    return str(output)

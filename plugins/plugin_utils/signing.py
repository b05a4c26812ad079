# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key signs, as a playbook's variables say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..module_utils.oci.digest import sha256_bytes
from .bake_action import BakeAction

if TYPE_CHECKING:
    from ..module_utils.trust.signer import Signer

VARIABLES = (
    "kiln_signing_key",
    "kiln_signing_command",
    "kiln_signing_public_key",
    "kiln_signing_passphrase_file",
)


def signer_of(action: BakeAction, task_vars: Mapping[str, Any]) -> Signer | None:
    """Return what signs, None when nothing is configured; DriverError when it cannot be had."""
    given = {name: action.option(task_vars, name) for name in VARIABLES}
    if not any(given.values()):
        return None
    from ..module_utils.trust.signer import SigningSettings, command_of

    key, command, public, passphrase = (given[name] for name in VARIABLES)
    return SigningSettings(
        key=Path(str(key)) if key else None,
        command=command_of(command) if command else (),
        public_key=Path(str(public)) if public else None,
        passphrase_file=Path(str(passphrase)) if passphrase else None,
    ).signer()


def signing_note(
    action: BakeAction, task_vars: Mapping[str, Any], image: str
) -> dict[str, str] | None:
    """Return what tells the configured key from others, and what it signs for; None without one.

    It opens no key, so that a bake with nothing to do need not wait for that.
    """
    key, command, public, _passphrase = (action.option(task_vars, name) for name in VARIABLES)
    if not key and not command:
        return None
    try:
        content = Path(str(public if command else key)).expanduser().read_bytes()
    except OSError:
        content = b""  # Who signs says what is wrong with it.
    repository = signed_repository(action, task_vars, image)
    return {"key": sha256_bytes(content), "repository": repository}


def signed_repository(action: BakeAction, task_vars: Mapping[str, Any], image: str) -> str:
    """Return the repository that signatures of *image* are for: where it is pulled from.

    That of ``kiln_registry``, else the name that the engine has it under.
    """
    place = action.option(task_vars, "kiln_registry")
    return f"{str(place).rstrip('/')}/{image}" if place else f"kiln/{image}"

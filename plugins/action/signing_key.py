# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a key pair for signatures; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..plugin_utils.catalog_action import CatalogAction


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.signing_key``."""

    _VALID_ARGS = frozenset({"path", "passphrase_file"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make what is not there: the key, or only its public half."""
        from ..module_utils.trust.keys import (
            encrypt_key,
            generate_key,
            read_private_key,
        )
        from ..module_utils.trust.signer import passphrase, read_public_key

        path = Path(self.required("path")).expanduser()
        if path.suffix == ".pub":
            raise DriverError(f"The option path is {path}, which would be the public half.")
        public = path.with_suffix(".pub")
        result: dict[str, Any] = {"path": str(path), "public_path": str(public)}
        if path.exists() and public.exists():
            key = read_public_key(public)
            return {"changed": False, "fingerprint": key.fingerprint, "public": key.pem, **result}
        missing = [str(one) for one in (path, public) if not one.exists()]
        if self._task.diff:
            result["diff"] = {"before": "", "after": "".join(f"{one}\n" for one in missing)}
        if self._task.check_mode:
            return {"changed": True, **result}
        file = self.text("passphrase_file")
        word = passphrase(Path(file) if file else None)
        if path.exists():
            made = read_private_key(path, lambda: word)
        else:
            if public.exists():
                raise DriverError(
                    f"{public} is there, and its key {path} is not.",
                    hint="Bring the key back, or move the public half away.",
                )
            if not word:
                raise DriverError("The passphrase of a new key is empty.", hint="Give it one.")
            made = generate_key()
            write_whole(path, encrypt_key(made, word), mode=0o600)
        write_whole(public, made.public.pem.encode())
        return {
            "changed": True,
            "fingerprint": made.public.fingerprint,
            "public": made.public.pem,
            **result,
        }

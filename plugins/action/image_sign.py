# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign a version; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.signing import signed_repository, signer_of
from ..plugin_utils.wanted_version import stored_image, wanted_version


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_sign``."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "repository"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the signatures that are missing, those of other keys stay."""
        from ..module_utils.trust.notary import sign_version

        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        version = wanted_version(self, catalog)
        signer = signer_of(self, task_vars)
        if signer is None:
            raise DriverError(
                "No key is set to sign with.",
                hint="Set kiln_signing_key, or kiln_signing_command and kiln_signing_public_key.",
            )
        image = stored_image(shop, version)
        repository = self.text("repository") or signed_repository(self, task_vars, version.image)
        made = sign_version(
            shop.layout, image, repository, signer, looks=bool(self._task.check_mode)
        )
        result: dict[str, Any] = {
            "changed": bool(made.signed),
            "image": version.image,
            "version": version.number,
            "digest": version.index,
            "repository": repository,
            "fingerprint": signer.public.fingerprint,
            "signatures": made.signed,
        }
        if self._task.diff:
            lines = f"{made.signed} signatures by {signer.public.fingerprint}\n"
            result["diff"] = {"before": "", "after": lines if made.signed else ""}
        return result

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a version back; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..module_utils.catalog.changes import Withdrawal, reinstate, revoke
from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction

BACK = "back"


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_revoke``."""

    _VALID_ARGS = frozenset({"image", "version", "reason", "at", "move", "state"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Revoke, or take a revocation back; let the tags in the engine follow."""
        state = self.text("state") or "present"
        if state not in ("present", "absent"):
            raise DriverError(f"The option state must be present or absent, not {state}.")
        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        image, version = self.required("image"), self.required("version")
        reason, look = self.required("reason"), bool(self._task.check_mode)
        if state == "absent":
            changed = reinstate(catalog, image, version, reason=reason, look=look)
            return self._result(changed, image, version, {}, [f"{image} {version} usable again"])
        move = self.text("move")
        wanted = Withdrawal(
            image=image,
            version=version,
            reason=reason,
            at=self.moment("at"),
            move_to=None if move == BACK else move,
            move_back=move == BACK,
        )
        plan = revoke(catalog, wanted, look=look)
        heirs = [f"{name} {number}" for name, number in plan.descendants]
        tags: dict[str, list[str]] = {"engine": [], "registry": [], "warnings": []}
        for name in sorted({one.image for one in plan.moves}):
            moved = {one.channel: str(one.target) for one in plan.moves if one.image == name}
            for key, lines in self.follow_tags(
                shop, catalog, name, task_vars, planned=moved
            ).items():
                tags[key] += lines
        stranded = [asdict(one) for one in plan.stranded]
        for one in plan.stranded:
            if one.target is None:
                tags["warnings"].append(
                    f"The channel {one.channel} of {one.image} points to {one.version}, which is"
                    " revoked, or built on what is. Promote another version, or move it with"
                    " kiln_move=back or kiln_move=VERSION."
                )
        lines = []
        if plan.revocation is not None:
            lines += [f"{image} {version} revoked from {plan.revocation.at}: {reason}"]
            lines += [f"{heir} inherits it" for heir in heirs]
        lines += [f"{one.image} {one.channel} moves to {one.target}" for one in plan.moves]
        more = {
            "at": plan.revocation.at if plan.revocation is not None else None,
            "descendants": heirs,
            "channels": stranded,
            **tags,
        }
        changed = bool(lines or tags["engine"] or tags["registry"])
        return self._result(changed, image, version, more, lines)

    def _result(
        self, changed: bool, image: str, version: str, more: Mapping[str, Any], lines: list[str]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {
            "changed": changed,
            "image": image,
            "version": version,
            "at": None,
            "descendants": [],
            "channels": [],
            "engine": [],
            "registry": [],
            **more,
        }
        if self._task.diff and changed:
            result["diff"] = {"prepared": "".join(f"{line}\n" for line in lines)}
        return result

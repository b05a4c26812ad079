# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sum a bake up, and fail when an image failed; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible import constants

from ..module_utils.build.session import Session
from ..module_utils.report.bake_summary import render_failure, render_nothing, render_summary
from ..module_utils.report.lock_changes import render_lock_changes
from ..plugin_utils.bake_action import BakeAction, display

CALLBACK = "kiln.immutable.bake"


class ActionModule(BakeAction):
    """The action ``kiln.immutable.bake_report``."""

    _VALID_ARGS = frozenset({"plan"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Print what every image of the plan came to."""
        plan: Mapping[str, Any] = self._task.args["plan"]
        images: list[dict[str, Any]] = []
        locks: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        nothing = [image for image in plan["images"] if image["action"] == "nothing"]
        session = self._open_session(plan, task_vars)
        for entry in plan["build"]:
            state = session.read(str(entry["name"])) if session else {}
            if state.get("status") == "sealed":
                images.append(state["summary"])
            elif state.get("status") == "locked":
                locks.append(state["summary"])
            elif state.get("status") == "failed":
                failures.append(state["failure"])
            else:
                failures.append(_noted(str(entry["name"]), task_vars))
        for image in nothing:
            display.display(render_nothing(image))
        for image in images:
            display.display(render_summary(image))
        for lock in locks:
            display.display(render_lock_changes(lock))
        if failures:
            return {
                "failed": True,
                "msg": _message(failures),
                "kiln_images": images,
                "kiln_locks": locks,
                "kiln_failures": failures,
            }
        return {"changed": False, "kiln_images": images, "kiln_locks": locks}

    def _open_session(
        self, plan: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> Session | None:
        if not plan.get("session"):
            return None
        shop = self.shop(task_vars)
        return self.session(shop, {**task_vars, "kiln_session": plan["session"]})


def _message(failures: Sequence[Mapping[str, Any]]) -> str:
    if CALLBACK in constants.CALLBACKS_ENABLED:
        # It says the rest after the recap, once and last.
        return f"Not baked: {', '.join(str(failure['name']) for failure in failures)}."
    return "\n\n".join(render_failure(failure) for failure in failures)


def _noted(image: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """The failure as the play has it, for a full disk that could not take it."""
    hostvars = task_vars.get("hostvars", {})
    noted = hostvars[image].get("kiln_failure") if image in hostvars else None
    if isinstance(noted, Mapping) and noted.get("message"):
        return dict(noted)
    return {"name": image, "message": "Its build container was lost, or --limit left it out."}

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: build
short_description: Runs each image's layers at their own pace, with one interpreter per container
description:
  - Like C(ansible.builtin.host_pinned), so the images of a bake do not wait for each other.
  - When Mitogen is installed and known to work with the running ansible-core, tasks run in one
    interpreter that stays alive in the build container for the whole bake, several times as
    quick as starting one for each task. Otherwise each task starts its own, with the same result.
  - Set the environment variable E(KILN_PLAIN_CONNECTION) to any text to do without Mitogen.
version_added: 0.1.0
author: kiln.immutable contributors (@kiln-immutable)
"""

import os
from collections import deque
from typing import Any

from ansible.plugins.strategy.host_pinned import StrategyModule as HostPinned
from ansible.release import __version__ as core_version

MITOGEN_WORKS_WITH = ((2, 19),)
"""ansible-core releases that a whole bake was tested with under Mitogen."""


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


class _Results(deque[Any]):
    """Task results, in which a lost build container has failed.

    Ansible drops an unreachable host from the play without its rescue. Here no machine may come
    back later: the failure is to be noted, and images that are based on this one must not wait.
    A task whose errors are ignored stays unreachable, so that nothing is captured after it.
    """

    def popleft(self) -> Any:
        result = super().popleft()
        if result.is_unreachable() and not result.task.ignore_errors:
            for part in (result._return_data, *result._loop_results):
                if part.pop("unreachable", False):
                    part["failed"] = True
        return result


class _LostHostsFail:
    """Makes a strategy take lost connections for failures."""

    def __init__(self, tqm: Any) -> None:
        super().__init__(tqm)  # type: ignore[call-arg]  # a strategy follows in the order of bases
        self._results: deque[Any] = _Results()


class PlainStrategy(_LostHostsFail, HostPinned):  # type: ignore[misc]  # ansible-core has no hints
    """host_pinned under our name."""


StrategyModule: type[HostPinned] = PlainStrategy

if _release(core_version) in MITOGEN_WORKS_WITH and not os.environ.get("KILN_PLAIN_CONNECTION"):
    try:
        import ansible_mitogen.strategy
    except ImportError:
        pass
    else:
        from ..plugin_utils.mitogen_pace import quicken

        quicken()

        class MitogenStrategy(_LostHostsFail, ansible_mitogen.strategy.StrategyMixin, HostPinned):  # type: ignore[misc]
            """host_pinned whose workers reuse a connection's interpreter."""

        StrategyModule = MitogenStrategy

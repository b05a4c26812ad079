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
  - At most O(kiln_parallel) images are on their way at once; the next begins when one is done.
options:
  kiln_parallel:
    description:
      - How many images are baked at once.
      - By default C(forks), where it is set (option C(-f), configuration or environment), else two
        for each processor that the bake may use, because half of a bake is waiting for disks and
        the network.
    type: int
    vars:
      - name: kiln_parallel
version_added: 0.1.0
author: kiln.immutable contributors (@kiln-immutable)
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.strategy.host_pinned import StrategyModule as HostPinned
from ansible.release import __version__ as core_version
from ansible.template import Templar

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


def builds_at_once(wanted: object, forks: int | None, processors: int) -> int:
    """Return how many images are baked at once.

    :param wanted: what the variable ``kiln_parallel`` says; None when it is not set.
    :param forks: Ansible's, None when nobody chose them.
    """
    if wanted is None:
        return forks or 2 * processors
    text = str(wanted).strip()
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise AnsibleError(f"kiln_parallel is {wanted}; it must be a number of 1 or more.")
    return int(text)


def _chosen_forks() -> int | None:
    forks = int(context.CLIARGS.get("forks") or 0)
    _value, origin = constants.config.get_config_value_and_origin("DEFAULT_FORKS")
    chosen = origin != "default" or forks != constants.DEFAULT_FORKS
    return forks if forks and chosen else None


class _Build:
    """Makes a strategy take lost connections for failures, and limits the hosts it works on."""

    # What the strategy that this is mixed into has.
    _loader: Any
    _variable_manager: Any
    _workers: list[Any]

    def __init__(self, tqm: Any) -> None:
        super().__init__(tqm)  # type: ignore[call-arg]  # a strategy follows in the order of bases
        self._results: deque[Any] = _Results()

    def run(self, iterator: Any, play_context: Any) -> Any:
        """Run the play; there is one worker for each image on its way."""
        strategy: Any = super()
        strategy._set_hosts_cache(iterator._play)  # else nobody is left before the first task
        hosts = strategy.get_hosts_left(iterator)
        if hosts:
            variables = self._variable_manager.get_vars(play=iterator._play, host=hosts[0])
            wanted = Templar(self._loader, variables).template(variables.get("kiln_parallel"))
            limit = builds_at_once(wanted, _chosen_forks(), len(os.sched_getaffinity(0)))
            self._workers[:] = [None] * min(limit, len(hosts))
        return strategy.run(iterator, play_context)

    def _copy_included_file(self, included_file: Any) -> Any:
        copied = super()._copy_included_file(included_file)  # type: ignore[misc]
        if included_file._is_role:
            # Nothing else is asked when the tasks of a role are read.
            copied.get_block_list = self._failing_alone(included_file, copied.get_block_list)
        return copied

    def _load_included_file(self, included_file: Any, *given: Any, **options: Any) -> Any:
        load = super()._load_included_file  # type: ignore[misc]
        return self._failing_alone(included_file, load)(included_file, *given, **options)

    def _failing_alone(self, included_file: Any, load: Callable[..., Any]) -> Callable[..., Any]:
        """Let what cannot be read end the images that wanted it, with a report of theirs.

        Ansible would end the whole run, the images on their way beside them too.
        """

        def loading(*given: Any, **options: Any) -> Any:
            try:
                return load(*given, **options)
            except AnsibleError as error:
                where = (error._formatted_source_context or "").partition("\n")[0]
                message = f"{error.message} {where}".strip()
                for host in included_file._hosts:
                    self._variable_manager.set_nonpersistent_facts(
                        host.name,
                        {
                            "ansible_failed_task": {"name": included_file._task.get_name()},
                            "ansible_failed_result": {"failed": True, "msg": message},
                        },
                    )
                raise AnsibleError(message) from error

        return loading


class PlainStrategy(_Build, HostPinned):  # type: ignore[misc]  # ansible-core has no hints
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

        class MitogenStrategy(_Build, ansible_mitogen.strategy.StrategyMixin, HostPinned):  # type: ignore[misc]
            """host_pinned whose workers reuse a connection's interpreter."""

        StrategyModule = MitogenStrategy

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what a bake has to do, and open its session; see the module of the same name."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import context
from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.build.asked import asked_of, lacking
from ..module_utils.build.base import base_key
from ..module_utils.build.chain import (
    Chain,
    LayerStep,
    as_parent,
    bake_key,
    chain_of,
)
from ..module_utils.build.definition import Definition, Parent, load_all, order
from ..module_utils.build.engine import EngineFacts
from ..module_utils.build.key.changes import explain
from ..module_utils.build.lock_state import (
    LockDigests,
    LockMode,
    base_lock_key,
    layers_lock_key,
    lock_digests,
    lock_state,
    shown_lock_path,
)
from ..module_utils.build.plan import Action, ImagePlan, plan_image
from ..module_utils.build.records import BakeRecord, BaseRecord
from ..module_utils.build.sealing import config_manifest
from ..module_utils.build.session import (
    Session,
    main_process,
    open_session,
    reap_sessions,
)
from ..module_utils.build.shared_cache import SharedCache
from ..module_utils.build.workshop import Workshop
from ..module_utils.core.errors import DriverError
from ..plugin_utils.bake_action import BakeAction, display
from ..plugin_utils.bake_inputs import RoleRuns, StepReader, host_facts
from ..plugin_utils.image_controls import refuse_unknown_waivers
from ..plugin_utils.signing import signing_note


class ActionModule(BakeAction):
    """The action ``kiln.immutable.bake_plan``."""

    _VALID_ARGS = frozenset({"images", "refresh", "lock", "attest"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Plan every image; outside of check mode, open a session for those to bake."""
        shop = self.shop(task_vars)
        mode = _lock_mode(str(self._task.args.get("lock", LockMode.USE)))
        refresh = mode.makes_lock or boolean(self._task.args.get("refresh", False))
        inventory = _inventory_definitions(task_vars)
        definitions = load_all(self._paths(inventory))
        levels = [definition for level in order(definitions) for definition in level]
        wanted = _wanted(levels, task_vars, limited=bool(inventory))
        for definition in levels:
            refuse_unknown_waivers(definition, Path(str(task_vars["playbook_dir"])))
        locks = {d.name: _lock(shop, d, mode, wanted) for d in levels}
        plans, details = self._plan(shop, levels, task_vars, locks, refresh=refresh)
        build = _to_bake(levels, plans, wanted)
        if not self._task.check_mode:
            _note_uses(shop, [chain for _steps, _runs, chain in details.values() if chain])
        session: Session | None = None
        if build and not self._task.check_mode:
            engine, session, waited = self._open(shop, build)
            if waited:
                # Another bake had these images; what it made need not be made again.
                refresh = mode.makes_lock
                locks = {d.name: _lock(shop, d, mode, wanted) for d in levels}
                plans, details = self._plan(shop, levels, task_vars, locks, refresh=refresh)
                build = _to_bake(levels, plans, wanted)
        for definition in build:
            for line in plans[definition.name].reasons:
                display.display(f"  {definition.name}: {line}")
        result: dict[str, Any] = {
            "changed": bool(build),
            "images": [plans[d.name].as_json() for d in levels if d.name in wanted],
            "build": [],
            "session": None,
        }
        if self._task.diff:
            result["diff"] = [
                {"prepared": "".join(f"{d.name}: {line}\n" for line in plans[d.name].reasons)}
                for d in build
            ]
        if session is not None and build:
            building = {definition.name for definition in build}
            for definition in levels:
                state = _state(definition, *details[definition.name], refresh=refresh)
                state.update(lock_state(*locks[definition.name]))
                state.update(version=plans[definition.name].version)
                if definition.name in building:
                    state.update(status="planned", opened=time.time(), engine=asdict(engine))
                session.write(definition.name, state)
            result["session"] = session.id
            result["build"] = [_build_host(session, definition) for definition in build]
        return result

    def _paths(self, inventory: Sequence[str]) -> Sequence[str]:
        given = self._task.args.get("images")
        if given:
            paths = [given] if isinstance(given, str) else list(given)
            return [os.path.expanduser(str(path)) for path in paths]
        if inventory:
            return inventory
        raise DriverError(
            "There is nothing to bake: kiln_images is not set.",
            hint="Name the definitions, a file or a folder: -e kiln_images=images/.",
        )

    def _plan(
        self,
        shop: Workshop,
        levels: Sequence[Definition],
        task_vars: Mapping[str, Any],
        locks: Mapping[str, Lock],
        *,
        refresh: bool,
    ) -> tuple[dict[str, ImagePlan], dict[str, tuple[list[LayerStep], RoleRuns, Chain | None]]]:
        latest = {d.name: shop.cache.latest(d.name) for d in levels}
        reader = StepReader(
            self._task, Path(str(task_vars["playbook_dir"])), shop.home, self._loader
        )
        catalog = self.catalog(task_vars)
        if catalog.remote and not catalog.root.exists():
            # A new machine of a team: what is baked already has its version.
            catalog.pull()
        with ThreadPoolExecutor(1) as pool:
            # The engine is asked while the keys are computed: each takes about as long.
            asked = pool.submit(_ask_engine, shop, [r.config for r in latest.values() if r])
            read = {d.name: reader.steps(d) for d in levels}
            architecture, held = asked.result()
        # What is wrong with a cache is said when something would be taken from it.
        shared = shop.shared(lambda _text: None)
        plans: dict[str, ImagePlan] = {}
        details: dict[str, tuple[list[LayerStep], RoleRuns, Chain | None]] = {}
        for definition in levels:
            steps, runs = read[definition.name]
            lock = layers_lock_key(*locks[definition.name])
            base, waits_for = _base(
                shared, definition, plans, details, architecture, locks[definition.name]
            )
            chain = None
            if base is not None:
                chain = chain_of(base, steps, shared.layer, fresh=refresh, lock=lock)
            ended = None
            if chain is not None:
                ended = shop.cache.bake(bake_key(chain.last_key, config_manifest(definition)))
            if ended is not None and catalog.version(definition.name, ended.version) is None:
                ended = None
            last = latest[definition.name]
            plans[definition.name] = plan_image(
                definition.name,
                layers=len(steps),
                chain=chain,
                waits_for=waits_for,
                ended=ended,
                in_engine=ended is not None
                and (ended.config in held or shop.engine.image(ended.config) is not None),
                refresh=refresh,
                previous=_previous(shop, last),
                config_changed=chain is not None and not chain.pending,
                makes_lock=locks[definition.name][0].makes_lock,
                lock_changed=last is not None and last.lock != lock,
                unattested=()
                if ended is None
                else self._unattested(shop, definition, ended, task_vars),
                explain=explain,
            )
            details[definition.name] = (steps, runs, chain)
        return plans, details

    def _unattested(
        self,
        shop: Workshop,
        definition: Definition,
        ended: BakeRecord,
        task_vars: Mapping[str, Any],
    ) -> tuple[str, ...]:
        """Why what is said of the version that is there is to be made anew."""
        if boolean(self._task.args.get("attest", False)):
            return ("its attestations are to be made again (kiln_attest)",)
        asked = asked_of(definition, signing_note(self, task_vars, definition.name))
        return lacking(asked, shop.cache.attested(ended.index))

    def _open(
        self, shop: Workshop, build: Sequence[Definition]
    ) -> tuple[EngineFacts, Session, bool]:
        """Return the engine, a session for *build*, and whether it waited for another bake."""
        # Says what to do when no engine answers, before anything is made.
        facts = shop.engine.facts()
        reap_sessions(shop.home, shop.engine)
        shop.layout.ensure()
        shop.layout.sweep_partials()
        waits: list[bool] = []

        def waiting() -> None:
            self.say("Another bake has the same images; waiting for it")
            waits.append(True)

        names = [definition.name for definition in build]
        session = open_session(shop.home, main_pid=main_process(), images=names, waiting=waiting)
        return facts, session, bool(waits)


def _note_uses(shop: Workshop, chains: Sequence[Chain]) -> None:
    """Note what the plan counts on as used, so that it does not grow old in the cache."""
    for chain in chains:
        shop.cache.note_use("bases", chain.base.key)
        for record in chain.restored:
            shop.cache.note_use("layers", record.key)


Lock = tuple[LockMode, LockDigests | None]
"""What an image has to do with its lock, and what the lock gives to its keys."""


def _lock_mode(given: str) -> LockMode:
    allowed = [str(mode) for mode in LockMode if mode is not LockMode.NONE]
    if given not in allowed:
        raise DriverError(
            f"kiln_refresh_only is {given}; it must be security, or all, which is what it is"
            " when it is not set."
        )
    return LockMode(given)


def _lock(shop: Workshop, definition: Definition, mode: LockMode, wanted: set[str]) -> Lock:
    """Return what *definition* has to do with its lock; a new one is for *wanted* images only."""
    if mode is LockMode.ALL and definition.name in wanted:
        return mode, None
    digests = lock_digests(definition, shop.home.cache / "locks")
    if mode is LockMode.SECURITY and definition.name in wanted:
        from ..module_utils.build.lock_file import read_lock

        lock = read_lock(definition)
        where = shown_lock_path(definition)
        if lock is None:
            raise DriverError(
                f"There is no {where} in which security updates could move packages.",
                hint="Make it first: refresh without kiln_refresh_only.",
            )
        if not lock.security:
            raise DriverError(
                f"{where} names no archive of security updates: the image's package sources have"
                " none.",
                hint="Refresh without kiln_refresh_only.",
            )
        return mode, digests
    return (LockMode.NONE if digests is None else LockMode.USE), digests


def _to_bake(
    levels: Sequence[Definition], plans: Mapping[str, ImagePlan], wanted: set[str]
) -> list[Definition]:
    return [d for d in levels if plans[d.name].action is Action.BAKE and d.name in wanted]


def _state(
    definition: Definition,
    steps: Sequence[LayerStep],
    runs: RoleRuns,
    chain: Chain | None,
    *,
    refresh: bool,
) -> dict[str, Any]:
    """What the later tasks of the bake need to know of an image, baked or not."""
    state: dict[str, Any] = {
        "definition": str(definition.path),
        "definition_digest": definition.digest,
        "steps": [step.as_json() for step in steps],
        "runs": runs,
        "refresh": refresh,
    }
    if chain is not None and not chain.pending:
        state.update(
            status="cached", base=chain.base.as_json(), keys=[link.key for link in chain.links]
        )
    return state


def _build_host(session: Session, definition: Definition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "container": session.container_name(definition.name),
        "directory": str(definition.directory),
        "facts": host_facts(definition),
    }


def _inventory_definitions(task_vars: Mapping[str, Any]) -> list[str]:
    hosts = task_vars.get("groups", {}).get("kiln_images", [])
    hostvars = task_vars.get("hostvars", {})
    return [str(hostvars[host]["kiln_definition"]) for host in hosts]


def _wanted(
    levels: Sequence[Definition], task_vars: Mapping[str, Any], *, limited: bool
) -> set[str]:
    """The images that --limit leaves: each is a host of the inventory, or all are meant."""
    names = {definition.name for definition in levels}
    if limited and context.CLIARGS.get("subset"):
        return names & {str(host) for host in task_vars.get("ansible_play_hosts_all", [])}
    return names


def _ask_engine(shop: Workshop, image_ids: Sequence[str]) -> tuple[str, set[str]]:
    """Return the engine's architecture and which of the images it holds."""
    return shop.engine.architecture(), {found.id for found in shop.engine.images(image_ids)}


def _base(
    shared: SharedCache,
    definition: Definition,
    plans: Mapping[str, ImagePlan],
    details: Mapping[str, tuple[list[LayerStep], RoleRuns, Chain | None]],
    architecture: str,
    lock: Lock,
) -> tuple[BaseRecord | None, str | None]:
    """Return the base as far as it is there, and the name of the image that must come first."""
    if not isinstance(definition.base, Parent):
        return shared.base(base_key(definition.base, architecture, base_lock_key(*lock))), None
    name = definition.base.name
    chain = details[name][2]
    if plans[name].action is Action.BAKE or chain is None:
        return None, name
    return as_parent(chain), None


def _previous(shop: Workshop, last: BakeRecord | None) -> list[Any]:
    return [] if last is None else [shop.cache.layer(key) for key in last.layer_keys]

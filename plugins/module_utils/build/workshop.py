# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One image on its way through a bake: opened, captured layer by layer, sealed.

The steps are called by separate tasks in separate processes; what one leaves for the next is in
the session's folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.canonical import encode
from ..core.errors import DriverError
from ..oci.image import Image
from ..oci.layer import store_layer
from ..oci.layout import Layout
from .build_container import (
    BuildContainer,
    capture,
    chain_image,
    close_container,
    ensure_apt_volume,
    load_image,
    open_container,
)
from .chain import Chain, LayerStep, Link, bake_key, chain_of
from .claims import await_shared_layers
from .definition import load
from .definition_model import Definition
from .definition_schema import RESERVED_LAYERS
from .engine import Engine, EngineFacts
from .home import Home
from .image_base import base_of, base_was_made_at
from .lock_state import LockMode, lists_key, lock_path
from .records import BakeRecord, BaseRecord, Cache, LayerRecord
from .remote_cache import RemoteCache
from .sealing import config_manifest, reference, run_line, seal
from .session import Session, keep_failed
from .shared_cache import SharedCache
from .summary import layer_rows
from .system_facts import system_facts
from .tasks_file import RoleRun, render_tasks
from .toolkit import ensure_toolkit

if TYPE_CHECKING:
    from .pool import Pool


@dataclass(frozen=True, slots=True)
class Workshop:
    """The places that a bake works in, and the settings that are the same for all its images."""

    home: Home
    engine: Engine
    cache: Cache
    cache_from: tuple[RemoteCache, ...] = ()
    cache_to: RemoteCache | None = None
    pool_limit: int | None = None
    network: str = ""

    @classmethod
    def at(
        cls,
        home: Home,
        engine: Engine | None = None,
        *,
        pool_limit: int | None = None,
        network: str = "",
    ) -> Workshop:
        """The workshop of *home*, which shares no cache.

        :param pool_limit: in bytes; None is the pool's own default.
        :param network: the engine's network for build containers; its own choice when empty.
        """
        cache = Cache(home.cache, Layout(home.store))
        return cls(home, engine or Engine(), cache, pool_limit=pool_limit, network=network)

    @property
    def pool(self) -> Pool:
        """The pool of locked packages."""
        from .pool import Pool

        return Pool(self.home.root / "pool", self.home.locks / "pool")

    def shared(self, say: Callable[[str], None]) -> SharedCache:
        """The cache, with those of other machines behind it; *say* is told what is wrong there."""
        return SharedCache(self.home, self.cache, self.cache_from, say)

    @property
    def layout(self) -> Layout:
        """The store of blobs."""
        return self.cache.layout


def open_image(
    shop: Workshop,
    session: Session,
    image: str,
    *,
    say: Callable[[str], None],
    started: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Prepare the build container of *image*, and write the tasks of the layers that must run.

    :param started: called when the container runs, while it is being prepared.

    Gives ``tasks`` (path of the tasks file), ``container``, ``pending`` and ``restored`` (names of
    layers) and ``facts`` (what is known of the system in the image, for roles that ask).
    """
    from . import locking as locks

    state = session.read(image)
    definition = _definition(state)
    facts = EngineFacts(**state["engine"])
    fresh = bool(state.get("refresh"))
    locking = locks.Locking.of(state, definition)
    shared = shop.shared(say)
    base = base_of(shop, shared, session, definition, facts.architecture, fresh, say, locking)
    steps = [LayerStep.from_json(value) for value in state["steps"]]

    def known() -> Chain:
        return chain_of(base, steps, shared.fetch_layer, fresh=fresh, lock=locking.layers_key)

    chain = known()
    session.write(
        image,
        {
            "status": "building",
            "base": base.as_json(),
            "chain_key": chain.key,
            "keys": [link.key for link in chain.links],
            "containerd_store": facts.containerd_store,
            "base_was_made": state["opened"] < base_was_made_at(shop, definition, base),
        },
    )
    if not fresh:

        def there(key: str) -> bool:
            return shop.cache.layer(key) is not None

        chain = await_shared_layers(session, image, chain, known, there, say)
    session.write(
        image,
        {"restored": [record.name for record in chain.restored], "fetched": shared.fetched},
    )
    tasks = session.folder / f"{image}.tasks.yml"
    facts_of_restored = {key: v for r in chain.restored for key, v in r.facts.items()}
    runs = _runs(state, chain.pending)
    tasks.write_text(render_tasks(runs, facts_of_restored), encoding="utf-8")
    name = session.container_name(image)
    if chain.pending:
        layers = [*base.layers, *(r.layer for r in chain.restored if r.layer is not None)]
        with ThreadPoolExecutor(2) as pool:
            # Neither needs the other, and each asks the engine a few times.
            volume = pool.submit(ensure_apt_volume, shop.engine)
            chained = f"{image}-{session.id}"
            loading = pool.submit(chain_image, shop.layout, shop.engine, facts, layers, chained)
            toolkit = ensure_toolkit(
                shop.engine,
                shop.home,
                image=loading.result,
                suite=base.suite,
                architecture=base.architecture,
                session=session.id,
                say=say,
                pinned=locks.toolkit_of(shop, definition, locking),
            )
            volume.result()
            started_from = loading.result()
        container = open_container(
            shop.engine,
            name=name,
            image=started_from,
            image_name=image,
            session=session.id,
            toolkit=toolkit,
            lists=lists_key(base, locking.mode),
            apt_conf=locks.APT_CONF if locking.mode.reads_lock else "",
            network=shop.network,
            started=started,
        )
        if not session.is_open:
            # The main process died meanwhile, and its keeper did not see this container.
            shop.engine.remove_containers([container.id])
        session.write(image, {"container": container.id, "started_from": container.image})
        if locking.mode is not LockMode.NONE:
            session.write(image, locks.prepare_packages(shop, name, definition, locking))
    session.write(image, {"mark": time.time()})
    return {
        "tasks": str(tasks),
        "container": name,
        "pending": [link.step.name for link in chain.pending],
        "restored": [record.name for record in chain.restored],
        "facts": system_facts(base),
    }


def capture_layer(
    shop: Workshop, session: Session, image: str, name: str, variables: Mapping[str, Any]
) -> LayerRecord:
    """Capture what the role of layer *name* changed, store it and record it under its key.

    :param variables: the host's, after the role: those that the role set are kept with the layer.
    """
    state = session.read(image)
    steps = [LayerStep.from_json(value) for value in state["steps"]]
    position = [step.name for step in steps].index(name)
    base = BaseRecord.from_json(state["base"])
    if LockMode(state["lock_mode"]) is not LockMode.NONE:
        from . import locking as locks

        packages = locks.settle_packages(shop, session, _definition(state), state, name)
        session.write(image, {"packages": packages})
    layer = store_layer(
        shop.layout,
        capture(shop.engine, session.container_name(image), epoch=base.epoch),
    )
    now = time.time()
    record = LayerRecord(
        key=state["keys"][position],
        name=name,
        layer=layer,
        seconds=round(now - state["mark"], 1),
        manifest=steps[position].manifest,
        facts=_facts(steps[position], variables),
    )
    shop.cache.keep_layer(record)
    session.write(image, {"mark": now})
    return record


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished image in the store, before it has a version number."""

    definition: Definition
    image: Image
    base: BaseRecord
    layers: tuple[LayerRecord, ...]
    bake_key: str
    restored: tuple[str, ...]


def seal_image(shop: Workshop, session: Session, image: str) -> Sealed:
    """Assemble the image from its layers."""
    state = session.read(image)
    definition = _definition(state)
    base = BaseRecord.from_json(state["base"])
    records = []
    for key in state["keys"]:
        record = shop.cache.layer(key)
        if record is None:
            raise DriverError(
                f"A layer of {image} is gone from {shop.layout.root} while it was baked.",
                hint="Run the bake again; it goes on from what is left.",
            )
        records.append(record)
    written = seal(shop.layout, definition, base, records)
    return Sealed(
        definition,
        written,
        base,
        tuple(records),
        bake_key((state["keys"] or [state["chain_key"]])[-1], config_manifest(definition)),
        tuple(state["restored"]),
    )


def _close(shop: Workshop, session: Session, image: str, base: BaseRecord) -> None:
    """Remove the build container of *image*, if it needed one."""
    state = session.read(image)
    if state.get("container"):
        close_container(
            shop.engine,
            BuildContainer(
                session.container_name(image),
                state["container"],
                state["started_from"],
                lists_key(base, LockMode(state["lock_mode"])),
            ),
        )


def lock_image(shop: Workshop, session: Session, image: str) -> dict[str, Any]:
    """Write the lock of an image whose layers have all run, and remove its build container.

    Returns a summary with what changed, which is kept in the session too.
    """
    from . import locking as locks

    state = session.read(image)
    definition = _definition(state)
    base = BaseRecord.from_json(state["base"])
    locking = locks.Locking.of(state, definition)
    summary = locks.write_lock(shop, definition, base, state, locking)
    _close(shop, session, image, base)
    session.write(image, {"status": "locked", "summary": summary})
    return summary


def publish_image(
    shop: Workshop,
    session: Session,
    sealed: Sealed,
    version: str,
    beside: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """Name the version in the store and in the engine, and record the bake as ended.

    The build container goes at the same time: the engine takes as long for either.

    :param beside: what else is to be done before the bake has ended, while the engine works; it
        gives further members of the summary.

    Returns the summary of the image, which is kept in the session too.
    """
    name = sealed.definition.name
    state = session.read(name)
    shop.layout.tag(f"{name}-{version}", sealed.image.index)
    tag = reference(name, version)
    with ThreadPoolExecutor(2) as pool:
        besides = pool.submit(beside)
        closing = pool.submit(_close, shop, session, name, sealed.base)
        load_image(
            shop.layout, shop.engine, sealed.image, [tag], whole=bool(state["containerd_store"])
        )
        closing.result()
        more = besides.result()
    if state.get("started_from"):
        shop.engine.remove_image(state["started_from"])
    if LockMode(state["lock_mode"]) is LockMode.USE:
        shop.pool.keep_lock(name, version, lock_path(sealed.definition))
    shop.cache.keep_bake(
        BakeRecord(
            sealed.bake_key,
            name,
            version,
            sealed.image.index.digest,
            sealed.image.config.digest,
            tuple(state["keys"]),
            (state.get("lock") or {}).get("layers"),
        )
    )
    summary = {
        "name": name,
        "version": version,
        "digest": sealed.image.index.digest,
        "image": tag,
        "run": run_line(sealed.definition, tag),
        "waived": [[waiver.subject, waiver.reason] for waiver in sealed.definition.waivers],
        "layers": layer_rows(
            sealed.definition.base,
            sealed.base,
            sealed.layers,
            base_was_made=bool(state.get("base_was_made")),
            restored=sealed.restored,
            fetched=state["fetched"],
        ),
        "seconds": round(time.time() - state["opened"], 1),
        **more,
    }
    session.write(name, {"status": "sealed", "summary": summary})
    return summary


def fail_image(
    shop: Workshop, session: Session, image: str, *, task: str, message: str, keep: bool
) -> dict[str, Any]:
    """Note why *image* failed, and keep its build container when asked.

    Gives the message, the number of layers that a next run need not repeat, and the command that
    opens a shell in what was kept.
    """
    from . import locking as locks

    state = session.read(image)
    done = [key for key in state.get("keys", []) if shop.cache.layer(key) is not None]
    failure: dict[str, Any] = {
        "name": image,
        "task": task,
        "message": locks.with_lock_hint(message, state),
        "layers_done": len(done),
        "layers": len(state.get("steps", [])),
    }
    container = state.get("container")
    try:
        if container and keep:
            kept = keep_failed(session, shop.engine, shop.home, image, container)
            failure["kept"] = kept
            failure["shell"] = f"docker exec -it {kept} /bin/bash"
            failure["remove"] = f"docker rm -f -v {kept}"
        elif container:
            shop.engine.remove_containers([container])
            shop.engine.remove_image(state["started_from"])
    except (DriverError, OSError):
        # Why the image failed matters more. The keeper or the next bake removes the container.
        pass
    try:
        session.write(image, {"status": "failed", "failure": failure})
    except OSError:
        # The disk is full. Images that are based on this one must not wait for it.
        session.forget(image)
    return failure


def _definition(state: Mapping[str, Any]) -> Definition:
    if not state:
        raise DriverError("This host is no image of the bake that is going on.")
    definition = load(state["definition"])
    if definition.digest != state["definition_digest"]:
        raise DriverError(
            f"{definition.shown_path} was changed while it was baked.",
            hint="Run the bake again.",
        )
    return definition


def _runs(state: Mapping[str, Any], pending: Sequence[Link]) -> list[RoleRun]:
    by_name = {run["layer"]: run for run in state["runs"]}
    return [
        RoleRun(
            run["layer"],
            run["role"],
            tuple(run["vars_sources"]),
            always=run["layer"] in RESERVED_LAYERS,
        )
        for run in (by_name[link.step.name] for link in pending)
    ]


def _facts(step: LayerStep, variables: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name in step.facts:
        if name in variables:
            try:
                facts[name] = json.loads(encode(variables[name]))
            except (TypeError, ValueError) as error:
                raise DriverError(
                    f"The role {step.role} sets {name} to a value that cannot be kept: {error}.",
                    hint="Set it to texts, numbers, lists and mappings of them.",
                ) from error
    return facts

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of the bake playbook share: they run on the controller and call the driver."""

from __future__ import annotations

import contextlib
import errno
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ..module_utils.build.home import Home
from ..module_utils.build.remote_cache import remote_cache
from ..module_utils.build.session import Session, find_session
from ..module_utils.build.store_lock import store_in_use
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.core.errors import DriverError
from .collector import collect_rarely
from .play_options import refuse_unknown

if TYPE_CHECKING:
    from ..module_utils.oci.registry.access import Access

display = Display()

# The main process imports this when it meets the first task of ours, before it forks a worker.
collect_rarely()


class BakeAction(ActionBase):  # type: ignore[misc]  # ansible-core carries no type hints here
    """An action that asks nothing of its host; a DriverError becomes the task's failure."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the step and return Ansible's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            self._refuse_unknown(task_vars or {})
            with self._store(task_vars or {}):
                result.update(self.step(task_vars or {}))
        except DriverError as error:
            result.update(error.details)
            result.update(failed=True, msg=str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            home = self.shop(task_vars or {}).home.root
            result.update(
                failed=True,
                msg=f"No space is left on the disk of {error.filename or home}."
                " Make room there and run the bake again; it goes on from what is done.",
            )
        return result

    def _refuse_unknown(self, task_vars: Mapping[str, Any]) -> None:
        extra = load_extra_vars(self._task.get_loader())
        refuse_unknown(extra, str(task_vars.get("playbook_dir", "")))

    def _store(self, task_vars: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """What of the store is held while the step runs: it stays as it is but for what we add."""
        home = self.shop(task_vars).home
        return store_in_use(
            home, waiting=lambda: self.say("Waiting for the store, which is being cleaned")
        )

    @abstractmethod
    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the action does; each action gives its own."""

    def shop(self, task_vars: Mapping[str, Any]) -> Workshop:
        """The workshop of the home and of the shared caches that the playbook's variables name."""
        shop = Workshop.at(
            Home.at(self._option(task_vars, "kiln_home")),
            pool_limit=self._pool_limit(task_vars),
            network=str(self._option(task_vars, "kiln_network") or ""),
        )
        places = self._option(task_vars, "kiln_cache_from")
        target = self._option(task_vars, "kiln_cache_to")
        if not places and not target:
            return shop
        listed = [places] if isinstance(places, str) else list(places or ())

        def access() -> Access:
            return self.registry_access(task_vars)

        return replace(
            shop,
            cache_from=tuple(remote_cache(str(place), access) for place in listed),
            cache_to=remote_cache(str(target), access) if target else None,
        )

    def registry_access(self, task_vars: Mapping[str, Any]) -> Access:
        """How registries may be spoken to, as the playbook's variables say."""
        from ..module_utils.oci.registry.access import Access

        ca = self._option(task_vars, "kiln_registry_ca")
        plain = self._option(task_vars, "kiln_registry_plain_http")
        return Access(
            ca=Path(str(ca)).expanduser() if ca else None,
            plain_http=boolean(plain, strict=False) if plain else False,
        )

    def catalog(self, task_vars: Mapping[str, Any]) -> Catalog:
        """The catalog of the home, and the remote that the variables or the environment name."""
        remote = self._option(task_vars, "kiln_catalog_remote")
        return Catalog(
            self.shop(task_vars).home.catalog,
            remote=str(remote or os.environ.get("KILN_CATALOG_REMOTE") or ""),
        )

    def _pool_limit(self, task_vars: Mapping[str, Any]) -> int | None:
        given = self._option(task_vars, "kiln_pool_limit")
        if given is None:
            return None
        from ..module_utils.build.pool import read_limit

        return read_limit(given)

    def option(self, task_vars: Mapping[str, Any], name: str) -> Any:
        """Return the playbook's variable *name*, None when it is not set or empty."""
        return self._option(task_vars, name)

    def _option(self, task_vars: Mapping[str, Any], name: str) -> Any:
        value = task_vars.get(name)
        return self._templar.template(value) if value else None

    def session(self, shop: Workshop, task_vars: Mapping[str, Any]) -> Session:
        """The session that the plan opened for this host."""
        return find_session(shop.home, str(task_vars["kiln_session"]))

    def say(self, text: str) -> None:
        """Tell the user what takes long."""
        display.display(f"  {text}")

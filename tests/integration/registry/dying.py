# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a push, a pull or a prune again and again, each time killed one step later.

    python -m ...dying push|pull|prune FOLDER REGISTRY [TIMES]

FOLDER holds the home that each time begins with, ``start``; what is left of each is in ``1``,
``2`` and so on, and the registry has a repository of the same name for each that changes one.
With ``TIMES`` each third is run once more, to its end. It prints how many there are.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import Access
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import connect
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.pull import pull
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.tags import follow

EACH = 3
"""Of so many one is run again: enough to see that any can be, and quicker."""
CHANGES = (b"POST ", b"PATCH ", b"PUT ", b"DELETE ")


def die_before(number: int, folder: Path) -> None:
    """Let this process be killed before the step *number* that changes something.

    That is a request which changes the registry, or a name that comes or goes in *folder*.
    """
    left = [number]
    root = str(folder)

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove", "os.link"):
            counts = str(given[0]).startswith(root)
        else:
            counts = event == "http.client.send" and bytes(given[1]).startswith(CHANGES)
        if counts:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def client(place: str) -> Any:
    """Return a client that does one thing after the other."""
    return connect(Repository.parse(place), Access(parallel=1))


def bring(home: Path, place: str, *numbers: str) -> None:
    """Push versions, and let the channel follow to the last."""
    catalog, registry = Catalog(home / "catalog"), client(place)
    for number in numbers or ("1.0.2",):
        version = catalog.version("web", number)
        assert version is not None
        push(registry, Layout(home / "store"), version.index, number)
        follow(registry, {"dev": version.index})


def fetch(home: Path, place: str) -> None:
    """Pull a version into a store that holds nothing yet."""
    version = Catalog(home.parent / "start" / "catalog").version("web", "1.0.2")
    assert version is not None
    layout = Layout(home)
    layout.ensure()
    pull(client(place), layout, version.index, "web-1.0.2")


def let_go(home: Path, place: str) -> None:
    """Prune as the action does; 1.0.1 goes."""
    # Ansible takes a second to load, which push and pull need not wait for.
    from ansible_collections.kiln.immutable.plugins.action.image_prune import (  # noqa: PLC0415
        ActionModule,
    )

    arguments = {"image": "web", "last": 0, "days": 0, "channel": 1, "cache_days": 0}
    task = SimpleNamespace(args=arguments, check_mode=False, diff=False)
    templar = SimpleNamespace(template=lambda value: value)
    action = ActionModule(task, None, None, None, templar, None)
    registry = place.removesuffix("/web")
    result = action.step({"kiln_home": str(home), "kiln_registry": registry})
    assert not any("registry" in one for one in result.get("warnings", [])), result


WORKS: dict[str, Callable[[Path, str], None]] = {"push": bring, "pull": fetch, "prune": let_go}


def where(what: str, folder: Path, registry: str, number: int) -> tuple[Path, str]:
    """Return the folder and the repository of one time."""
    home = folder / ("start" if what == "push" else str(number))
    return home, f"{registry}/{'all' if what == 'pull' else number}/web"


def died(what: str, number: int, folder: Path, registry: str) -> bool:
    """Run it in a process of its own up to its step *number*; tell whether it was killed there."""
    home, place = where(what, folder, registry, number)
    if what == "prune":
        shutil.copytree(folder / "start", home)
        bring(home, place, "1.0.1", "1.0.2")
    elif what == "pull" and number == 1:
        bring(folder / "start", place)
    child = os.fork()
    if child == 0:
        # Of prune the requests only: units test what it does with files.
        die_before(number, home if what == "pull" else Path("/nowhere"))
        WORKS[what](home, place)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0
    return killed


def main(arguments: Sequence[str]) -> int:
    """Run it; return the exit status."""
    what, folder, registry = arguments[0], Path(arguments[1]), arguments[2]
    os.fsync = lambda fd: None  # a kill loses nothing that was written
    os.environ["DOCKER_HOST"] = "unix:///nowhere"
    if len(arguments) > 3:
        for number in range(1, int(arguments[3]) + 1, EACH):
            WORKS[what](*where(what, folder, registry, number))
        return 0
    number = 1
    while died(what, number, folder, registry):
        number += 1
    sys.stdout.write(f"{number}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

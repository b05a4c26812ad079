# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever writes into a home may be killed before any of its calls to the file system."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.fsck import look
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

WRITING = '''
import io, os, signal, sys
from pathlib import Path
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.pool import Pool
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BakeRecord, BaseRecord, Cache, LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.canonical import digest
from ansible_collections.kiln.immutable.plugins.module_utils.core.files import write_whole
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer, ImageConfig, write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout


def write(root):
    """Write everything that a bake writes, as it does, with files that nobody needs set aside."""
    home = Home.at(str(root))
    home.secret_key()
    layout = Layout(home.store)
    cache = Cache(home.cache, layout)
    layout.ensure()
    layout.sweep_partials()
    base = BaseRecord(
        digest("base"), (store_layer(layout, [b"base"]),), 1, "bookworm", "amd64", 1.0
    )
    cache.keep_base(base)
    layer = LayerRecord(digest("app"), "app", store_layer(layout, [b"app"]), 1.0, {})
    cache.keep_layer(layer)
    cache.note_use("layers", layer.key)
    config = ImageConfig(architecture="amd64", created=0)
    image = write_image(
        layout, config, [HistoryLayer(one, "x") for one in (*base.layers, layer.layer)], {}
    )
    layout.tag("web-1.0.1", image.index)
    pool = Pool(home.root / "pool", home.locks / "pool")
    pool.add(io.BytesIO(b"package"))
    write_whole(home.root / "web.lock.yml", b"lock")
    pool.keep_lock("web", "1.0.1", home.root / "web.lock.yml")
    cache.keep_bake(
        BakeRecord(digest("bake"), "web", "1.0.1", image.index.digest, image.config.digest,
                   (layer.key,), None)
    )
    layout.untag("web-1.0.1")
    layout.tag("web-1.0.1", image.index)


def die_before(number, root):
    """Let this process be killed before its call *number* that changes something in *root*."""
    left = [number]

    def count(path):
        if str(path).startswith(root):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    def watch(event, arguments):
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (
            os.O_WRONLY | os.O_RDWR | os.O_CREAT
        ):
            count(arguments[0])
        elif event in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.utime", "os.chmod"):
            count(arguments[0])

    def watched(call):
        def calling(*given):
            count(root)
            return call(*given)
        return calling

    sys.addaudithook(watch)
    for name in ("fsync", "fchmod", "write"):
        setattr(os, name, watched(getattr(os, name)))


# A kill loses nothing that was written, so the disk itself need not be waited for.
os.fsync = lambda _descriptor: None


top = Path(sys.argv[1])
if sys.argv[2] == "again":
    for home in sorted(top.iterdir()):
        write(home)
else:
    for number in range(2000):
        home = top / f"{number:04}"
        child = os.fork()
        if child == 0:
            die_before(number, str(home))
            write(home)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        if os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"step {number} ended with {status}")
'''


def whole(home: Path) -> None:
    """Fail unless everything in *home* that has its name is what the name says."""
    layout = Layout(home / "store")
    cache = Cache(home / "cache", layout)
    findings = look(cache, {})
    assert [problem.sentence for problem in findings.problems] == []
    for path in (home / "pool" / "sha256").glob("[!.]*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for path in (home / "pool" / "locks").glob("*/[!.]*"):
        assert path.read_bytes() == b"lock"
    if (home / "secret.key").exists():
        assert len((home / "secret.key").read_bytes()) == 32


def content(home: Path) -> dict[str, bytes]:
    """Return the files of *home*, apart from what is random and what the next one sweeps away."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(".partial") and "secret" not in path.name
    }


def test_a_kill_before_any_call_leaves_a_sound_home_that_the_next_one_completes(
    tmp_path: Path,
) -> None:
    for how in ("die", "again"):
        subprocess.run([sys.executable, "-c", WRITING, str(tmp_path), how], check=True)
        homes = sorted(tmp_path.iterdir())
        # Each write is an opening, a name and several syncs: fewer would be a hook that is deaf.
        assert len(homes) > 100
        for home in homes:
            whole(home)
    *killed, complete = homes
    assert not list(complete.rglob("*.partial"))
    for home in killed:
        assert content(home) == content(complete), home

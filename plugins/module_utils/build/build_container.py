# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container that roles run in: started from cached layers, holding nothing that stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..core.errors import DriverError
from ..oci.archive import docker_archive
from ..oci.damage import LostBlob
from ..oci.image import HistoryLayer, Image, ImageConfig, write_image
from ..oci.layer import CAPTURE_SOURCE, Layer
from ..oci.layout import Layout
from .engine import (
    CACHE_LABEL,
    CHAIN_REPOSITORY,
    LABEL,
    SESSION_LABEL,
    Engine,
    EngineFacts,
)
from .residue import INVISIBLE
from .toolkit import INTERPRETER, MOUNT

APT_VOLUME = "kiln-apt"
HOSTNAME = "kiln-build"
"""A fixed name, because packages write the host's name into their configuration."""

SNAPSHOT = "/run/kiln/snapshot"
EXCLUDE = "/run/kiln/invisible.json"
REMOTE_TMP = "/run/kiln/tmp"

# As a module, which Python compiles once for all captures of the container.
_CAPTURE = """\
import sys
sys.path.insert(0, "/run/kiln/programs")
from capture import main
sys.exit(main())
"""

_WAIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); signal.pause()"

_APT_CONF = """\
// Downloads and lists are of this bake alone, and shared with others by hard links when it ends:
// apt's locks are never contended, and nothing of either reaches a layer.
Dir::Cache::archives "/run/kiln/apt/{name}/archives/";
Dir::Cache::pkgcache "/run/kiln/apt/{name}/pkgcache.bin";
Dir::Cache::srcpkgcache "/run/kiln/apt/{name}/srcpkgcache.bin";
Dir::Log "/run/kiln/log";
APT::Keep-Downloaded-Packages "true";
Binary::apt::APT::Keep-Downloaded-Packages "true";
// The root is thrown away when the machine fails, so nobody needs each file on the disk at once.
DPkg::Options {{ "--force-unsafe-io"; "--log=/run/kiln/log/dpkg.log"; }};
"""

_PREPARE = """\
set -eu
umask 022
session=$1
mkdir -p /run/kiln/log /run/kiln/tmp /run/lock
chmod 0700 /run/kiln/tmp
chmod 1777 /run/lock
printf '%s' "$2" > /run/kiln/apt.conf
printf '%s' "$3" > "$5"
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
pool=/run/kiln/apt/pool
mine=/run/kiln/apt/$8
lists=${9:+$pool/lists-$9}
mkdir -p "$pool/archives" "$mine/archives/partial" "$mine/lists/partial"
# What a killed bake left; a bake takes no day.
find /run/kiln/apt -mindepth 1 -maxdepth 1 ! -name pool ! -name "$8" -mtime +0 -exec rm -rf {} +
# Another bake may be tidying the pool up: what it takes away is fetched again.
# With a lock nothing is shared: the lock's own packages have been verified, these have not.
if [ -n "$lists" ]; then
  find "$pool/archives" -name '*.deb' -exec ln -f -t "$mine/archives" {} + || true
fi
# Roles ask by its time how old the folder of lists is: without lists it is as old as can be.
touch -d @0 "$mine/lists"
if [ -d "$lists" ]; then
  find "$lists" -maxdepth 1 -type f -exec ln -f -t "$mine/lists" {} + || true
  touch -r "$lists" "$mine/lists"
fi
# What apt makes of the lists takes as long to make as a small package to install. It holds sizes
# and times of the lists, which apt compares; dated ahead, it also outlives a change of sources.
if [ -f "$lists.srcpkgcache" ] && ln "$lists.srcpkgcache" "$mine/srcpkgcache.bin"; then
  touch -d tomorrow "$mine/srcpkgcache.bin"
fi
# A link and not a setting of apt, because they look at this very path.
rm -rf /var/lib/apt/lists
ln -s "$mine/lists" /var/lib/apt/lists
# Last: its presence is what lets roles run here.
printf '%s' "$session" > /run/kiln/session
mkdir /run/kiln/programs
printf '%s' "$4" > /run/kiln/programs/capture.py
exec "$6" -I -c "${10}" snapshot --root / --state "$7" --exclude-file "$5"
"""

_CLOSE = """\
set -eu
pool=/run/kiln/apt/pool
mine=/run/kiln/apt/$1
find "$mine/archives" -maxdepth 1 -name '*.deb' | while read -r deb; do
  kept="$pool/archives/${deb##*/}"
  # Dated by when it was fetched. Of two bakes that fetched the same one, the first link stays.
  [ -e "$kept" ] || { touch "$deb"; ln "$deb" "$kept" 2> /dev/null || true; }
done
lists=${3:+$pool/lists-$3}
newer() { [ -n "$lists" ] && { [ ! -d "$lists" ] || [ "$mine/lists" -nt "$lists" ]; }; }
if ls "$mine/lists" | grep -q Release && newer; then
  # Whole or not at all: lists that lack a part would look as new as whole ones.
  rm -rf "$lists.$1"
  cp -al "$mine/lists" "$lists.$1"
  rm -rf "$lists.$1/partial" "$lists.$1/lock" "$lists"
  mv -T "$lists.$1" "$lists" || rm -rf "$lists.$1"
  touch -r "$mine/lists" "$lists"
fi
if [ -f "$mine/srcpkgcache.bin" ]; then
  ln -f "$mine/srcpkgcache.bin" "$lists.srcpkgcache"
fi
rm -rf "$mine"
# Lists of four bases are enough.
find "$pool" -maxdepth 1 -type d -name 'lists-*' -printf '%T@ %p\\n' | sort -rn | tail -n +5 |
cut -d ' ' -f 2 | while read -r old; do rm -rf "$old" "$old.srcpkgcache"; done
# The pool stays below $2 MiB: those fetched longest ago go first.
find "$pool/archives" -name '*.deb' -printf '%T@ %s %p\\n' | sort -rn |
awk -v limit="$2" '{ sum += $2; if (sum > limit * 1048576) print $3 }' | xargs -r rm -f
"""


@dataclass(frozen=True, slots=True)
class BuildContainer:
    """A running build container.

    :param image: reference of the image it was started from.
    :param lists: key of the archive's package lists: bakes that may share them have the same.
        Empty when neither lists nor packages are shared with others.
    """

    name: str
    id: str
    image: str
    lists: str


def chain_image(
    layout: Layout, engine: Engine, facts: EngineFacts, layers: Sequence[Layer], name: str
) -> str:
    """Make the engine hold an image of just *layers*; return its reference.

    Layers that the engine has in the same order, from whatever image of ours, are not sent again.

    :param name: of the one build container that it is for: images that start from the same
        layers do not take it away from each other.
    """
    reference = f"{CHAIN_REPOSITORY}:{name}"
    image = write_image(
        layout,
        ImageConfig(
            architecture=facts.architecture,
            created=0,
            labels={CACHE_LABEL: "chain", f"{LABEL}.image": "chain"},
        ),
        [HistoryLayer(layer, "restored from the cache") for layer in layers],
        {},
    )
    load_image(layout, engine, image, [reference], whole=facts.containerd_store)
    return reference


def load_image(
    layout: Layout, engine: Engine, image: Image, names: Sequence[str], *, whole: bool
) -> None:
    """Load *image* into the engine under *names*, sending only the layers it does not have.

    :param whole: send every layer, as an engine with the containerd image store wants it.
    """
    diff_ids = [layer.diff_id for layer in image.layers]
    present = 0
    if not whole:
        for held in engine.our_images():
            present = max(present, _common_prefix(held.diff_ids, diff_ids))
    without = frozenset(diff_ids[:present])
    try:
        engine.load(docker_archive(layout, image, names, without=without))
    except LostBlob:
        raise
    except DriverError:
        if not without:
            raise
        # The image that held the layers may have gone in between: once more, with all of them.
        engine.load(docker_archive(layout, image, names))


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def ensure_apt_volume(engine: Engine) -> None:
    """Make the volume of packages and their lists, which all build containers share."""
    engine.create_volume(APT_VOLUME, {CACHE_LABEL: "apt"})


def open_container(
    engine: Engine,
    *,
    name: str,
    image: str,
    image_name: str,
    session: str,
    toolkit: str,
    lists: str,
    apt_conf: str = "",
    network: str = "",
    started: Callable[[], None] = lambda: None,
) -> BuildContainer:
    """Start the build container and record the state that the first layer is compared with.

    :param apt_conf: further settings of apt.
    :param network: the engine's network that the container is in; the engine's choice when empty.
    :param started: called once the container runs, beside what prepares it.
    """
    container_id = engine.start_container(
        name,
        image,
        ["-I", "-c", _WAIT],
        options=[
            "--entrypoint",
            INTERPRETER,
            "--hostname",
            HOSTNAME,
            "--user",
            "0:0",
            "--workdir",
            "/",
            "--tmpfs",
            "/run:exec,mode=755",
            "--tmpfs",
            "/tmp:exec,mode=1777",
            "--volume",
            f"{toolkit}:{MOUNT}:ro",
            "--volume",
            f"{APT_VOLUME}:/run/kiln/apt",
            "--env",
            "APT_CONFIG=/run/kiln/apt.conf",
            "--env",
            "DEBIAN_FRONTEND=noninteractive",
            "--env",
            "LC_ALL=C.UTF-8",
            *(["--network", network] if network else []),
        ],
        labels={SESSION_LABEL: session, f"{LABEL}.building": image_name},
    )
    with ThreadPoolExecutor(1) as pool:
        preparing = pool.submit(
            engine.execute,
            name,
            [
                "/bin/sh",
                "-c",
                _PREPARE,
                "prepare",
                session,
                _APT_CONF.format(name=name) + apt_conf,
                json.dumps(list(INVISIBLE)),
                CAPTURE_SOURCE,
                EXCLUDE,
                INTERPRETER,
                SNAPSHOT,
                name,
                lists,
                _CAPTURE,
            ],
            check=False,
        )
        started()
        prepared = preparing.result()
    if prepared.status != 0:
        said = (prepared.stderr or prepared.stdout).decode("utf-8", "replace").strip()
        raise DriverError(f"The build container of {image_name} could not be prepared: {said}")
    return BuildContainer(name, container_id, image, lists)


def capture(engine: Engine, container: str, *, epoch: int) -> Iterator[bytes]:
    """Give the tar of what changed in *container* since the last capture, piece by piece."""
    return engine.stream(
        container,
        [
            INTERPRETER,
            "-I",
            "-c",
            _CAPTURE,
            "capture",
            "--root",
            "/",
            "--state",
            SNAPSHOT,
            "--epoch",
            str(epoch),
        ],
    )


def close_container(engine: Engine, container: BuildContainer) -> None:
    """Give the downloaded packages to later bakes and remove the container.

    The image that it was started from stays: its layers are what the finished image is loaded on.
    """
    engine.execute(
        container.name,
        ["/bin/sh", "-c", _CLOSE, "close", container.name, "2048", container.lists],
        check=False,
    )
    engine.remove_containers([container.id])

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a rotation against ``docker service update``: 6 containers, 2 at a time, side by side.

    make bench BENCH=rotation

Both replace the same image by the same other one, start first, with the image's own HEALTHCHECK, on
one engine, while wrk asks for a small page over connections that stay open. It ends with 1 when a
promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    HealthCheck,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Amount, Policy
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.integration.groups.load import Load
from ansible_collections.kiln.immutable.tests.integration.groups.releases import (
    bake,
    remove,
    vary,
)

from .sheet import Comparison, Machine, bench_parser, compare, rounds_in_words, show

CHECKOUT = Path(__file__).resolve().parents[2]
RATIO = 1.2
SIZE = 6
BATCH = 2
CONNECTIONS = 32
PAUSE = 20
"""Milliseconds between an answer and the next request of its connection."""
PORT = 28090
TURN = 2
"""Rotations of one side before the other's turn."""
ADDRESSES = 16
"""Of the service's network that its HAProxy looks at: of tasks, of those that go, and its own."""

# The engine's names of a service's tasks need an overlay network. So this one checks every
# address that a task may have; what is behind the group's balancer is checked in the same way.
FRONT = """\
global
    log stdout format raw daemon notice
defaults
    mode http
    option redispatch 1
    retries 3
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend users
    bind :{port}
    default_backend tasks
backend tasks
    balance roundrobin
    default-server check inter 1s rise 1 fall 2
    default-server observe layer4 error-limit 3 on-error mark-down
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One rotation under load.

    :param lost: requests that were not answered, or with an error.
    :param most: containers of the side that ran at one moment.
    """

    seconds: float
    requests: int
    lost: int
    most: int


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("rotation", __doc__, rounds=4).parse_args(arguments)
    try:
        version = run(["docker", "version", "--format", "{{.Server.Version}}"]).text
        with _images() as (balancer, images), tempfile.TemporaryDirectory() as folder:
            machine = Machine.now(("Docker Engine", version), ("HAProxy", _haproxy(balancer)))
            ours, theirs = _measure(balancer, images, Path(folder), options.rounds)
    except DriverError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    times = Comparison(
        f"rotation of {SIZE} containers, {BATCH} at a time",
        [one.seconds for one in ours],
        [one.seconds for one in theirs],
        RATIO,
    )
    lost = [sum(one.lost for one in side) for side in (ours, theirs)]
    fewer = lost[0] < lost[1]
    verdict = "met" if fewer else "missed"
    lines = [
        *machine.lines,
        "",
        f"Medians of {rounds_in_words(options.rounds)}, smallest and largest in parentheses.",
        "",
        *compare([times], "kiln", "docker service update"),
        "",
        "| meanwhile | requests answered | lost | lost in each round | most containers |",
        "|---|---|---|---|---|",
        _requests("kiln", ours),
        _requests("docker service update", theirs),
        "",
        f"Fewer requests lost than with `docker service update`: {verdict}.",
    ]
    show("rotation", arguments, options.write, lines)
    return 0 if times.met and fewer else 1


def _requests(side: str, rounds: Sequence[Round]) -> str:
    each = ", ".join(str(one.lost) for one in rounds)
    answered = sum(one.requests for one in rounds)
    lost, most = sum(one.lost for one in rounds), max(one.most for one in rounds)
    return f"| {side} | {answered:,} | {lost} | {each} | {most} |"


@contextlib.contextmanager
def _images() -> Iterator[tuple[str, dict[str, str]]]:
    """Give the balancer and the two releases."""
    baked = bake(CHECKOUT)
    second = f"kiln-bench-{uuid.uuid4().hex[:8]}:v2"
    vary(baked["group-app"], second, "echo version 2 > /srv/www/index.html", None)
    try:
        yield baked["balancer"], {"v1": baked["group-app"], "v2": second}
    finally:
        run(["docker", "image", "rm", "--force", second], check=False)


def _haproxy(balancer: str) -> str:
    said = run(["docker", "run", "--rm", "--entrypoint", "haproxy", balancer, "-v"]).text
    return said.split()[2]


def _measure(
    balancer: str, images: dict[str, str], folder: Path, rounds: int
) -> tuple[list[Round], list[Round]]:
    """Rotate each side to and fro, in turns of :data:`TURN`; who goes first changes.

    Only one side has containers at a time: the health checks of the other would cost both.
    """
    ours: list[Round] = []
    theirs: list[Round] = []
    releases = [("v2", "v1")[number % 2] for number in range(TURN)]
    for turn in range(0, rounds, TURN):
        sides = (_ours, _theirs) if turn % (2 * TURN) else (_theirs, _ours)
        for side in sides:
            found = side(balancer, images, folder, releases[: rounds - turn])
            (ours if side is _ours else theirs).extend(found)
            sys.stderr.write(f"{side.__name__.strip('_')}: {found}\n")
    return ours, theirs


def _ours(
    balancer: str, images: dict[str, str], folder: Path, releases: Sequence[str]
) -> list[Round]:
    # As with Swarm the next ones start while those end that were replaced last.
    policy = Policy(
        max_surge=Amount(2 * BATCH), batch=Amount(BATCH), start_timeout=60.0, min_ready=0.0
    )
    group = Group(
        "docker",
        f"bench{uuid.uuid4().hex[:6]}",
        PORT,
        balancer,
        images,
        folder / "journal",
        policy=policy,
        size=SIZE,
        stop_timeout=10.0,
        health=(HealthCheck("engine"),),
    )
    try:
        _succeed(group, "v1")
        label = f"io.kiln.group={group.name}"
        return [_timed(group.url, label, partial(_succeed, group, one)) for one in releases]
    finally:
        remove(group)


def _theirs(
    balancer: str, images: dict[str, str], _folder: Path, releases: Sequence[str]
) -> list[Round]:
    url = f"http://127.0.0.1:{PORT}"
    with _service(balancer, images["v1"]) as service:
        wait_for("the service", partial(_answers, url), timeout=60)
        label = f"com.docker.swarm.service.name={service}"
        return [_timed(url, label, partial(_update, service, images[one])) for one in releases]


def _timed(url: str, label: str, rotate: Callable[[], None]) -> Round:
    load = Load(url, slow=False, connections=CONNECTIONS, pause=PAUSE)
    with load, _events(label) as events:
        time.sleep(1.0)
        start = time.perf_counter()
        rotate()
        seconds = time.perf_counter() - start
        # What a rotation leaves behind may show a moment later.
        time.sleep(1.0)
    now = most = SIZE
    for event in events:
        now += 1 if event == "start" else -1
        most = max(most, now)
    return Round(seconds, load.requests, load.failed, most)


@contextlib.contextmanager
def _events(label: str) -> Iterator[list[str]]:
    """Give a list that holds, after the block, what began and ended of the containers."""
    kinds = ["--filter", "event=start", "--filter", "event=die", "--filter", f"label={label}"]
    told: list[str] = []
    with subprocess.Popen(
        ["docker", "events", *kinds, "--format", "{{.Action}}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield told
        finally:
            process.terminate()
            told += process.communicate()[0].split()


def _succeed(group: Group, release: str) -> None:
    result = group.rotate(release)
    if not result.succeeded:
        raise DriverError(f"A rotation did not succeed: {result.message}")


@contextlib.contextmanager
def _service(balancer: str, image: str) -> Iterator[str]:
    """Run the service behind its HAProxy, on a Swarm of this engine alone."""
    name = f"kiln-bench-{uuid.uuid4().hex[:6]}"
    swarm = run(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]).text == "active"
    if not swarm:
        run(["docker", "swarm", "init", "--advertise-addr", "127.0.0.1"])
    try:
        _docker("network", "create", "--scope", "swarm", "--driver", "bridge", "--attachable", name)
        # A tmpfs of Swarm over a folder of the image could not be written to by the image's user.
        mounts = ["--mount=type=tmpfs,destination=/run/nginx,tmpfs-mode=1777"]
        mounts += ["--mount=type=volume,destination=/var/cache/nginx"]
        how = ["--update-parallelism", str(BATCH), "--update-order", "start-first"]
        # The shortest: by default it looks on for 5 s more.
        how += ["--update-monitor", "100ms", "--no-resolve-image", "--endpoint-mode", "dnsrr"]
        _docker(
            *("service", "create", "--quiet", "--name", name, "--replicas", str(SIZE), *how),
            *("--network", name, "--read-only", "--cap-drop", "ALL", *mounts, image),
        )
        _front(name, balancer)
        yield name
    finally:
        run(["docker", "rm", "--force", "--volumes", f"{name}-front"], check=False)
        run(["docker", "service", "rm", name], check=False)
        filters = ["--filter", f"label=com.docker.swarm.service.name={name}"]
        gone = ["docker", "ps", "--all", "--quiet", *filters]
        wait_for("its tasks to go", lambda: None if run(gone).text else True, timeout=60)
        run(["docker", "network", "rm", name], check=False)
        if not swarm:
            run(["docker", "swarm", "leave", "--force"], check=False)


def _front(service: str, balancer: str) -> None:
    """Start the HAProxy of *service*, of the image that groups have theirs of."""
    (network,) = json.loads(run(["docker", "network", "inspect", service]).stdout)
    hosts = ipaddress.ip_network(network["IPAM"]["Config"][0]["Subnet"]).hosts()
    next(hosts)  # the engine's own
    text = FRONT.format(port=PORT)
    for number, address in zip(range(ADDRESSES), hosts, strict=False):
        text += f"    server task{number} {address}:8080\n"
    _docker(
        *("create", "--name", f"{service}-front", "--network", service, "--user", "0"),
        *("--publish", f"{PORT}:{PORT}", "--no-healthcheck", "--entrypoint", "/bin/sh"),
        *(balancer, "-c", 'printf %s "$0" >/run/f.cfg && exec haproxy -W -db -f /run/f.cfg', text),
    )
    _docker("start", f"{service}-front")


def _answers(url: str) -> bool | None:
    with Load(url, slow=False, connections=1) as load:
        time.sleep(1.0)
    return True if load.requests and not load.failed else None


def _update(service: str, image: str) -> None:
    _docker("service", "update", "--quiet", "--no-resolve-image", "--image", image, service)


def _docker(*words: str) -> None:
    run(["docker", *words], timeout=240)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

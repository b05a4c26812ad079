# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a definition becomes the image's configuration, and the line that runs it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Debootstrap,
    Definition,
    Healthcheck,
    ImageConfig,
    Port,
    StatePath,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BaseRecord,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.sealing import (
    config_manifest,
    image_config,
    reference,
    run_line,
    seal,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import LAYER_GZIP
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

EPOCH = 1_700_000_000
BASE = BaseRecord("base", (), EPOCH, "bookworm", "arm64", 1.0)
PLAIN = Definition(
    "shop", Path("/images/shop.yml"), "shop.yml", "sha256:d", Debootstrap("bookworm")
)
WHOLE = dataclasses.replace(
    PLAIN,
    description="the shop's front",
    config=ImageConfig(
        user="33:33",
        entrypoint=("/usr/sbin/nginx", "-g", "daemon off;"),
        cmd=(),
        env={"TZ": "UTC", "A": "1"},
        ports=(Port(8080), Port(53, "udp")),
        volumes=("/srv/uploads",),
        working_dir="/srv",
        stop_signal="SIGQUIT",
        labels={"org.opencontainers.image.vendor": "Example"},
        healthcheck=Healthcheck(("CMD", "/check"), 1, 2, 3, 4),
    ),
    state=(
        StatePath("/run/shop", "tmpfs", "33:34", "0750"),
        StatePath("/var/lib/shop"),
    ),
)


def test_a_definition_becomes_the_configuration() -> None:
    config = image_config(WHOLE, BASE, EPOCH)
    assert (config.architecture, config.created) == ("arm64", EPOCH)
    assert config.user == "33:33"
    assert config.entrypoint == ("/usr/sbin/nginx", "-g", "daemon off;")
    assert config.env == (("TZ", "UTC"), ("A", "1"))
    assert config.ports == ("8080/tcp", "53/udp")
    assert config.working_dir == "/srv"
    assert config.stop_signal == "SIGQUIT"
    check = config.healthcheck
    assert check is not None
    assert (check.test, check.interval_ns, check.timeout_ns) == (("CMD", "/check"), 1, 2)
    assert (check.start_period_ns, check.retries) == (3, 4)


def test_state_volumes_are_volumes_of_the_image_and_tmpfs_is_not() -> None:
    assert image_config(WHOLE, BASE, EPOCH).volumes == ("/srv/uploads", "/var/lib/shop")


def test_labels_say_what_the_image_is() -> None:
    labels = image_config(WHOLE, BASE, EPOCH).labels
    assert labels["io.kiln.image"] == "shop"
    assert labels["io.kiln.suite"] == "bookworm"
    assert labels["org.opencontainers.image.title"] == "shop"
    assert labels["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert labels["org.opencontainers.image.description"] == "the shop's front"
    assert labels["org.opencontainers.image.vendor"] == "Example"
    assert json.loads(labels["io.kiln.state"]) == [
        {"path": "/run/shop", "kind": "tmpfs", "owner": "33:34", "mode": "0750"},
        {"path": "/var/lib/shop", "kind": "volume", "owner": "0:0", "mode": "0755"},
    ]


def test_a_definition_that_says_nothing_asks_for_nothing() -> None:
    config = image_config(PLAIN, BASE, EPOCH)
    assert config.entrypoint is None
    assert config.cmd is None
    assert config.healthcheck is None
    assert "io.kiln.state" not in config.labels
    assert "org.opencontainers.image.description" not in config.labels


CONFIG = WHOLE.config


@pytest.mark.parametrize(
    "change",
    [
        {"description": "another"},
        {"series": "1.1"},
        {"state": WHOLE.state[:1]},
        {"state": (WHOLE.state[0], dataclasses.replace(WHOLE.state[1], mode="0700"))},
        {"config": dataclasses.replace(CONFIG, user="34")},
        {"config": dataclasses.replace(CONFIG, entrypoint=None)},
        {"config": dataclasses.replace(CONFIG, cmd=("x",))},
        {"config": dataclasses.replace(CONFIG, env={"A": "1", "TZ": "UTC"})},
        {"config": dataclasses.replace(CONFIG, ports=(Port(8080, "udp"),))},
        {"config": dataclasses.replace(CONFIG, volumes=())},
        {"config": dataclasses.replace(CONFIG, working_dir="/")},
        {"config": dataclasses.replace(CONFIG, stop_signal="")},
        {"config": dataclasses.replace(CONFIG, labels={})},
        {"config": dataclasses.replace(CONFIG, healthcheck=None)},
        {"config": dataclasses.replace(CONFIG, healthcheck=Healthcheck(("NONE",)))},
    ],
)
def test_a_changed_configuration_is_another_bake(change: dict[str, Any]) -> None:
    changed = dataclasses.replace(WHOLE, **change)
    assert config_manifest(changed) != config_manifest(WHOLE)


def test_where_a_definition_lies_makes_no_other_bake() -> None:
    moved = dataclasses.replace(WHOLE, path=Path("/elsewhere/shop.yml"), digest="sha256:e")
    assert config_manifest(moved) == config_manifest(WHOLE)


def test_sealing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.ensure()
    blob = layout.put(b"a layer", LAYER_GZIP)
    base = dataclasses.replace(BASE, layers=(Layer(blob, "sha256:" + "1" * 64, 7),))
    layers = [
        LayerRecord("k1", "checks", None, 1.0, {}),
        LayerRecord("k2", "nginx", Layer(blob, "sha256:" + "2" * 64, 7), 2.0, {}),
    ]
    image = seal(layout, WHOLE, base, layers)
    slower = [dataclasses.replace(one, seconds=9.0) for one in layers]
    assert seal(layout, WHOLE, base, slower) == image
    assert len(image.layers) == 2
    history = json.loads(layout.read(image.config))["history"]
    assert [step["created_by"] for step in history] == [
        "kiln: base bookworm",
        "kiln: checks",
        "kiln: nginx",
    ]


def test_an_image_is_named_by_name_and_version() -> None:
    assert reference("shop", "1.0.4") == "kiln/shop:1.0.4"


def test_the_run_line_gives_an_image_its_state_and_ports_and_nothing_more() -> None:
    assert run_line(WHOLE, "kiln/shop:1.0.4") == (
        "docker run --detach --read-only --cap-drop ALL --security-opt no-new-privileges"
        " --tmpfs /run/shop:uid=33,gid=34,mode=0750 --volume shop-var-lib-shop:/var/lib/shop"
        " --publish 8080:8080/tcp --publish 53:53/udp kiln/shop:1.0.4"
    )


def test_the_run_line_can_be_pasted_whatever_a_path_holds() -> None:
    odd = dataclasses.replace(PLAIN, state=(StatePath("/srv/a b$(id)"),))
    line = run_line(odd, "kiln/shop:1.0.4")
    assert shlex.split(line)[-2].endswith(":/srv/a b$(id)")
    assert "'" in line

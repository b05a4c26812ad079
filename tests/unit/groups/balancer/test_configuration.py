# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy's file for a group says, and what of it needs a reload."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer.configuration import (
    Balance,
    Service,
    Slot,
    free_slots,
    render,
    structure,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    HealthCheck,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Traffic

HTTP = HealthCheck("http", port=8080, path="/healthz", interval=0.5, healthy=2, unhealthy=3)
GROUP = Balance("web", (Service(80, 8080),), (HTTP,), free_slots(3))


def with_slot(balance: Balance, **changes: object) -> Balance:
    first, *others = balance.slots
    return replace(balance, slots=(replace(first, **changes), *others))  # type: ignore[arg-type]


TAKEN = with_slot(GROUP, address="172.18.128.4", ports=(8080,), traffic=Traffic.READY, weight=10)


def servers(balance: Balance) -> list[str]:
    return [line.strip() for line in render(balance).splitlines() if " server " in line]


def test_an_empty_slot_has_no_address_and_no_traffic() -> None:
    assert servers(GROUP)[0] == "server slot1 0.0.0.0:8080 weight 100 disabled"


def test_a_slot_comes_back_after_a_restart_with_its_address_and_weight() -> None:
    assert servers(TAKEN)[0] == "server slot1 172.18.128.4:8080 weight 10"


def test_a_drained_slot_stays_drained_after_a_restart() -> None:
    drained = with_slot(TAKEN, traffic=Traffic.DRAIN)
    assert servers(drained)[0] == "server slot1 172.18.128.4:8080 weight 0"


def test_a_slot_that_was_released_stays_out_after_a_restart() -> None:
    assert servers(with_slot(TAKEN, traffic=Traffic.OUT))[0].endswith("disabled")


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert "[fd00::2]:8080" in servers(with_slot(TAKEN, address="fd00::2"))[0]


def test_a_check_has_the_thresholds_of_the_definition() -> None:
    text = render(GROUP)
    assert "uri '/healthz' ver HTTP/1.1" in text
    assert "default-server check inter 500ms" in text
    assert "default-server rise 2 fall 3" in text


def test_a_check_of_another_port_says_which() -> None:
    text = render(replace(GROUP, checks=(replace(HTTP, port=9090),)))
    assert "http-check connect port 9090" in text


def test_with_two_services_each_checks_its_own_port() -> None:
    two = replace(
        GROUP,
        services=(Service(80, 8080), Service(5432, 5432, "tcp")),
        checks=(HTTP, HealthCheck("tcp", port=5432)),
    )
    first, second = render(two).split("\nbackend be_5432")
    assert "uri '/healthz'" in first
    assert "tcp-check connect" not in first
    assert "tcp-check connect" in second
    assert "http" not in second


def test_a_request_that_changes_something_is_never_sent_twice() -> None:
    assert "disable-l7-retry unless { method GET HEAD OPTIONS }" in render(GROUP)


@pytest.mark.parametrize("traffic", list(Traffic))
def test_what_instances_do_needs_no_reload(traffic: Traffic) -> None:
    changed = with_slot(TAKEN, traffic=traffic, address="10.0.0.1", ports=(20001,))
    assert structure(render(changed)) == structure(render(GROUP))


@pytest.mark.parametrize(
    "other",
    [
        replace(GROUP, services=(Service(81, 8080),)),
        replace(GROUP, checks=(replace(HTTP, path="/ready"),)),
        replace(GROUP, slots=free_slots(4)),
        replace(GROUP, algorithm="leastconn"),
    ],
)
def test_what_the_group_is_needs_a_reload(other: Balance) -> None:
    assert structure(render(other)) != structure(render(GROUP))


def test_a_path_cannot_leave_its_word() -> None:
    text = render(replace(GROUP, checks=(replace(HTTP, path="/a b'c"),)))
    assert "uri '/a b'\\''c' ver" in text


def test_slots_have_names_of_their_own() -> None:
    assert [slot.name for slot in free_slots(2)] == ["slot1", "slot2"]
    assert Slot("slot1").taken is False

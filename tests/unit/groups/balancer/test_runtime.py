# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy's runtime socket is told, and how its answers are understood."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer import runtime
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer.configuration import (
    Balance,
    Service,
    Slot,
    free_slots,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer.runtime import (
    SlotState,
    parse_state,
    refuse_errors,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Health, Traffic

BALANCE = Balance("web", (Service(80, 8080),), (), free_slots(1))
SLOT = Slot("slot1", "172.18.128.4", (8080,), Traffic.DRAIN, 100)

# As HAProxy 2.6 gives them; the columns of the second that are not read are left out.
STATE = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    " srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health"
    " srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord\n"
    "3 be_80 1 slot1 {address} 2 {admin} {weight} 100 1 15 3 4 6 0 0 0 - 8080 -\n\n"
)
STATISTICS = (
    "# pxname,svname,qcur,scur,status,check_status,check_code,check_health,last_chk,\n"
    "be_80,FRONTEND,,1,OPEN,,,,,\n"
    "be_80,slot1,{queued},{current},{status},{check},200,{health},,\n"
    "be_80,BACKEND,0,1,UP,,,,,\n\n"
)


def answer(
    *,
    admin: int = 0,
    weight: int = 100,
    status: str = "UP",
    check: str = "L7OK",
    health: int = 4,
    address: str = "172.18.128.4",
    current: int = 0,
    queued: int = 0,
) -> SlotState:
    text = STATE.format(address=address, admin=admin, weight=weight) + STATISTICS.format(
        queued=queued, current=current, status=status, check=check, health=health
    )
    (found,) = parse_state(BALANCE, text)
    return found


def test_a_new_instance_is_down_until_its_checks_bring_it_up() -> None:
    commands = runtime.take(BALANCE, SLOT)
    assert commands == [
        "set server be_80/slot1 state maint",
        "set server be_80/slot1 addr 172.18.128.4 port 8080",
        "set server be_80/slot1 state drain",
        "set server be_80/slot1 health down",
    ]


@pytest.mark.parametrize("check", ["INI", "* INI"])
def test_nobody_is_healthy_before_the_first_check_of_a_balancer_that_just_began(
    check: str,
) -> None:
    assert answer(status="UP", check=check).health is Health.UNKNOWN
    assert answer(admin=8, status="DRAIN", check=check).health is Health.UNKNOWN


def test_the_weight_is_set_before_the_traffic_comes() -> None:
    assert runtime.send(BALANCE, SLOT) == [
        "set server be_80/slot1 weight 100",
        "set server be_80/slot1 state ready",
    ]


@pytest.mark.parametrize(
    ("admin", "weight", "traffic"),
    [
        (0, 100, Traffic.READY),
        (4, 100, Traffic.READY),  # disabled in the file, enabled since
        (8, 100, Traffic.DRAIN),
        (0, 0, Traffic.DRAIN),  # drained before a restart
        (1, 100, Traffic.OUT),
        (5, 100, Traffic.OUT),
    ],
)
def test_traffic_is_what_the_admin_state_says(admin: int, weight: int, traffic: Traffic) -> None:
    assert answer(admin=admin, weight=weight).slot.traffic is traffic


def test_the_last_check_of_an_earlier_instance_proves_nothing() -> None:
    # The socket goes on to show L7OK until the first check of the new one.
    assert answer(admin=8, status="DOWN", check="L7OK", health=0).health is Health.UNKNOWN


def test_an_instance_on_its_way_up_does_not_fail_yet() -> None:
    assert answer(admin=8, status="DOWN 1/2", check="L7OK", health=1).health is Health.UNKNOWN


def test_an_instance_that_has_traffic_and_is_down_fails() -> None:
    assert answer(status="DOWN", check="L4CON", health=0).health is Health.FAILING


@pytest.mark.parametrize("status", ["UP", "UP 2/3", "DRAIN", "NOLB"])
def test_an_instance_that_is_up_passes(status: str) -> None:
    assert answer(status=status).health is Health.PASSING


def test_requests_that_wait_for_an_instance_are_in_flight_too() -> None:
    assert answer(current=3, queued=2).connections == 5


def test_a_slot_without_address_is_not_taken() -> None:
    assert not answer(address="0.0.0.0", admin=1, status="MAINT").slot.taken


def test_with_two_services_the_worse_counts() -> None:
    two = Balance("web", (Service(80, 8080), Service(81, 8081)), (), free_slots(1))
    state = STATE.format(address="10.0.0.1", admin=0, weight=100)
    state = state.rstrip("\n") + "\n" + state.splitlines()[2].replace("be_80", "be_81") + "\n\n"
    head, first = STATISTICS.splitlines()[0], STATISTICS.splitlines()[2]
    rows = [
        first.format(queued=0, current=1, status="UP", check="L7OK", health=4),
        first.replace("be_80", "be_81").format(
            queued=0, current=2, status="DOWN", check="L4CON", health=0
        ),
    ]
    (found,) = parse_state(two, state + "\n".join([head, *rows]) + "\n")
    assert found.health is Health.FAILING
    assert found.connections == 3
    assert found.slot.ports == (8080, 8080)


@pytest.mark.parametrize(
    "said", ["", "\n\n", "IP changed from '0.0.0.0' to '10.0.0.1', port changed from '+0'\n"]
)
def test_silence_and_news_of_addresses_are_no_errors(said: str) -> None:
    refuse_errors(said)


def test_an_error_of_haproxy_is_told() -> None:
    with pytest.raises(DriverError, match="No such server"):
        refuse_errors("\nNo such server.\n\n")


def test_no_statistics_are_an_error_not_an_empty_balancer() -> None:
    with pytest.raises(DriverError, match="gave no statistics"):
        parse_state(BALANCE, "Permission denied\n")

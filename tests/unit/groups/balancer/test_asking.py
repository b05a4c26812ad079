# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A balancer is asked through one program, for as long as there are questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.conversation import (
    Conversation,
    Ended,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.client import Client
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer.configuration import (
    Balance,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.balancer.container import (
    Balancer,
    Site,
    asking,
)

PROGRAM = """\
#!/bin/sh
echo "$$" >>"$(dirname "$0")/started"
case "$1 $2" in
"ask ") ;;
"ask fail") echo "it said why" >&2; exit 3 ;;
"ask end") kill -9 "$PPID" ;;
"ask set"*) ;;
"ask "*) echo "a note" >&2; echo "to $2"; echo "of two lines" ;;
"write fail") echo "no file" >&2; exit 4 ;;
"write "*) cat >"$(dirname "$0")/kept" ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "balancer"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Nearby(Client):
    """A client whose container is this machine."""

    program: str = ""
    begun: list[Conversation] = field(default_factory=list)

    def converse(self, *arguments: str) -> Conversation:
        kept = str(Path(self.program).with_name("kept"))
        self.begun.append(Conversation(asking(self.program, kept)))
        return self.begun[-1]


def never(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> Completed:
    raise AssertionError(argv)


@pytest.fixture
def balancer(program: Path) -> Iterator[Balancer]:
    client = Nearby(runner=never, program=str(program))
    made = Balancer(client, "shop", Site("image", "net"), Balance("shop", ()))
    yield made
    made.close()


def begun(balancer: Balancer) -> int:
    client = balancer.client
    assert isinstance(client, Nearby)
    return len(client.begun)


def test_one_program_answers_all_questions(balancer: Balancer) -> None:
    with pytest.raises(DriverError, match="gave no statistics: to show servers state"):
        balancer.states()
    with pytest.raises(DriverError, match="gave no statistics"):
        balancer.states()
    assert begun(balancer) == 1


@pytest.mark.parametrize("looks", [True, False])
def test_what_is_to_be_kept_arrives_whole(
    balancer: Balancer, program: Path, *, looks: bool
) -> None:
    balancer.balance = Balance("shop" * 50_000, ())
    balancer.write(["set server a/b state drain"], looks=looks)
    balancer.write(looks=looks)
    assert (program.parent / "kept").read_text().count("shop") == 50_000
    assert begun(balancer) == 1


@pytest.mark.parametrize(("looks", "why"), [(True, "no file"), (False, "it said why")])
def test_a_failure_says_why_and_the_next_question_is_asked_of_a_new_program(
    balancer: Balancer, why: str, *, looks: bool
) -> None:
    with pytest.raises(DriverError, match=f"did not do what it was told: {why}"):
        balancer.write(["fail"], looks=looks)
    balancer.write()
    assert begun(balancer) == 2


def test_a_program_that_ended_meanwhile_is_begun_again(balancer: Balancer) -> None:
    balancer.write()
    client = balancer.client
    assert isinstance(client, Nearby)
    with pytest.raises(Ended):
        client.begun[0].ask(b"m - end\n", b"m", 20.0)
    balancer.write()
    assert begun(balancer) == 2


def test_a_container_that_is_not_there_is_an_error_with_what_the_engine_said() -> None:
    class Gone(Nearby):
        def converse(self, *arguments: str) -> Conversation:
            self.begun.append(Conversation(["sh", "-c", "echo No such container >&2; exit 1"]))
            return self.begun[-1]

    client = Gone(runner=never)
    balancer = Balancer(client, "shop", Site("image", "net"), Balance("shop", ()))
    with pytest.raises(DriverError, match="does not answer: No such container"):
        balancer.states()
    assert len(client.begun) == 1


def test_an_answer_that_does_not_come_ends_the_conversation() -> None:
    silent = Conversation(["sleep", "60"])
    with pytest.raises(Ended, match="did not answer within 0"):
        silent.ask(b"anything\n", b"m", 0.05)
    silent.close()

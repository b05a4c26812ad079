# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done at a place, step by step; in check mode the steps are only named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import DriverError


@dataclass(frozen=True, slots=True)
class Steps:
    """The changes that a publication makes, in their order.

    :param acts: whether they are made; otherwise they are listed only.
    :param say: told of each that is made, as some take minutes.
    """

    acts: bool
    say: Callable[[str], None]
    taken: list[str] = field(default_factory=list)

    def take(self, what: str, act: Callable[[], Any]) -> Any:
        """Note *what*, and do it by *act*, whose result this gives; None where nothing is done."""
        self.taken.append(what)
        if not self.acts:
            return None
        self.say(what)
        return act()


@contextlib.contextmanager
def library(package: str, *, place: str) -> Iterator[None]:
    """Turn the ImportError of the block into the sentence that says what to install.

    :param package: as pip knows it.
    """
    try:
        yield
    except ImportError as error:
        raise DriverError(
            f"Publishing to {place} needs the Python package {package} on the controller.",
            hint=f"pip install {package}",
        ) from error

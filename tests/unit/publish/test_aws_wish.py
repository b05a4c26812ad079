# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wished of AWS and cannot be had is refused before anything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.publish.aws import AwsWish, is_older

WISH = AwsWish("eu-central-1", "web-vm-1.0.3")
SHARED = replace(WISH, encrypted=True, shared_with=("123456789012",))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (replace(WISH, name="a*"), "option name is 'a\\*'"),
        (replace(WISH, region="Frankfurt"), "'Frankfurt' is no region"),
        (replace(WISH, copies=("eu-central-1",)), "names a region twice"),
        (replace(WISH, shared_with=("12",)), "shared_with has '12'.*twelve digits"),
        (replace(WISH, kms_keys={"eu-central-1": "arn"}), "kms_keys needs encrypted: true"),
        (SHARED, "image in eu-central-1 cannot be shared.*Name a key"),
    ],
)
def test_what_cannot_be_is_refused(wish: AwsWish, said: str) -> None:
    with pytest.raises(DriverError, match=said):
        wish.check()


def test_what_can_be_is_not_refused() -> None:
    replace(
        SHARED,
        kms_keys={"eu-central-1": "arn:1", "us-gov-east-1": "arn:2"},
        copies=("us-gov-east-1",),
    ).check()


def test_versions_are_compared_as_numbers() -> None:
    assert is_older("1.0.9", "1.0.10")
    assert not is_older("1.0.10", "1.0.9")
    assert not is_older("1.0.9", "1.0.9")
    assert not is_older("by hand", "1.0.9")

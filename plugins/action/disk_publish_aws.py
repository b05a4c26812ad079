# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a version's disk as a machine image of AWS; see the module of the same name."""

from __future__ import annotations

from datetime import UTC, datetime

from ..module_utils.build.home import Home
from ..module_utils.core.errors import DriverError
from ..module_utils.publish.steps import Steps
from ..module_utils.publish.subject import Subject
from ..plugin_utils.publish_action import (
    VERSION_ARGS,
    PublishAction,
    Published,
    variable_name,
)


class ActionModule(PublishAction):
    """The action ``kiln.immutable.disk_publish_aws``."""

    FORMATS = ("raw", "vhd")
    _VALID_ARGS = VERSION_ARGS | {
        "region",
        "profile",
        "name",
        "copies",
        "encrypted",
        "kms_keys",
        "shared_with",
        "tags",
        "volume_type",
        "tpm",
        "deprecate_after",
        "parallel",
        "timeout",
    }

    def publish(self, subject: Subject, steps: Steps, home: Home) -> Published:
        """Register, copy, share; deprecate what is older."""
        from ..module_utils.publish.aws import (
            AwsPublication,
            AwsWish,
            aws_clients,
            default_region,
        )

        profile = self.text("profile")
        region = self.text("region") or default_region(profile)
        if not region:
            raise DriverError("No region of AWS is named.", hint="Set region, or AWS_REGION.")
        parallel = max(1, int(self.number("parallel", 16)))
        wish = AwsWish(
            region=region,
            name=self.text("name") or subject.label,
            copies=tuple(self.listed("copies")),
            encrypted=self.flag("encrypted"),
            kms_keys=self.mapping("kms_keys"),
            shared_with=tuple(self.listed("shared_with")),
            tags=self.mapping("tags"),
            volume_type=self.text("volume_type") or "gp3",
            tpm=self.flag("tpm"),
            deprecate_after=self._days(),
            parallel=parallel,
            timeout=self.number("timeout", 3600),
        )
        images = AwsPublication(
            subject,
            wish,
            aws_clients(profile, parallel=parallel),
            home.root / "publishing",
            steps,
            datetime.now(UTC),
        ).run()
        facts = {"region": region, "name": wish.name, "images": images}
        return Published(facts, {f"{variable_name(subject.image)}_ami": images} if images else {})

    def _days(self) -> int | None:
        if self.text("deprecate_after") is None:
            return None
        days = self.number("deprecate_after", 1)
        if days < 1 or days != int(days):
            raise DriverError("The option deprecate_after must be a whole number of days from 1.")
        return int(days)

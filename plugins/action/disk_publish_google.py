# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a version's disk as an image of Google's Compute Engine; see the module of the name."""

from __future__ import annotations

from ..module_utils.build.home import Home
from ..module_utils.core.errors import DriverError
from ..module_utils.publish.steps import Steps
from ..module_utils.publish.subject import Subject
from ..plugin_utils.publish_action import VERSION_ARGS, PublishAction, Published, variable_name


class ActionModule(PublishAction):
    """The action ``kiln.immutable.disk_publish_google``."""

    FORMATS = ("tar.gz",)
    _VALID_ARGS = VERSION_ARGS | {
        "project",
        "bucket",
        "name",
        "family",
        "locations",
        "labels",
        "features",
        "timeout",
    }

    def publish(self, subject: Subject, steps: Steps, home: Home) -> Published:
        """Upload the archive, and make the image of it."""
        from ..module_utils.publish.google import (
            GooglePublication,
            GoogleWish,
            google_clients,
            image_name,
        )

        features = self.listed("features")
        wish = GoogleWish(
            project=self._asked("project"),
            name=self.text("name") or image_name(subject),
            family=self.text("family") or "",
            locations=tuple(self.listed("locations")),
            labels=self.mapping("labels"),
            timeout=self.number("timeout", 3600),
            **({"features": tuple(features)} if features else {}),
        )
        wish.check(subject)
        google = google_clients(project=wish.project, bucket=self._asked("bucket"))
        link = GooglePublication(subject, wish, google, steps).run()
        variable = f"{variable_name(subject.image)}_image"
        return Published({"link": link, "name": wish.name}, {variable: link} if link else {})

    def _asked(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise DriverError(f"The option {name} is not given.", hint=f"-e kiln_google_{name}=...")
        return value

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a version's disk as a machine image of Azure; see the module of the same name."""

from __future__ import annotations

import os

from ..module_utils.build.home import Home
from ..module_utils.core.errors import DriverError
from ..module_utils.publish.steps import Steps
from ..module_utils.publish.subject import Subject
from ..plugin_utils.publish_action import VERSION_ARGS, PublishAction, Published, variable_name


class ActionModule(PublishAction):
    """The action ``kiln.immutable.disk_publish_azure``."""

    FORMATS = ("vhd",)
    _VALID_ARGS = VERSION_ARGS | {
        "subscription",
        "resource_group",
        "location",
        "storage_account",
        "storage_account_id",
        "container",
        "name",
        "gallery",
        "definition",
        "regions",
        "tags",
        "endpoint",
        "parallel",
        "timeout",
    }

    def publish(self, subject: Subject, steps: Steps, home: Home) -> Published:
        """Upload the page blob, and make the image of it."""
        from ..module_utils.publish.azure import AzurePublication, AzureWish, azure_clients

        subscription = self.text("subscription") or os.environ.get("AZURE_SUBSCRIPTION_ID", "")
        if not subscription:
            raise DriverError(
                "No subscription of Azure is named.",
                hint="Set subscription, or AZURE_SUBSCRIPTION_ID.",
            )
        group = self._asked("resource_group")
        connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
        account = self.text("storage_account") or ""
        if not account and not connection:
            raise DriverError(
                "No storage account of Azure is named.",
                hint="Set storage_account, or AZURE_STORAGE_CONNECTION_STRING.",
            )
        gallery, definition = self.text("gallery"), self.text("definition")
        if (gallery is None) != (definition is None):
            raise DriverError("The options gallery and definition need each other.")
        account_id = self.text("storage_account_id") or (
            f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage"
            f"/storageAccounts/{account}"
        )
        wish = AzureWish(
            resource_group=group,
            location=self._asked("location"),
            name=self.text("name") or subject.label,
            gallery=(gallery, definition) if gallery and definition else None,
            regions=tuple(self.listed("regions")),
            account_id=account_id,
            tags=self.mapping("tags"),
            parallel=max(1, int(self.number("parallel", 8))),
            timeout=self.number("timeout", 3600),
        )
        azure = azure_clients(
            account=account,
            container=self.text("container") or "disks",
            subscription=subscription,
            connection_string=connection,
            endpoint=self.text("endpoint") or "",
        )
        image = AzurePublication(subject, wish, azure, steps).run()
        variable = f"{variable_name(subject.image)}_image_id"
        return Published({"id": image}, {variable: image} if image else {})

    def _asked(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise DriverError(f"The option {name} is not given.", hint=f"-e kiln_azure_{name}=...")
        return value

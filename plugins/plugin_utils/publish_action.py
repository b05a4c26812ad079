# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that publish a version's disk to a place share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.build.home import Home
from ..module_utils.core import canonical
from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.publish.steps import Steps
from ..module_utils.publish.subject import Subject, choose
from .catalog_action import CatalogAction
from .wanted_version import stored_image, wanted_version

VERSION_ARGS = frozenset({"image", "version", "channel", "tfvars"})


@dataclass(frozen=True, slots=True)
class Published:
    """What a place has after a publication.

    :param facts: what the task returns of it, by the documented names.
    :param tfvars: what Terraform is told, by variable.
    """

    facts: Mapping[str, Any]
    tfvars: Mapping[str, Any]


class PublishAction(CatalogAction):
    """An action that brings one disk to a place where machines are started from it."""

    FORMATS: Sequence[str] = ()
    """What the place takes, the best first."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Publish the disk, or in check mode say which steps that takes."""
        from ..module_utils.build.disk.artefact import disks_of

        shop = self.shop(task_vars)
        version = wanted_version(self, self.catalog(task_vars))
        named = f"{version.image} {version.number}"
        disks = disks_of(shop.layout, stored_image(shop, version).index)
        disk = choose(disks, self.FORMATS, named=named)
        subject = Subject(version.image, version.number, version.index, disk, shop.layout)
        tfvars = self._tfvars()
        steps = Steps(acts=not self._task.check_mode, say=self.say)
        done = self.publish(subject, steps, shop.home)
        if tfvars is not None and done.tfvars:
            write_tfvars(tfvars, done.tfvars, steps)
        result: dict[str, Any] = {
            "changed": bool(steps.taken),
            "image": version.image,
            "version": version.number,
            "digest": version.index,
            "disk": disk.blob.digest,
            "steps": list(steps.taken),
            **done.facts,
        }
        if self._task.diff:
            after = "".join(f"{step}\n" for step in steps.taken)
            result["diff"] = {"before": "", "after": after}
        return result

    @abstractmethod
    def publish(self, subject: Subject, steps: Steps, home: Home) -> Published:
        """Bring *subject* to the place; each action does its own."""

    def flag(self, name: str, default: bool = False) -> bool:
        """Return the option *name*, a truth value."""
        value = self._task.args.get(name)
        if value is None or value == "":
            return default
        try:
            return bool(boolean(value))
        except TypeError as error:
            raise DriverError(f"The option {name} must be true or false, not {value!r}.") from error

    def mapping(self, name: str) -> dict[str, str]:
        """Return the option *name*, a mapping of texts."""
        value = self._task.args.get(name) or {}
        if not isinstance(value, Mapping):
            raise DriverError(f"The option {name} must be a mapping, not {value!r}.")
        return {str(key): str(one) for key, one in value.items()}

    def _tfvars(self) -> Path | None:
        place = self.text("tfvars")
        if place is None:
            return None
        path = Path(place).expanduser().absolute()
        if not path.name.endswith(".tfvars.json"):
            raise DriverError(f"The option tfvars names {path.name}, which is no .tfvars.json.")
        return path


def write_tfvars(path: Path, values: Mapping[str, Any], steps: Steps) -> None:
    """Let the file at *path* tell Terraform *values*."""
    content = canonical.encode(values) + b"\n"
    if not path.is_file() or path.read_bytes() != content:
        steps.take(f"Write {path}", lambda: write_whole(path, content))


def variable_name(image: str) -> str:
    """Return *image* as Terraform can name a variable."""
    return image.replace(".", "_").replace("-", "_")

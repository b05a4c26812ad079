# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a version by a policy; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.wanted_version import wanted_version


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_verify``."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "policy", "required", "pull"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Tell every rule that fails; nothing is changed."""
        from ..module_utils.trust.policy import Policy
        from ..plugin_utils.judging import evidence_of, judged

        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        warnings = self.pulled(catalog, boolean(self._task.args.get("pull", True)))
        version = wanted_version(self, catalog)
        given, channel = self._task.args.get("policy"), self.text("channel")
        if given is not None and not isinstance(given, Mapping):
            raise DriverError("The option policy must be a mapping, as channels.yml has it.")
        if given is None and channel is None:
            raise DriverError("Give the option channel, whose policy counts, or a policy.")
        where = "The option policy"
        if given is None and channel is not None:
            settings = catalog.settings()
            given = settings.policy(settings.check(channel))
            where = f"{catalog.root / catalog.SETTINGS}: the policy of {channel}"
        policy = Policy.from_document(given or {}, where)
        failures = [str(one) for one in judged(shop, catalog, version, policy)]
        evidence = evidence_of(shop, catalog, version, policy)
        result: dict[str, Any] = {
            "changed": False,
            "image": version.image,
            "version": version.number,
            "digest": version.index,
            "passed": not failures,
            "failures": failures,
            "signers": sorted(evidence.signers),
            "attestations": sorted({one.statement.predicate_type for one in evidence.attested}),
            "warnings": warnings,
        }
        if failures and boolean(self._task.args.get("required", True)):
            raise DriverError(
                f"{version.image} {version.number} fails {len(failures)} rules of the policy:"
                f" {' '.join(failures)}",
                details=result,
            )
        return result

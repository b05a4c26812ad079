# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of Ansible's settings and command line has a part in what roles make of an image."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

import jinja2
from ansible import constants, context
from ansible.release import __version__ as core_version

RENDERED_BY = f"{core_version}, Jinja {jinja2.__version__}"
"""Stands in keys for what runs tasks and renders templates."""

_SETTINGS = (
    "ALLOW_BROKEN_CONDITIONALS",
    "ALLOW_EMBEDDED_TEMPLATES",
    "BECOME_ALLOW_SAME_USER",
    "DEFAULT_BECOME",
    "DEFAULT_BECOME_EXE",
    "DEFAULT_BECOME_FLAGS",
    "DEFAULT_BECOME_METHOD",
    "DEFAULT_BECOME_USER",
    "DEFAULT_EXECUTABLE",
    "DEFAULT_FORCE_HANDLERS",
    "DEFAULT_HASH_BEHAVIOUR",
    "DEFAULT_JINJA2_EXTENSIONS",
    "DEFAULT_JINJA2_NATIVE",
    "DEFAULT_NULL_REPRESENTATION",
    "DEFAULT_PRIVATE_ROLE_VARS",
    "DEFAULT_UNDEFINED_VAR_BEHAVIOR",
    "DUPLICATE_YAML_DICT_KEY",
    "ERROR_ON_MISSING_HANDLER",
    "INJECT_FACTS_AS_VARS",
    "INVALID_TASK_ATTRIBUTE_FAILED",
    "PLUGIN_FILTERS_CFG",
    "STRING_TYPE_FILTERS",
    "VARIABLE_PRECEDENCE",
)
"""Settings of ansible.cfg and the environment that can give another image.

Where plugins and roles are looked for is not among them: what is found there is in the key.
"""

_OPTIONS = ("become", "become_method", "become_user", "force_handlers")
_BECOME = ("doas", "dzdo", "ksu", "pbrun", "pfexec", "pmrun", "runas", "su", "sudo")
_ACTING = ("ansible_become", "ansible_shell", *(f"ansible_{name}" for name in _BECOME))


def settings() -> dict[str, Any]:
    """Return the part of a layer's manifest that settings give: those that are not the default."""
    known = constants.config.get_configuration_definitions()
    changed: dict[str, Any] = {}
    for name in _SETTINGS:
        value = constants.config.get_config_value(name) if name in known else None
        if name in known and str(value) != str(known[name].get("default")):
            changed[name] = value
    for name in _OPTIONS:
        value = context.CLIARGS.get(name)
        if value and value != constants.config.get_config_value(f"DEFAULT_{name.upper()}"):
            changed[f"--{name.replace('_', '-')}"] = value
    changed.update(_become_plugins())
    return {"settings": changed} if changed else {}


def _become_plugins() -> dict[str, str]:
    """Return the options that plugins of become read by themselves."""
    starts = tuple(f"ANSIBLE_{name.upper()}_" for name in _BECOME)
    found = {name: text for name, text in os.environ.items() if name.startswith(starts)}
    for parser in constants.config._parsers.values():
        for section in parser.sections():
            if section.endswith("_become_plugin"):
                found.update({f"{section}.{key}": text for key, text in parser.items(section)})
    return {name: text for name, text in sorted(found.items()) if "pass" not in name.lower()}


def implied_variables(names: Iterable[str]) -> list[str]:
    """Return those of the variables *names* that decide, unnamed by a role, who runs its tasks."""
    return [name for name in names if name.startswith(_ACTING)]


def managed() -> dict[str, str]:
    """Return the variable ``ansible_managed`` when it is the same in every bake."""
    text = str(constants.config.get_config_value("DEFAULT_MANAGED_STR"))
    return {} if "%" in text or "{" in text else {"ansible_managed": text}


def selection() -> frozenset[str]:
    """Return the tags of the command line."""
    return frozenset(tag for option in ("tags", "skip_tags") for tag in _given(option))


def _given(option: str) -> set[str]:
    return set(context.CLIARGS.get(option) or ())


_MEANINGS = frozenset({"all", "always", "never", "tagged", "untagged"})


def tags_of(mentioned: Collection[str]) -> list[list[str]]:
    """Return what the tags of the command line mean to roles that mention the tags *mentioned*."""
    return selected(_given("tags"), _given("skip_tags"), mentioned)


def selected(
    wanted: Collection[str], skipped: Collection[str], mentioned: Collection[str]
) -> list[list[str]]:
    """Return what ``--tags`` *wanted* and ``--skip-tags`` *skipped* mean to such roles.

    A layer made with some of its role's tasks is another one. To skip, or to want beside all,
    what no role mentions changes nothing.
    """
    known = _MEANINGS | set(mentioned)
    return [
        sorted(known.intersection(wanted or ["all"])) or ["none of its own"],
        sorted(known.intersection(skipped)),
    ]

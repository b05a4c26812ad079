# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task depends on, rule by rule."""

from __future__ import annotations

from dataclasses import replace

from .documents import MappingNode, SequenceNode, is_unsafe, line_of, pairs, raw_of, scalars
from .expressions import identifiers, is_template
from .mentions import short
from .modules import (
    CHECKSUM,
    COMMANDS,
    COMMIT,
    FETCHERS,
    INDEXES,
    REMOTE_OPTIONS,
    REPOSITORIES,
    URL,
    WORDS_ONLY,
    base_name,
    file_options,
)
from .notes import UNKNOWN, Reference, Source
from .reading import Reader
from .tasks import Task, tasks
from .values import texts

_PATH_LOOPS = frozenset(("with_fileglob", "with_first_found", "with_file", "with_filetree"))
_READING_OPTIONS = frozenset(("src", "file", "dir", "cmd", "url", "deb", "key"))


def read_tasks(reader: Reader, source: Source) -> None:
    """Read a list of tasks or handlers."""
    source = reader.opened(source)
    reader.words(source)
    for root in reader.composed(source):
        if "\\" in source.text:
            reader.words_of(root, secret=source.secret)
        if isinstance(root, MappingNode):
            reader.variable_values(source)
        elif isinstance(root, SequenceNode):
            for task in tasks(root, secret=source.secret):
                read_task(reader, task, source)


def read_task(reader: Reader, task: Task, source: Source) -> None:
    """Note everything that *task* depends on."""
    source = replace(source, secret=task.secret)
    scalar_options = {name: text for name in task.options if (text := task.text(name)) is not None}
    files = file_options(task.module, scalar_options) if task.module else ()
    named = {option for one in files for option in one.options}
    places = frozenset(named | {task.module, *_PATH_LOOPS} if named else _PATH_LOOPS)
    for key, node in task.own:
        reader.scan(node, source, key=key, places=places, loop=task.loop)
        if task.secret:
            reader.words_of(node, secret=True)
    _definitions(reader, task, source)
    if task.loop is not None:
        reader.repeated(task.loop, source, task.line, task.secret)
    _elsewhere(reader, task, source)
    if not task.module:
        return
    if is_template(task.module):
        reader.notes.hazard(source, task.line, "the module's name is computed")
        return
    plugin = task.module if task.module.count(".") > 1 else f"ansible.legacy.{task.module}"
    reader.notes.plugins.setdefault(plugin, (source.path, task.line))
    free = task.text("_raw_params")
    if (
        free is not None
        and is_template(free)
        and base_name(task.module) not in COMMANDS
        and "_raw_params" not in named
    ):
        reader.notes.hazard(source, task.line, "the task's options are given by an expression")
    _files(reader, task, source, scalar_options)
    _roles(reader, task, source)
    _remote(reader, task, source)


def _definitions(reader: Reader, task: Task, source: Source) -> None:
    """Values that the task gives to names."""
    notes = reader.notes
    if "vars" in task.keywords:
        for name, node in pairs(task.keywords["vars"]):
            notes.define(name, raw_of(node, UNKNOWN))
            notes.passed_on |= _words_in(raw_of(node))
    if "register" in task.keywords:
        notes.define(str(task.keywords["register"].value), UNKNOWN)
        notes.facts.add(str(task.keywords["register"].value))
    name = base_name(task.module)
    if name == "set_fact":
        for option, value in task.options.items():
            notes.define(option, value)
            notes.facts.add(option)
            notes.passed_on |= _words_in(value)
            if is_template(option):
                notes.hazard(source, task.lines[option], "the name of the fact is computed")
    notes.loads_variables = notes.loads_variables or name == "include_vars"
    if name == "include_vars" and task.text("name") is not None:
        notes.define(str(task.text("name")), UNKNOWN)
        notes.facts.add(str(task.text("name")))
    if "loop_control" in task.keywords:
        control = dict(pairs(task.keywords["loop_control"]))
        if "index_var" in control:
            notes.define(str(control["index_var"].value), UNKNOWN)


def _words_in(value: object) -> set[str]:
    return {word for text, template in texts(value) for word in identifiers(text)}


def _elsewhere(reader: Reader, task: Task, source: Source) -> None:
    """Tasks that run in another place than the image."""
    keywords = task.keywords
    delegate = keywords.get("delegate_to")
    target = "" if delegate is None else str(delegate.value).strip("{} ")
    if task.local or target not in ("", "inventory_hostname"):
        reader.notes.hazard(source, task.line, "the task runs on another host than the image")
    if "connection" in keywords:
        reader.notes.hazard(source, task.line, "the task has a connection of its own")
    if "vars" in keywords:
        for name, _value in pairs(keywords["vars"]):
            if name in ("ansible_connection", "ansible_host", "ansible_remote_addr"):
                reader.notes.hazard(source, task.line, f"the task sets {name}")
    if "module_defaults" in keywords:
        for _module, options in pairs(keywords["module_defaults"]):
            if any(option in _READING_OPTIONS for option, value in pairs(options)):
                reader.notes.hazard(source, task.line, "module_defaults name a file or an address")


def _files(reader: Reader, task: Task, source: Source, options: dict[str, str]) -> None:
    notes = reader.notes
    name = base_name(task.module)
    if name in ("template", "copy", "assemble") and any("_string" in key for key in options):
        notes.delimiters = True
    if name == "synchronize":
        notes.keeps_modes = True
    for one in file_options(task.module, options):
        for option in one.options:
            value = task.options.get(option)
            if value is None or (option == "_raw_params" and "cmd" in task.options):
                continue
            if name == "unarchive" and isinstance(value, str) and URL.search(value):
                continue
            notes.references.append(
                Reference(
                    "file",
                    f"{option if option != '_raw_params' else name}",
                    source,
                    task.lines.get(option, task.line),
                    value,
                    folder=one.folder,
                    reads=one.reads,
                    loop=task.loop,
                    secret=task.secret,
                )
            )
    if "remote_src" in options and is_template(options["remote_src"]):
        notes.hazard(source, task.line, "remote_src is given by an expression")


def _roles(reader: Reader, task: Task, source: Source) -> None:
    if base_name(task.module) not in ("include_role", "import_role"):
        return
    value = task.options.get("name", task.options.get("role"))
    if value is None:
        reader.notes.hazard(source, task.line, f"{short(task.module)} names no role")
        return
    reader.notes.references.append(
        Reference(
            "role",
            short(task.module),
            source,
            _line(task, "name", "role"),
            value,
            loop=task.loop,
            secret=task.secret,
        )
    )
    collected = task.keywords.get("collections")
    if collected is not None:
        reader.notes.collections |= {node.value for key, node in scalars(collected)}


def _remote(reader: Reader, task: Task, source: Source) -> None:
    """Bytes that come from somewhere else during the run."""
    notes = reader.notes
    name = base_name(task.module)
    if "collections" in task.keywords:
        collected = scalars(task.keywords["collections"])
        notes.collections |= {node.value for key, node in collected}
    if name in REPOSITORIES:
        revision = task.text("version") or task.text("revision") or ""
        if not COMMIT.match(revision):
            reason = "a repository is fetched without a full commit id as its version"
            notes.hazard(source, _line(task, "repo"), reason)
    elif name in INDEXES and (name != "apt_key" or {"url", "keyserver"} & set(task.options)):
        notes.hazard(source, task.line, f"{name} fetches what no lock pins")
    elif name in COMMANDS:
        _fetching_command(reader, task, source)
    elif name == "pause" and "prompt" in task.options:
        notes.hazard(source, _line(task, "prompt"), "the task asks whoever runs it")
    else:
        if name == "apt_repository" and "ppa:" in (task.text("repo") or ""):
            notes.hazard(source, _line(task, "repo"), "a PPA is looked up at its service")
        for option in REMOTE_OPTIONS.get(name, ()):
            _remote_option(reader, task, source, option)
        if name not in WORDS_ONLY and name not in REMOTE_OPTIONS:
            _download(reader, task, source)


def _line(task: Task, *options: str) -> int:
    """The line of the first of *options* that the task has, else the task's own."""
    return next((task.lines[one] for one in options if one in task.lines), task.line)


def _fetching_command(reader: Reader, task: Task, source: Source) -> None:
    for key, node in task.own:
        if key not in (task.module, "args"):
            continue
        for _key, scalar in scalars(node):
            if not is_unsafe(scalar) and FETCHERS.search(scalar.value + " "):
                reason = "the command fetches something from afar"
                reader.notes.hazard(source, line_of(scalar), reason)


def _remote_option(reader: Reader, task: Task, source: Source, option: str) -> None:
    """An option that takes a file of the controller, or an address."""
    value = task.options.get(option)
    named = value if isinstance(value, str) else ""
    line = _line(task, option)
    if URL.search(named):
        reader.notes.hazard(source, line, f"{option} fetches bytes that no checksum pins")
    elif is_template(named):
        reader.notes.references.append(
            Reference("not remote", option, source, line, value, loop=task.loop)
        )


def _download(reader: Reader, task: Task, source: Source) -> None:
    """A module that fetches what an option names: a checksum must pin it."""
    name = base_name(task.module)
    if name != "get_url" and not any(_is_address(task, one) for one in task.options):
        return
    checksum = task.options.get("checksum", task.options.get("sha256"))
    if checksum is None or name == "uri":
        reason = f"{name} fetches bytes that no checksum pins"
        reader.notes.hazard(source, _line(task, "url"), reason)
    elif not (isinstance(checksum, str) and CHECKSUM.match(checksum.strip())):
        line = _line(task, "checksum")
        reader.notes.references.append(
            Reference("checksum", "checksum", source, line, checksum, loop=task.loop)
        )


def _is_address(task: Task, option: str) -> bool:
    """Whether *option* names the address of what is fetched."""
    text = task.text(option)
    if text is None or not (option.endswith("_url") or option in ("url", "uri", "baseurl")):
        return False
    return URL.search(text) is not None or (option == "url" and is_template(text))

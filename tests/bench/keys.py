# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long the key of a layer takes whose role has many files.

    make bench BENCH=keys

It ends with 1 when the promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.build.key.documents import compose
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.inputs import (
    layer_inputs,
    layer_key,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.model import Variable
from ansible_collections.kiln.immutable.plugins.plugin_utils.collector import collect_rarely

from .sheet import Machine, bench_parser, rounds_in_words, show, spread

TASK_FILES, TEMPLATES, FILES = 60, 200, 240
TASKS_EACH = 8
LIMIT_MS = 150.0

_TASK = """\
- name: Render {file}.{number}
  ansible.builtin.template:
    src: part{template}.conf.j2
    dest: "{{{{ app_dir }}}}/{file}-{number}.conf"
    mode: "0644"
  when: app_switch_{switch} | bool
  notify: Restart {switch}
"""
_TEMPLATE = """\
# {{{{ app_title }}}}: part {number}
{{% for host in app_hosts %}}
server {{{{ host }}}} {{{{ app_port_{number} | default(80) }}}};
{{% endfor %}}
level = {{{{ app_switch_{switch} | ternary('debug', 'info') }}}}
"""


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("keys", __doc__, rounds=9).parse_args(arguments)
    machine = Machine.now(("Python", sys.version.split()[0]))
    collect_rarely()  # as the action does that computes keys
    figures: list[float] = []
    keys: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        # A tree of its own for each round: nothing that was read before helps.
        for number in range(options.rounds):
            root = Path(scratch) / str(number)
            written = write_role(root / "roles" / "app")
            compose.cache_clear()
            started = time.perf_counter()
            keys.add(_key(root))
            figures.append((time.perf_counter() - started) * 1000)
    if len(keys) != 1:
        print("bench: equal trees gave different keys", file=sys.stderr)
        return 2
    met = median(figures) <= LIMIT_MS
    verdict = f"promised: at most {LIMIT_MS:.0f} ms, {'met' if met else 'missed'}"
    figure = f"{spread(figures, 0)} ms in {rounds_in_words(options.rounds)}"
    lines = [
        *machine.lines,
        "",
        f"The key of a layer whose role has {written} files: {figure}; {verdict}.",
    ]
    show("keys", arguments, options.write, lines)
    return 0 if met else 1


def write_role(role: Path) -> int:
    """Write a role whose tasks include each other and render templates; return its files."""
    for folder in ("tasks", "templates", "files", "defaults", "handlers", "meta"):
        (role / folder).mkdir(parents=True)
    includes = ""
    for number in range(TASK_FILES - 4):
        includes += f"- name: Part {number}\n  ansible.builtin.include_tasks: part{number}.yml\n"
        tasks = "".join(
            _TASK.format(
                file=number,
                number=task,
                template=(number * TASKS_EACH + task) % TEMPLATES,
                switch=task,
            )
            for task in range(TASKS_EACH)
        )
        (role / "tasks" / f"part{number}.yml").write_text(f"---\n{tasks}", "utf-8")
    (role / "tasks" / "main.yml").write_text(f"---\n{includes}", "utf-8")
    for number in range(TEMPLATES):
        text = _TEMPLATE.format(number=number, switch=number % TASKS_EACH)
        (role / "templates" / f"part{number}.conf.j2").write_text(text, "utf-8")
    for number in range(FILES):
        (role / "files" / f"asset{number}.dat").write_text(f"{number}\n" * 400, "utf-8")
    switches = "".join(f"app_switch_{number}: true\n" for number in range(TASKS_EACH))
    (role / "defaults" / "main.yml").write_text(
        f"---\napp_dir: /etc/app\napp_title: App\napp_hosts: [a, b]\n{switches}", "utf-8"
    )
    handlers = "".join(
        f"- name: Restart {number}\n  ansible.builtin.service:\n    name: app{number}\n"
        "    state: restarted\n"
        for number in range(TASKS_EACH)
    )
    (role / "handlers" / "main.yml").write_text(f"---\n{handlers}", "utf-8")
    (role / "meta" / "main.yml").write_text("---\ndependencies: []\n", "utf-8")
    return sum(path.is_file() for path in role.rglob("*"))


def _key(root: Path) -> str:
    variables = {f"app_port_{number}": Variable(8000 + number) for number in range(TEMPLATES)}
    inputs = layer_inputs(
        "app",
        definition_dir=root / "images",
        resolve=lambda name, _relative_to: root / "roles" / name,
        variables=variables,
        declared=None,
        environment={},
        plugin_digest=lambda name: hashlib.sha256(name.encode()).hexdigest(),
        secret_key=b"bench",
    )
    if not inputs.cacheable:
        raise RuntimeError(f"the bench's role should be cacheable: {inputs.uncacheable}")
    return layer_key("parent", inputs, {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

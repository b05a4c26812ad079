# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A checkout with four small roles, as a team would have it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.inputs import (
    layer_inputs,
    layer_key,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.model import (
    LayerInputs,
    Variable,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

LAYERS = ("base", "hardening", "nginx", "app")

FILES = {
    "roles/base/tasks/main.yml": """
        ---
        - name: Install the packages that every image has
          ansible.builtin.apt:
            name: "{{ base_packages }}"
            state: present
        - name: Write the time zone
          ansible.builtin.copy:
            content: "{{ base_timezone }}\\n"
            dest: /etc/timezone
            mode: "0644"
    """,
    "roles/base/defaults/main.yml": """
        ---
        base_packages: [ca-certificates]
        base_timezone: Etc/UTC
    """,
    "roles/base/README.md": "The base role.\n",
    "roles/hardening/tasks/main.yml": """
        ---
        - name: Set kernel parameters
          ansible.builtin.template:
            src: sysctl.conf.j2
            dest: /etc/sysctl.d/60-hardening.conf
            mode: "0644"
        - name: Limit what users may do
          ansible.builtin.lineinfile:
            path: /etc/security/limits.conf
            line: "{{ item.domain }} hard {{ item.name }} {{ item.value }}"
          loop: "{{ hardening_limits }}"
        - name: Set the password of the recovery account
          ansible.builtin.user:
            name: recovery
            password: "{{ hardening_recovery_hash }}"
          no_log: true
    """,
    "roles/hardening/templates/sysctl.conf.j2": """
        # {{ ansible_managed }}
        {% for key, value in hardening_sysctl.items() %}
        {{ key }} = {{ value }}
        {% endfor %}
    """,
    "roles/hardening/defaults/main.yml": """
        ---
        hardening_sysctl:
          kernel.dmesg_restrict: 1
        hardening_limits: []
    """,
    "roles/common/defaults/main.yml": """
        ---
        common_directory: /srv
    """,
    "roles/common/tasks/main.yml": """
        ---
        - name: Make the directory
          ansible.builtin.file:
            path: "{{ common_directory }}"
            state: directory
            mode: "0755"
    """,
    "roles/nginx/meta/main.yml": """
        ---
        dependencies:
          - role: common
    """,
    "roles/nginx/tasks/main.yml": """
        ---
        - name: Read what the release needs
          ansible.builtin.include_vars: "{{ kiln_image.suite }}.yml"
        - name: Install nginx
          ansible.builtin.apt:
            name: nginx-light
        - name: Write the configuration
          ansible.builtin.template:
            src: nginx.conf.j2
            dest: /etc/nginx/nginx.conf
            mode: "0644"
          notify: Check the configuration
        - name: Write the snippets
          ansible.builtin.copy:
            src: "{{ item }}"
            dest: /etc/nginx/snippets/
            mode: "0644"
          loop:
            - tls.conf
            - headers.conf
        - name: Tell who baked it
          ansible.builtin.copy:
            content: "{{ lookup('ansible.builtin.env', 'BAKED_FOR') }}"
            dest: /etc/baked-for
            mode: "0644"
        - name: Work out the address
          ansible.builtin.set_fact:
            nginx_listen: "{{ nginx_address }}:{{ nginx_port }}"
    """,
    "roles/nginx/handlers/main.yml": """
        ---
        - name: Check the configuration
          ansible.builtin.command: nginx -t -g "{{ nginx_check_options }}"
          changed_when: false
    """,
    "roles/nginx/templates/nginx.conf.j2": """
        worker_processes {{ nginx_workers }};
        events { worker_connections {{ nginx_worker_connections }}; }
        {% include 'site.conf.j2' %}
    """,
    "roles/nginx/templates/site.conf.j2": """
        server_name {{ site_name }};
        listen {{ nginx_listen }};
        ssl_protocols {{ nginx_tls.protocols }};
    """,
    "roles/nginx/files/tls.conf": "ssl_session_tickets off;\n",
    "roles/nginx/files/headers.conf": "add_header X-Frame-Options DENY;\n",
    "roles/nginx/vars/bookworm.yml": "---\nnginx_package: nginx-light\n",
    "roles/nginx/vars/trixie.yml": "---\nnginx_package: nginx-light\n",
    "roles/nginx/defaults/main.yml": """
        ---
        nginx_workers: auto
        nginx_worker_connections: 512
        nginx_check_options: "daemon off;"
        nginx_address: 127.0.0.1
        nginx_port: 8080
    """,
    "roles/app/tasks/main.yml": """
        ---
        - name: Unpack the site
          ansible.builtin.copy:
            src: "{{ app_site }}/"
            dest: "{{ common_directory | default('/srv') }}/site/"
            mode: "0644"
        - name: Write the notice
          ansible.builtin.copy:
            content: "{{ lookup('file', 'notice.txt') }}"
            dest: /srv/notice
            mode: "0644"
        - name: Start the release script
          ansible.builtin.script: release.sh --fast {{ app_version }}
          args:
            creates: /srv/released
        - name: Use the team's module
          team.tools.site_index:
            path: /srv/site
            title: "{{ app_title | team.tools.headline }}"
    """,
    "roles/app/files/release.sh": "#!/bin/sh\ntouch /srv/released\n",
    "roles/app/defaults/main.yml": "---\napp_version: '1'\n",
    "images/web.yml": "name: web\n",
    "images/site/index.html": "<h1>site</h1>\n",
    "images/site/img/logo.svg": "<svg/>\n",
    "images/files/notice.txt": "All is well.\n",
}

VARIABLES: dict[str, object] = {
    "ansible_managed": "Ansible managed",
    "inventory_hostname": "web",
    "kiln_image": {"name": "web", "suite": "bookworm", "ports": [8080]},
    "base_packages": ["ca-certificates", "{{ base_editor }}"],
    "base_editor": "vim-tiny",
    "hardening_sysctl": {"kernel.dmesg_restrict": 1, "kernel.kptr_restrict": 2},
    "hardening_limits": [{"domain": "*", "name": "core", "value": 0}],
    "hardening_recovery_hash": "$6$salt$digest",
    "nginx_worker_connections": 1024,
    "nginx_address": "0.0.0.0",
    "nginx_tls": {"protocols": "TLSv1.3", "tickets": False},
    "site_name": "{{ team_domain }}",
    "team_domain": "www.example.org",
    "app_site": "site",
    "app_title": "Welcome",
    "unrelated": "nobody reads this",
}


@dataclass
class Site:
    """A checkout, and what the controller knows besides."""

    root: Path
    variables: dict[str, Variable] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"BAKED_FOR": "team"})
    plugins: dict[str, str] = field(default_factory=dict)
    declared: dict[str, list[str]] = field(default_factory=dict)
    secret_key: bytes = b"key of the store"

    def path(self, name: str) -> Path:
        return self.root / name

    def write(self, name: str, text: str) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.path(name)
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{old!r} is not in {name}")
        path.write_text(text.replace(old, new), encoding="utf-8")

    def set(self, name: str, value: object, *, secret: bool = False) -> None:
        self.variables[name] = Variable(value, secret=secret)

    def resolve(self, name: str, relative_to: Path | None) -> Path:
        path = self.root / "roles" / name
        if not path.is_dir():
            raise DriverError(f"There is no role {name}.")
        return path

    def inputs(self, role: str, **other: object) -> LayerInputs:
        return layer_inputs(
            role,
            definition_dir=self.root / "images",
            resolve=self.resolve,
            variables=self.variables,
            declared=self.declared.get(role),
            environment=self.environment,
            plugin_digest=lambda name: self.plugins.get(name.rpartition(".")[0], "1.0.0"),
            secret_key=self.secret_key,
            by_member=("kiln_image",),
            **other,  # type: ignore[arg-type]
        )

    def keys(self) -> dict[str, str]:
        """Return the key of each layer as if all had the same parent."""
        return {name: layer_key("parent", self.inputs(name), {}) for name in LAYERS}

    def chain(self) -> dict[str, str]:
        """Return the key of each layer above the one before."""
        parent = "base image"
        keys: dict[str, str] = {}
        for name in LAYERS:
            parent = keys[name] = layer_key(parent, self.inputs(name), {})
        return keys


def build_site(root: Path) -> Site:
    site = Site(root)
    for name, text in FILES.items():
        site.write(name, text)
    for name, value in VARIABLES.items():
        site.set(name, value)
    site.variables["hardening_recovery_hash"] = replace(
        site.variables["hardening_recovery_hash"], secret=True
    )
    return site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return build_site(tmp_path / "checkout")


@pytest.fixture
def make_site() -> Callable[[Path], Site]:
    return build_site


@pytest.fixture
def role(tmp_path: Path) -> Callable[..., LayerInputs]:
    """Analyse a role that is nothing but the files given."""

    def analyse(
        files: Mapping[str, str],
        *,
        variables: Mapping[str, object] | None = None,
        declared: list[str] | None = None,
        beside: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        **other: object,
    ) -> LayerInputs:
        site = Site(tmp_path / "single")
        for name, text in files.items():
            site.write(f"roles/one/{name}", text)
        for name, text in (beside or {}).items():
            site.write(name, text)
        site.path("images").mkdir(exist_ok=True, parents=True)
        for name, value in (variables or {}).items():
            site.variables[name] = value if isinstance(value, Variable) else Variable(value)
        site.environment = dict(environment or {})
        if declared is not None:
            site.declared["one"] = declared
        return site.inputs("one", **other)

    return analyse

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What good definitions give."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    Archive,
    Base,
    Debootstrap,
    Definition,
    Healthcheck,
    ImageConfig,
    Parent,
    Port,
    Registry,
    Seal,
    StatePath,
    Unsafe,
    Vaulted,
    load,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    AllowedSecret,
    Scan,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_schema import (
    read_definition,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.yaml_source import (
    read_source,
)
from ansible_collections.kiln.immutable.plugins.plugin_utils.bake_inputs import host_facts

EXAMPLES = Path(__file__).parents[3] / "examples" / "images"
HEAD = "base: {debootstrap: {suite: bookworm}}\n"
DIGEST = "sha256:" + "0f" * 32


def written(folder: Path, text: str, name: str = "app.yml") -> Definition:
    path = folder / name
    path.write_text(text)
    return load(path)


def test_the_web_example_is_what_it_says() -> None:
    web = load(EXAMPLES / "web.yml")

    assert web.kind == "container"
    assert (web.name, web.series, web.path) == ("web", "1.0", EXAMPLES / "web.yml")
    assert web.digest == "sha256:" + hashlib.sha256(web.path.read_bytes()).hexdigest()
    assert web.base == Debootstrap("bookworm")
    assert [layer.role for layer in web.layers] == [
        "kiln.immutable.base",
        "kiln.immutable.hardening",
        "kiln.immutable.nginx",
    ]
    assert [layer.name for layer in web.layers] == ["base", "hardening", "nginx"]
    assert web.layers[2].vars_values["nginx_port"] == 8080
    assert web.seal == Seal("remove")
    assert web.config.user == "www-data"
    assert web.config.entrypoint == ("/usr/sbin/nginx", "-e", "stderr", "-g", "daemon off;")
    assert web.config.ports == (Port(8080),)
    assert web.config.stop_signal == "SIGQUIT"
    assert web.config.healthcheck is not None
    assert web.config.healthcheck.test == ("CMD", "/usr/local/bin/nginx-healthcheck")
    assert [(state.path, state.kind, state.owner) for state in web.state] == [
        ("/run/nginx", "tmpfs", "33:33"),
        ("/var/cache/nginx", "tmpfs", "33:33"),
    ]


def test_everything_but_the_base_has_a_default(tmp_path: Path) -> None:
    definition = written(tmp_path, HEAD)

    assert definition == Definition(
        name="app",
        path=tmp_path / "app.yml",
        shown_path=str(tmp_path / "app.yml"),
        digest=definition.digest,
        base=Debootstrap("bookworm"),
    )
    assert definition.config == ImageConfig()
    assert definition.vars_source == "{}\n"


@pytest.mark.parametrize(
    ("text", "kind"), [("", "container"), ("kind: container\n", "container"), ("kind: vm\n", "vm")]
)
def test_roles_learn_what_the_image_runs_as(tmp_path: Path, text: str, kind: str) -> None:
    definition = written(tmp_path, HEAD + text)

    assert definition.kind == kind
    assert host_facts(definition)["kind"] == kind


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("debootstrap: {suite: trixie, variant: apt}", Debootstrap("trixie", variant="apt")),
        (
            f"registry: {{image: 'registry.example.org:5000/library/debian:12@{DIGEST}'}}",
            Registry(f"registry.example.org:5000/library/debian:12@{DIGEST}"),
        ),
        ("image: {name: base-os}", Parent("base-os")),
        ("image: base-os", Parent("base-os")),
    ],
    ids=["debootstrap", "registry", "image", "image, short"],
)
def test_each_kind_of_base(tmp_path: Path, text: str, base: Base) -> None:
    found = written(tmp_path, f"base:\n  {text}\n").base

    assert found == base
    assert found.kind == text.partition(":")[0]


def test_every_key_of_debootstrap(tmp_path: Path) -> None:
    definition = written(
        tmp_path,
        """
base:
  debootstrap:
    suite: bookworm
    mirror: https://mirror.example.org/debian
    components: [main, non-free-firmware]
    variant: essential
    include: [ca-certificates, g++, "libc6:i386"]
    keyring: keys/archive.gpg
    expired: accept
""",
    )

    assert definition.base == Debootstrap(
        "bookworm",
        "https://mirror.example.org/debian",
        ("main", "non-free-firmware"),
        "essential",
        ("ca-certificates", "g++", "libc6:i386"),
        tmp_path / "keys" / "archive.gpg",
        "accept",
    )


def test_the_path_of_an_archive_starts_from_the_definition(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()

    text = f"base: {{archive: {{path: ../roots/rootfs.tar, digest: '{DIGEST}'}}}}\n"
    definition = written(tmp_path / "images", text)

    assert definition.base == Archive(tmp_path / "roots" / "rootfs.tar", DIGEST)
    assert definition.base.kind == "archive"


def test_a_registry_base_knows_its_digest() -> None:
    assert Registry(f"registry.example.org/debian@{DIGEST}").digest == DIGEST


def test_every_key_of_config_and_its_forms(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        HEAD
        + """
config:
  user: 33
  entrypoint: [/usr/bin/app]
  cmd: []
  env: {TZ: UTC, EMPTY: "", LITERAL: !unsafe "{{ kept }}"}
  ports: [8080, "8081", 53/udp]
  volumes: [/srv]
  working_dir: /
  stop_signal: SIGRTMIN+3
  labels:
    org.opencontainers.image.vendor: Example
  healthcheck:
    test: curl -f http://localhost/
    interval: 1m30s
    timeout: 500ms
    start_period: 0s
    retries: 5
""",
    ).config

    assert config == ImageConfig(
        user="33",
        entrypoint=("/usr/bin/app",),
        cmd=(),
        env={"TZ": "UTC", "EMPTY": "", "LITERAL": "{{ kept }}"},
        ports=(Port(8080), Port(8081), Port(53, "udp")),
        volumes=("/srv",),
        working_dir="/",
        stop_signal="SIGRTMIN+3",
        labels={"org.opencontainers.image.vendor": "Example"},
        healthcheck=Healthcheck(
            ("CMD-SHELL", "curl -f http://localhost/"), 90 * 10**9, 5 * 10**8, 0, 5
        ),
    )
    assert [str(port) for port in config.ports] == ["8080/tcp", "8081/tcp", "53/udp"]


def test_a_state_path_alone_is_a_volume_of_root(tmp_path: Path) -> None:
    state = written(tmp_path, HEAD + 'state: [/srv/a, {path: /srv/b, mode: "750"}]\n').state

    assert state == (
        StatePath("/srv/a", "volume", "0:0", "0755"),
        StatePath("/srv/b", "volume", "0:0", "0750"),
    )


def test_a_layer_is_named_after_its_role(tmp_path: Path) -> None:
    (tmp_path / "roles" / "site").mkdir(parents=True)

    layers = written(
        tmp_path,
        HEAD
        + """
layers:
  - role: example.web.server
  - role: ./roles/site
  - role: example.docker
  - role: plain
    name: second
    inputs: []
  - {role: other, inputs: [files/*.conf]}
""",
    ).layers

    assert [layer.name for layer in layers] == ["server", "site", "docker", "second", "other"]
    assert [layer.inputs for layer in layers] == [None, None, None, (), ("files/*.conf",)]
    assert [layer.role_path for layer in layers if layer.role_path] == [tmp_path / "roles/site"]
    assert [layer.role_line for layer in layers] == [4, 5, 6, 7, 10]


VARIABLES = """
x-common: &common
  shared: [1, 2]
  port: 80
layers:
  - role: example.web.server
    vars:
      <<: *common
      port: 8080
      template: "{{ port }} {% if a %}b{% endif %}"
      password: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162
      raw: !unsafe "{{ not a template }}"
      nothing:
      in_braces: {a: , "b": yes}
      folded: >-
        one
        two
      kept: |+
        line

      same: &same {deep: true}
      again: *same
"""


def test_vars_are_kept_as_source_with_tags_and_templates(tmp_path: Path) -> None:
    (layer,) = written(tmp_path, HEAD + VARIABLES).layers

    assert layer.vars_source == (
        "shared: [1, 2]\n"
        "port: 8080\n"
        'template: "{{ port }} {% if a %}b{% endif %}"\n'
        "password: !vault |\n"
        "  $ANSIBLE_VAULT;1.1;AES256\n"
        "  6162\n"
        'raw: !unsafe "{{ not a template }}"\n'
        "nothing: null\n"
        'in_braces: {a: null, "b": yes}\n'
        "folded: |-\n"
        "  one two\n"
        'kept: "line\\n\\n"\n'
        "same: &id001 {deep: true}\n"
        "again: *id001\n"
    )


def test_vars_are_given_as_values_for_analysis(tmp_path: Path) -> None:
    (layer,) = written(tmp_path, HEAD + VARIABLES).layers

    assert layer.vars_values == {
        "shared": [1, 2],
        "port": 8080,
        "template": "{{ port }} {% if a %}b{% endif %}",
        "password": Vaulted("$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
        "raw": Unsafe("{{ not a template }}"),
        "nothing": None,
        "in_braces": {"a": None, "b": True},
        "folded": "one two",
        "kept": "line\n\n",
        "same": {"deep": True},
        "again": {"deep": True},
    }
    assert layer.vars_names[:3] == ("shared", "port", "template")


def test_the_source_of_vars_says_the_same_when_it_is_indented(tmp_path: Path) -> None:
    (layer,) = written(
        tmp_path, HEAD + VARIABLES.replace("!vault ", "").replace("!unsafe ", "")
    ).layers

    indented = "".join(f"    {line}" for line in layer.vars_source.splitlines(keepends=True))

    assert yaml.safe_load(f"- vars:\n{indented}") == [{"vars": layer.vars_values}]


def test_a_seal_says_what_is_made_and_looked_for_in_the_finished_root(tmp_path: Path) -> None:
    assert written(tmp_path, HEAD).seal.scan == Scan()
    assert written(tmp_path, HEAD + "seal: {sbom: false, scan: false}\n").seal == Seal(
        sbom=False, scan=None
    )
    allowed = "allow_secrets: [{path: /etc/*.key, reason: Tests., rule: private-key}]"
    scan = written(tmp_path, HEAD + f"seal: {{scan: {{scanners: false, {allowed}}}}}\n").seal.scan
    assert scan == Scan(
        scanners=False, allowed=(AllowedSecret("/etc/*.key", "Tests.", "private-key"),)
    )


@pytest.mark.parametrize(
    ("seal", "sentence"),
    [
        ("{sbom: 1}", "seal.sbom must be true or false"),
        ("{scan: {scanner: false}}", "did you mean"),
        ("{scan: {allow_secrets: [{path: /x}]}}", "reason"),
        ("{scan: {allow_secrets: [{path: x, reason: y}]}}", "must begin with /"),
    ],
)
def test_a_scan_that_is_wrong_is_refused(tmp_path: Path, seal: str, sentence: str) -> None:
    with pytest.raises(DriverError, match=sentence):
        written(tmp_path, HEAD + f"seal: {seal}\n")


def test_the_definition_and_the_seal_have_vars_of_their_own(tmp_path: Path) -> None:
    definition = written(tmp_path, HEAD + "vars: {a: 1}\nseal: {python: keep, vars: {b: 2}}\n")

    assert definition.vars_source == "{a: 1}\n"
    assert definition.vars_names == ("a",)
    assert (definition.seal.python, definition.seal.vars_names) == ("keep", ("b",))


def test_a_later_merge_does_not_override_an_earlier_one(tmp_path: Path) -> None:
    definition = written(
        tmp_path, HEAD + "x-a: &a {v: 1}\nx-b: &b {v: 2, w: 2}\nvars: {<<: [*a, *b]}\n"
    )

    assert definition.vars_values == {"v": 1, "w": 2}


def test_aliases_of_aliases_do_not_grow_the_work(tmp_path: Path) -> None:
    levels = "".join(f"  v{at}: &v{at} [*v{at - 1}, *v{at - 1}]\n" for at in range(1, 60))

    definition = written(tmp_path, HEAD + "vars:\n  v0: &v0 [1]\n" + levels)

    assert len(definition.vars_source) < 3000


def test_a_parser_without_libyaml_gives_the_same_definition(tmp_path: Path) -> None:
    path = tmp_path / "app.yml"
    path.write_text(HEAD + VARIABLES)

    plain = read_definition(read_source(path, str(path), loader=yaml.SafeLoader))

    assert plain == load(path)


def test_the_examples_of_the_reference_are_good_definitions(tmp_path: Path) -> None:
    text = (EXAMPLES.parents[1] / "docs" / "image-definition.md").read_text()
    blocks = [part.partition("\n```")[0] for part in text.split("```yaml\n")[1:]]

    smallest, whole = (written(tmp_path, block, "shop.yml") for block in blocks[:2])

    assert smallest.name == whole.name == "shop"
    assert [layer.name for layer in whole.layers] == ["base", "hardening", "web-server"]
    assert whole.layers[2].vars_values["shop_domain"] == "shop.example.org"

# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of bad definition gives one sentence that names file, line and key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

HEAD = "base:\n  debootstrap:\n    suite: bookworm\n"
HEX = "a" * 64

# What is wrong, the definition, and the message without the file's name.
BAD = [
    (
        "a tab for indentation",
        "base:\n\tdebootstrap: {suite: bookworm}\n",
        "2: a tab indents this line; YAML takes spaces only.",
    ),
    (
        "bad indentation",
        "base:\n  debootstrap: {suite: bookworm}\n description: x\n",
        ("3: this is not YAML: did not find expected key; check indentation, quotes and brackets."),
    ),
    (
        "an unquoted colon",
        HEAD + "description: a server: small\n",
        (
            "4: this is not YAML: a colon stands where no key can be; check the "
            "indentation, and quote a value that holds a colon and a space."
        ),
    ),
    (
        "an unclosed bracket",
        HEAD + "layers: [{role: kiln.immutable.base}\n",
        (
            "4: this is not YAML: did not find expected ',' or ']'; check indentation, "
            "quotes and brackets."
        ),
    ),
    (
        "an unquoted at sign",
        HEAD + "description: @home\n",
        "4: this is not YAML: no value begins with @; put the value into quotes.",
    ),
    (
        "an alias without its anchor",
        HEAD + "vars: *common\n",
        "4: this line uses an alias (*name) whose anchor (&name) is not above it.",
    ),
    (
        "an alias that holds itself",
        HEAD + "vars: &v\n  a: *v\n",
        "4: vars.a holds itself through an alias.",
    ),
    (
        "a merge of text",
        HEAD + "vars:\n  <<: common\n",
        (
            "5: vars.<< merges the text common; it takes an alias of a mapping, or a list "
            "of such aliases."
        ),
    ),
    (
        "text that is not UTF-8",
        b"description: caf\xe9\n",
        "1: the file is not UTF-8 text; save it as UTF-8.",
    ),
    (
        "a control character",
        HEAD + "description: a\u0007b\n",
        "4: the character '\\x07' cannot stand in YAML; remove it.",
    ),
    ("an empty file", "", "1: the file is empty; an image definition needs at least base."),
    (
        "comments alone",
        "# nothing yet\n",
        "1: the file is empty; an image definition needs at least base.",
    ),
    (
        "a list at the top",
        "- name: web\n",
        ("1: the file holds a list; an image definition is a mapping with base and layers."),
    ),
    (
        "text at the top",
        "web\n",
        ("1: the file holds the text web; an image definition is a mapping with base and layers."),
    ),
    (
        "a second document",
        HEAD + "---\nname: other\n",
        "4: a second YAML document begins; a file holds one image definition.",
    ),
    (
        "a key given twice",
        HEAD + "description: one\ndescription: two\n",
        "5: description is given twice, first on line 4; keep one.",
    ),
    (
        "a variable given twice",
        HEAD + "vars:\n  a: 1\n  a: 2\n",
        "6: vars.a is given twice, first on line 5; keep one.",
    ),
    (
        "an unquoted template",
        HEAD + "vars:\n  a: {{ b }}\n",
        '5: vars.a has a mapping for a key; put a template into quotes: "{{ name }}".',
    ),
    (
        "an unknown key close to a known one",
        HEAD + "layer: []\n",
        "4: layer is not a known key; did you mean layers?",
    ),
    (
        "an unknown key close to none",
        HEAD + "maintainer: me\n",
        (
            "4: maintainer is not a known key; the keys here are name, version, "
            "description, kind, base, vars, layers, seal, config, state, waivers and disk."
        ),
    ),
    (
        "a name that is no name",
        HEAD + "name: Web Server\n",
        (
            "4: name is Web Server; a name has small letters and digits, with single . _ or "
            "- between them."
        ),
    ),
    (
        "a reserved name",
        HEAD + "name: all\n",
        "4: name is all, which the inventory reserves; choose another.",
    ),
    (
        "a name that is too long",
        HEAD + f"name: {HEX}\n",
        "4: name has 64 characters; a name has at most 63.",
    ),
    (
        "a version that YAML reads as a number",
        HEAD + "version: 1.10\n",
        (
            "4: version is written 1.10, which YAML reads as the number 1.1; write it with "
            'quotes, "1.10".'
        ),
    ),
    (
        "a version that YAML reads as a whole number",
        HEAD + "version: 1\n",
        '4: version is the number 1; it must be text, MAJOR.MINOR such as "1.0".',
    ),
    (
        "a version with the last number",
        HEAD + 'version: "1.0.3"\n',
        (
            '4: version is 1.0.3; it must be MAJOR.MINOR such as "1.0"; the bake adds the '
            "last number."
        ),
    ),
    (
        "a version that is a boolean",
        HEAD + "version: yes\n",
        (
            "4: version is written yes, which YAML reads as the boolean true; it must be "
            'text, MAJOR.MINOR such as "1.0".'
        ),
    ),
    (
        "a description that is a date",
        HEAD + "description: 2026-01-01\n",
        '4: description is the date 2026-01-01; write it with quotes, "2026-01-01".',
    ),
    (
        "an unknown kind of image",
        HEAD + "kind: vms\n",
        "4: kind is vms; it must be container or vm (did you mean vm?).",
    ),
    (
        "no base",
        "name: web\n",
        ("1: base is missing; it must hold one of debootstrap, registry, archive or image."),
    ),
    (
        "an empty base",
        "base:\n",
        "1: base is empty; it must hold one of debootstrap, registry, archive or image.",
    ),
    (
        "an unknown kind of base",
        "base:\n  debootsrap: {suite: bookworm}\n",
        "2: base.debootsrap is not a known key; did you mean debootstrap?",
    ),
    (
        "two kinds of base",
        "base:\n  debootstrap: {suite: bookworm}\n  image: other\n",
        ("1: base has debootstrap and image; an image has exactly one base, keep one of them."),
    ),
    (
        "a base that is text",
        "base: bookworm\n",
        (
            "1: base is the text bookworm; it must be a mapping, such as {debootstrap: "
            "{suite: bookworm}}."
        ),
    ),
    (
        "an unknown suite",
        "base:\n  debootstrap: {suite: bookwrm}\n",
        (
            "2: base.debootstrap.suite is bookwrm; it must be bookworm or trixie (did you "
            "mean bookworm?)."
        ),
    ),
    (
        "no suite",
        "base:\n  debootstrap: {variant: minbase}\n",
        "2: base.debootstrap.suite is missing; it must be bookworm or trixie.",
    ),
    (
        "an unknown key of a base",
        "base:\n  debootstrap:\n    suit: bookworm\n",
        "3: base.debootstrap.suit is not a known key; did you mean suite?",
    ),
    (
        "an unknown variant",
        "base:\n  debootstrap: {suite: trixie, variant: minimal}\n",
        (
            "2: base.debootstrap.variant is minimal; it must be extract, custom, essential, "
            "apt, required, minbase, buildd, important, debootstrap or standard."
        ),
    ),
    (
        "a mirror that is no URL",
        "base:\n  debootstrap: {suite: trixie, mirror: mirror.example.org}\n",
        (
            "2: base.debootstrap.mirror is mirror.example.org; it must be a URL that begins "
            "with http://, https://, file:/// or copy:///."
        ),
    ),
    (
        "no components",
        "base:\n  debootstrap: {suite: trixie, components: []}\n",
        ("2: base.debootstrap.components is empty; give at least main, or leave the key out."),
    ),
    (
        "a registry image by tag",
        "base:\n  registry:\n    image: registry.example.org:5000/debian:12\n",
        (
            "3: base.registry.image is registry.example.org:5000/debian:12, which can "
            "become another image; write registry.example.org:5000/debian@ and the digest "
            "that `skopeo inspect --format {{.Digest}} "
            "docker://registry.example.org:5000/debian:12` prints."
        ),
    ),
    (
        "a registry image by name",
        "base:\n  registry: {image: registry.example.org/debian}\n",
        (
            "2: base.registry.image is registry.example.org/debian, which can become "
            "another image; write registry.example.org/debian@ and the digest that `skopeo "
            "inspect --format {{.Digest}} docker://registry.example.org/debian` prints."
        ),
    ),
    (
        "a registry image without its registry",
        f'base:\n  registry: {{image: "debian@sha256:{HEX}"}}\n',
        (
            "2: base.registry.image is "
            f"debian@sha256:{HEX}; "
            "it must name its registry, such as registry.example.org/debian@sha256:HEX."
        ),
    ),
    (
        "a registry image with a malformed digest",
        'base:\n  registry: {image: "registry.example.org/debian@sha256:12"}\n',
        (
            '2: base.registry.image has the digest sha256:12; a digest is "sha256:" and 64 '
            "hexadecimal digits in small letters."
        ),
    ),
    (
        "an archive without digest",
        "base:\n  archive: {path: rootfs.tar}\n",
        (
            "2: base.archive.digest is missing; write the sha256: digest of the tar, or of "
            "the manifest in the OCI layout."
        ),
    ),
    (
        "an archive with a malformed digest",
        f"base:\n  archive: {{path: rootfs.tar, digest: '{HEX}'}}\n",
        (
            "2: base.archive.digest is "
            f"{HEX}; a digest is "
            '"sha256:" and 64 hexadecimal digits in small letters.'
        ),
    ),
    (
        "a parent without name",
        "base:\n  image: {}\n",
        "2: base.image.name is missing; it must be the name of another definition.",
    ),
    (
        "a layer without role",
        HEAD + "layers:\n  - name: base\n    vars: {a: 1}\n",
        "5: layers[0].role is missing; a layer is what one role changes.",
    ),
    (
        "a layer that is text",
        HEAD + "layers:\n  - kiln.immutable.base\n",
        "5: layers[0] is text; write it as a mapping, role: kiln.immutable.base.",
    ),
    (
        "layers that are a mapping",
        HEAD + "layers:\n  role: kiln.immutable.base\n",
        ("4: layers is a mapping; it must be a list, such as [{role: kiln.immutable.base}]."),
    ),
    (
        "two layers with one name",
        HEAD + "layers:\n  - role: kiln.immutable.base\n  - role: example.web.base\n",
        (
            "6: layers[1] has the name base, as the layer on line 5 has; give one of them "
            "another name."
        ),
    ),
    (
        "a reserved layer name",
        HEAD + "layers:\n  - role: kiln.immutable.seal\n",
        (
            "5: layers[0].role gives a layer the name seal, which is reserved: the bake "
            "seals every image itself, last."
        ),
    ),
    (
        "a role path that does not exist",
        HEAD + "layers:\n  - role: ./roles/ngnix\n",
        (
            "5: layers[0].role is ./roles/ngnix, where there is no directory; did you mean "
            "./roles/nginx?"
        ),
    ),
    (
        "a role path that leads nowhere",
        HEAD + "layers:\n  - role: ../elsewhere/nginx\n",
        (
            "5: layers[0].role is ../elsewhere/nginx, where there is no directory; the path "
            "starts from the definition's own directory."
        ),
    ),
    (
        "an absolute role path",
        HEAD + "layers:\n  - role: /srv/roles/nginx\n",
        (
            "5: layers[0].role is /srv/roles/nginx; write a path role relative to the "
            "definition, with ./ or ../."
        ),
    ),
    (
        "a role path without its dot",
        HEAD + "layers:\n  - role: roles/nginx\n",
        (
            "5: layers[0].role is roles/nginx; a path role begins with ./ or ../, so write "
            "./roles/nginx."
        ),
    ),
    (
        "a templated role",
        HEAD + 'layers:\n  - role: "{{ web_role }}"\n',
        (
            "5: layers[0].role holds a template; templates are rendered in vars only; for "
            "literal braces write !unsafe before the text."
        ),
    ),
    (
        "inputs that are text",
        HEAD + "layers:\n  - role: kiln.immutable.base\n    inputs: files/*.conf\n",
        (
            "6: layers[0].inputs is the text files/*.conf; it must be a list, such as "
            "[files/*.conf]."
        ),
    ),
    (
        "vars that are a list",
        HEAD + "vars: [a, b]\n",
        "4: vars is a list; it must be a mapping, such as {nginx_port: 8080}.",
    ),
    (
        "a variable with a bad name",
        HEAD + "vars: {nginx-port: 8080}\n",
        (
            "4: vars has the key nginx-port; a variable's name has letters, digits and _, "
            "and does not begin with a digit."
        ),
    ),
    (
        "a variable that the bake sets",
        HEAD + "vars: {kiln_image: x}\n",
        "4: vars.kiln_image is set by the bake itself; choose another name.",
    ),
    (
        "an unknown tag",
        HEAD + "vars:\n  a: 1\n  b: !secret x\n",
        "6: vars.b has the tag !secret; the tags !vault and !unsafe are known.",
    ),
    (
        "a date that is none",
        HEAD + "vars:\n  a: 2026-02-31\n",
        "5: vars.a cannot be read: day is out of range for month; put it into quotes.",
    ),
    (
        "an unknown way to seal",
        HEAD + "seal: {python: removed}\n",
        "4: seal.python is removed; it must be remove or keep (did you mean remove?).",
    ),
    (
        "a key of vars in seal",
        HEAD + "seal: {pyton: keep}\n",
        "4: seal.pyton is not a known key; did you mean python?",
    ),
    (
        "an entrypoint that is text",
        HEAD + "config:\n  entrypoint: nginx -g 'daemon off;'\n",
        (
            "5: config.entrypoint is the text nginx -g 'daemon off;'; it must be a list, "
            'such as ["nginx", "-g", "daemon off;"].'
        ),
    ),
    (
        "a boolean for a text",
        HEAD + "config:\n  env:\n    DEBUG: yes\n",
        (
            "6: config.env.DEBUG is written yes, which YAML reads as the boolean true; "
            'write it with quotes, "yes".'
        ),
    ),
    (
        "a number for a text",
        HEAD + "config:\n  env: {PORT: 8080}\n",
        '5: config.env.PORT is the number 8080; write it with quotes, "8080".',
    ),
    (
        "a template outside of vars",
        HEAD + 'config:\n  env: {PORT: "{{ nginx_port }}"}\n',
        (
            "5: config.env.PORT holds a template; templates are rendered in vars only; for "
            "literal braces write !unsafe before the text."
        ),
    ),
    (
        "a key that is a boolean",
        HEAD + 'config:\n  labels: {on: "1"}\n',
        ("5: config.labels has the key on, which YAML does not read as text; put it into quotes."),
    ),
    (
        "a port out of range",
        HEAD + "config:\n  ports: [8080, 65536]\n",
        (
            "5: config.ports[1] is 65536; a port is a number from 1 to 65535, or text such "
            'as "8080/tcp" or "53/udp".'
        ),
    ),
    (
        "a range of ports",
        HEAD + 'config:\n  ports: ["8000-8010"]\n',
        (
            "5: config.ports[0] is 8000-8010; a port is a number from 1 to 65535, or text "
            'such as "8080/tcp" or "53/udp".'
        ),
    ),
    (
        "a port given twice",
        HEAD + 'config:\n  ports: [8080, "8080/tcp"]\n',
        "5: config.ports[1] is 8080/tcp, which the list has already; keep one.",
    ),
    (
        "a port with a zero in front",
        HEAD + "config:\n  ports: [0777]\n",
        (
            "5: config.ports[0] is 0777; a port is a number from 1 to 65535, or text such "
            'as "8080/tcp" or "53/udp".'
        ),
    ),
    (
        "a port of an unknown protocol",
        HEAD + "config:\n  ports: [8080/tpc]\n",
        (
            "5: config.ports[0] is 8080/tpc; a port is a number from 1 to 65535, or text "
            'such as "8080/tcp" or "53/udp".'
        ),
    ),
    (
        "a relative volume",
        HEAD + "config:\n  volumes: [./data]\n",
        "5: config.volumes[0] is ./data; it must be an absolute path, such as /data.",
    ),
    (
        "a volume with a slash at its end",
        HEAD + "config:\n  volumes: [/srv/data/]\n",
        "5: config.volumes[0] is /srv/data/; write it in its shortest form, /srv/data.",
    ),
    (
        "a relative working directory",
        HEAD + "config:\n  working_dir: srv\n",
        "5: config.working_dir is srv; it must be an absolute path, such as /srv.",
    ),
    (
        "an unknown signal",
        HEAD + "config:\n  stop_signal: SIGQUITT\n",
        "5: config.stop_signal is SIGQUITT, which is no signal; did you mean SIGQUIT?",
    ),
    (
        "a signal without SIG",
        HEAD + "config:\n  stop_signal: quit\n",
        "5: config.stop_signal is quit, which is no signal; did you mean SIGQUIT?",
    ),
    (
        "a signal by number",
        HEAD + "config:\n  stop_signal: 3\n",
        ("5: config.stop_signal is the number 3; it must be a signal's name, such as SIGTERM."),
    ),
    (
        "a user that YAML reads as base sixty",
        HEAD + "config:\n  user: 33:33\n",
        (
            "5: config.user is written 33:33, which YAML reads as the number 2013; write it "
            'with quotes, "33:33".'
        ),
    ),
    (
        "a duration without unit",
        HEAD + "config:\n  healthcheck:\n    test: [CMD, /bin/true]\n    interval: 30\n",
        (
            "7: config.healthcheck.interval is 30; it must be a duration with its unit, "
            "such as 30s, 1m30s or 500ms."
        ),
    ),
    (
        "a duration in an unknown unit",
        HEAD + "config:\n  healthcheck:\n    test: [CMD, /bin/true]\n    timeout: 3 seconds\n",
        (
            "7: config.healthcheck.timeout is 3 seconds; it must be a duration with its "
            "unit, such as 30s, 1m30s or 500ms."
        ),
    ),
    (
        "an interval of nothing",
        HEAD + "config:\n  healthcheck: {test: [CMD, /bin/true], interval: 0s}\n",
        "5: config.healthcheck.interval is 0s; it must be at least 1ms.",
    ),
    (
        "a health check without test",
        HEAD + "config:\n  healthcheck:\n    retries: 3\n",
        (
            "5: config.healthcheck.test is missing; it must be what to run, such as [CMD, "
            "/bin/check]."
        ),
    ),
    (
        "a health check without its kind",
        HEAD + "config:\n  healthcheck: {test: [/bin/true]}\n",
        (
            "5: config.healthcheck.test begins with /bin/true; its first item must be CMD, "
            "CMD-SHELL or NONE."
        ),
    ),
    (
        "retries that are none",
        HEAD + "config:\n  healthcheck: {test: [CMD, /bin/true], retries: 0}\n",
        "5: config.healthcheck.retries is 0; it must be at least 1.",
    ),
    (
        "retries that are text",
        HEAD + "config:\n  healthcheck: {test: [CMD, /bin/true], retries: many}\n",
        "5: config.healthcheck.retries is the text many; it must be a whole number.",
    ),
    (
        "a misspelt key of the health check",
        HEAD + "config:\n  healthcheck:\n    test: [CMD, /bin/true]\n    intervall: 30s\n",
        "7: config.healthcheck.intervall is not a known key; did you mean interval?",
    ),
    (
        "a mode that YAML reads as octal",
        HEAD + "state:\n  - path: /var/lib/app\n    mode: 0750\n",
        (
            "6: state[0].mode is written 0750, which YAML reads as the number 488; write it "
            'with quotes, "0750".'
        ),
    ),
    (
        "a mode that is no mode",
        HEAD + 'state:\n  - {path: /var/lib/app, mode: "u=rwx"}\n',
        (
            "5: state[0].mode is u=rwx; it must be three or four octal digits in quotes, "
            'such as "0750".'
        ),
    ),
    (
        "a mode that is a boolean",
        HEAD + "state:\n  - {path: /var/lib/app, mode: yes}\n",
        (
            "5: state[0].mode is written yes, which YAML reads as the boolean true; it must "
            'be three or four octal digits in quotes, such as "0750".'
        ),
    ),
    (
        "an owner by name",
        HEAD + 'state:\n  - {path: /var/lib/app, owner: "www-data:www-data"}\n',
        (
            '5: state[0].owner is www-data:www-data; it must be "UID:GID" in numbers, such '
            'as "33:33".'
        ),
    ),
    (
        "an owner that YAML reads as base sixty",
        HEAD + "state:\n  - {path: /var/lib/app, owner: 33:33}\n",
        (
            "5: state[0].owner is written 33:33, which YAML reads as the number 2013; write "
            'it with quotes, "33:33".'
        ),
    ),
    (
        "an unknown kind of state",
        HEAD + "state:\n  - {path: /var/lib/app, kind: tempfs}\n",
        "5: state[0].kind is tempfs; it must be volume or tmpfs (did you mean tmpfs?).",
    ),
    (
        "a state without path",
        HEAD + "state:\n  - kind: tmpfs\n",
        "5: state[0].path is missing; it must be an absolute path such as /var/lib/app.",
    ),
    (
        "a relative state path",
        HEAD + "state: [var/lib/app]\n",
        "4: state[0] is var/lib/app; it must be an absolute path, such as /var/lib/app.",
    ),
    (
        "the root as state",
        HEAD + "state: [/]\n",
        "4: state[0] is /, the whole image; name a directory below it.",
    ),
    (
        "the kernel's files as state",
        HEAD + "state: [/proc/sys]\n",
        "4: state[0] is /proc/sys, which the kernel provides; it cannot be state.",
    ),
    (
        "a state path given twice",
        HEAD + "state:\n  - /var/lib/app\n  - {path: /var/lib/app, kind: tmpfs}\n",
        "6: state[1] is the path /var/lib/app, which the list has already; keep one.",
    ),
    (
        "a state path inside of another",
        HEAD + "state:\n  - /var/lib\n  - /var/lib/app\n",
        ("6: state[1] is the path /var/lib/app, inside of /var/lib of the same list; keep one."),
    ),
    (
        "a state path around another",
        HEAD + "state:\n  - /var/lib/app\n  - /var/lib\n",
        ("6: state[1] is the path /var/lib, which holds /var/lib/app of the same list; keep one."),
    ),
    (
        "a state path that is a volume too",
        HEAD + "config:\n  volumes: [/srv]\nstate: [/srv]\n",
        "6: state[0] is the path /srv, which config.volumes has too; keep it here.",
    ),
]


@pytest.mark.parametrize(
    ("definition", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_definition_gives_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    definition: str | bytes,
    sentence: str,
) -> None:
    (tmp_path / "roles" / "nginx").mkdir(parents=True)
    content = definition if isinstance(definition, bytes) else definition.encode()
    (tmp_path / "web.yml").write_bytes(content)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        load("web.yml")

    assert str(caught.value) == f"web.yml:{sentence}"


def test_all_errors_of_a_file_come_together_in_the_order_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(
        "config:\n  ports: [70000]\nbase:\n  debootstrap: {suit: bookworm}\nversion: 1.0\n"
    )

    with pytest.raises(DriverError) as caught:
        load(path)

    lines = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [f"{path}:{at}:" for at in (2, 4, 5)]
    assert caught.value.details["problems"][0] == {  # type: ignore[index]
        "file": str(path),
        "line": 2,
        "message": lines[0].partition(": ")[2],
    }


def test_a_definition_whose_file_name_cannot_be_a_name_must_give_one(tmp_path: Path) -> None:
    path = tmp_path / "Web Server.yml"
    path.write_text(HEAD)

    with pytest.raises(
        DriverError, match=r"yml:1: name is missing, and the file's name Web Server"
    ):
        load(path)


def test_a_definition_named_after_a_reserved_file_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.yml"
    path.write_text(HEAD)

    with pytest.raises(DriverError, match=r"yml:1: name is all, after the file"):
        load(path)


WHOLE = """
name: web
version: "1.0"
vars: {a: 1}
base: {debootstrap: {suite: bookworm, mirror: file:///m, components: [main], include: [git]}}
layers: [{role: a.b.c, name: c, vars: {d: 1}, inputs: [e]}]
seal: {python: keep, vars: {f: 1}}
config:
  user: root
  entrypoint: [a]
  env: {A: b}
  ports: [80]
  volumes: [/v]
  working_dir: /w
  stop_signal: SIGTERM
  labels: {a: b}
  healthcheck: {test: [CMD, a], interval: 1s, retries: 1}
state: [/s, {path: /t, kind: tmpfs, owner: "0:0", mode: "0700"}]
"""
OTHER_VALUES = (
    "",
    "~",
    "0",
    "-1",
    "1_0",
    "0x1F",
    ".inf",
    "2026-01-01",
    "2026-02-31",
    "no",
    "''",
    "[]",
    "[[], {}]",
    "{}",
    "{a: {b: c}}",
    "{? [a] : b}",
    "{? {a: b} : c}",
    "!vault x",
    "!vault [x]",
    "!unsafe {a: [b]}",
    "!odd x",
    "!!binary x",
    "!!python/name:os.system x",
    "*nowhere",
    "'/../..'",
    "'./'",
    "'{{ a }}'",
    "'\\0'",
)


def values_of(node: yaml.Node) -> Iterator[yaml.Node]:
    yield node
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from values_of(item)
    if isinstance(node, yaml.MappingNode):
        for _key, value in node.value:
            yield from values_of(value)


@pytest.mark.parametrize("value", OTHER_VALUES)
def test_no_value_in_any_place_ends_in_a_traceback(tmp_path: Path, value: str) -> None:
    path = tmp_path / "web.yml"
    root = yaml.compose(WHOLE)
    assert root is not None
    messages = []

    for node in values_of(root):
        start, end = node.start_mark.index, node.end_mark.index
        path.write_text(f"{WHOLE[:start]} {value} {WHOLE[end:]}")
        try:
            load(path)
        except DriverError as error:
            messages.extend(str(error).splitlines())

    assert messages
    assert [line for line in messages if not line.startswith(f"{path}:")] == []

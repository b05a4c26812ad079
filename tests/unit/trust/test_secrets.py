# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in files: found without being shown, and allowed with a reason."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.trust.secrets import (
    AllowedSecret,
    SecretFound,
    find_secrets,
)

# In parts, so that no scanner takes this file for what it is about.
_BEGIN = "-----BEGIN "
KEY = _BEGIN + "RSA PRIVATE KEY-----\n" + base64.b64encode(bytes(range(96))).decode() + "\n"
LETTERS = "aB3" * 20


def rules(path: str, text: str) -> list[str]:
    return [one.rule for one in find_secrets(path, text.encode())]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        ("private-key", "etc/ssl/private/x.pem", KEY),
        ("private-key", "srv/x", KEY.replace("RSA ", "")),
        ("private-key", "srv/x", KEY.replace("RSA ", "OPENSSH ")),
        ("private-key", "srv/x.json", '{"private_key": "' + KEY.replace("\n", "\\n") + '"}'),
        (
            "private-key",
            "srv/x",
            KEY.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,1F\n\n", 1),
        ),
        ("aws-access-key", "root/.aws/credentials", "aws_access_key_id = AK" + "IA" + "Q" * 16),
        ("aws-access-key", "etc/x", "AWS_SECRET_ACCESS_" + "KEY=" + "a/B1" * 10),
        ("google-api-key", "srv/x.js", "'AI" + "za" + "b" * 35 + "'"),
        ("azure-account-key", "etc/x", "Account" + "Key=" + "a" * 86 + "=="),
        ("github-token", "etc/x", "gh" + "p_" + LETTERS[:36]),
        ("github-token", "etc/x", "github" + "_pat_" + LETTERS),
        ("gitlab-token", "etc/x", "gl" + "pat-" + LETTERS[:20]),
        ("slack-token", "etc/x", "xo" + "xb-1234567890-" + LETTERS[:12]),
        ("stripe-key", "etc/x", "sk" + "_live_" + LETTERS[:24]),
        ("npm-token", "root/.npmrc", "_authToken=np" + "m_" + LETTERS[:36]),
        ("pypi-token", "root/.pypirc", "pypi-" + "AgE" + LETTERS),
        ("vault-token", "root/.vault-token", "hv" + "s." + LETTERS[:24]),
        (
            "registry-login",
            "root/.docker/config.json",
            '{"auths": {"x": {"auth": "dXNlcjpwYXNz"}}}',
        ),
        ("stored-login", "root/.netrc", "machine example.org\n login me\n password x1y2\n"),
        ("stored-login", "root/.git-credentials", "ftp://me:word@example.org\n"),
        ("stored-login", "root/.pgpass", "localhost:5432:db:me:word\n"),
        ("dot-env", "srv/app/.env", "DEBUG=1\nDB_PASSWORD=hunter22\n"),
        ("dot-env", "srv/app/.env.production", "export API_KEY='abcdef'\n"),
        ("login-password", "etc/shadow", "root:$y$j9T$abc$def:19000:0:99999:7:::\n"),
    ],
)
def test_a_secret_is_found(rule: str, path: str, text: str) -> None:
    assert rules(path, text) == [rule]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/x", "The line " + _BEGIN + "PRIVATE KEY----- begins a key.\n"),
        ("etc/ssl/certs/x.pem", KEY.replace("RSA PRIVATE KEY", "CERTIFICATE")),
        ("etc/ssh/key.pub", KEY.replace("RSA PRIVATE KEY", "PUBLIC KEY")),
        ("etc/shadow", "root:*:19000:0:99999:7:::\ndaemon:!:19000:::::\n"),
        ("srv/app/.env", "DEBUG=1\nDB_PASSWORD=\nTOKEN=$TOKEN\n"),
        ("etc/app/settings", "DB_PASSWORD=hunter22\n"),
        ("srv/config.json", '{"author": "me"}'),
        ("usr/share/doc/openssl/example.pem", KEY),
        ("usr/bin/program", "\x7fELF\0\0" + KEY),
        ("etc/x", "AKIAshort and ghp_short"),
    ],
)
def test_what_only_looks_like_one_is_not(path: str, text: str) -> None:
    assert rules(path, text) == []


def test_a_secret_is_told_with_its_line_and_not_with_itself() -> None:
    (found,) = find_secrets("srv/x", b"\n\nfirst\n" + KEY.encode())
    assert found == SecretFound("srv/x", "private-key", 4)


@pytest.mark.parametrize(
    ("allowed", "covers"),
    [
        (AllowedSecret("/srv/*.pem", "why"), True),
        (AllowedSecret("/srv/*.pem", "why", "private-key"), True),
        (AllowedSecret("/srv/*.pem", "why", "aws-access-key"), False),
        (AllowedSecret("/etc/*", "why"), False),
        (AllowedSecret("srv/*", "why"), False),
    ],
)
def test_what_is_allowed_is_said_by_path_and_rule(allowed: AllowedSecret, covers: bool) -> None:
    assert allowed.covers(SecretFound("srv/a/x.pem", "private-key", 1)) is covers

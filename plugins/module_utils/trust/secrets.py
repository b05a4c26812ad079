# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that should be in no image: how they look in a file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

_SNIFFED_BYTES = 1024
# Texts that packages ship for people and for translation: the larger part of a root's text.
_PASSED_OVER = (
    "usr/share/doc/",
    "usr/share/i18n/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/zoneinfo/",
    "var/lib/dpkg/",
)

FORM = 1
"""Counts up with every change of the rules: what was found under others is looked for anew."""


@dataclass(frozen=True, slots=True)
class SecretRule:
    """One kind of secret.

    :param hints: a file without any of these has none; quicker to look for than the pattern.
    :param paths: globs of the paths that the rule is for; empty for all.
    """

    name: str
    title: str
    hints: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretFound:
    """A secret in a file, without the secret.

    :param path: of the file, relative to the root.
    :param line: where it begins, from 1 on.
    """

    path: str
    rule: str
    line: int


@dataclass(frozen=True, slots=True)
class AllowedSecret:
    """What may be there all the same, and why.

    :param path: a glob of absolute paths.
    :param rule: the name of a rule; empty for all.
    """

    path: str
    reason: str
    rule: str = ""

    def covers(self, found: SecretFound) -> bool:
        """Say whether *found* may be there."""
        return self.rule in ("", found.rule) and fnmatchcase("/" + found.path, self.path)


def _rule(name: str, title: str, hints: str, pattern: bytes, paths: str = "") -> SecretRule:
    given = tuple(hint.encode() for hint in hints.split("|")) if hints else ()
    return SecretRule(name, title, given, re.compile(pattern, re.MULTILINE), tuple(paths.split()))


RULES = (
    _rule(
        "private-key",
        "a private key",
        "PRIVATE KEY",
        rb"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\n|\\r)+"
        rb"(?:[A-Za-z-]+: [^\n]*\s+)*[A-Za-z0-9+/=\\]{16,}",
    ),
    _rule(
        "aws-access-key",
        "an access key of AWS",
        "AKIA|ASIA|aws_secret_access_key|AWS_SECRET_ACCESS_KEY",
        rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
        rb"|(?i:aws_secret_access_key)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}\b",
    ),
    _rule(
        "google-api-key",
        "an API key of Google",
        "AIza",
        rb"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])",
    ),
    _rule(
        "azure-account-key",
        "an account key of Azure",
        "AccountKey=",
        rb"AccountKey=[A-Za-z0-9+/]{86}==",
    ),
    _rule(
        "github-token",
        "a token of GitHub",
        "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_",
        rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})",
    ),
    _rule("gitlab-token", "a token of GitLab", "glpat-", rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    _rule(
        "slack-token",
        "a token of Slack",
        "xoxa-|xoxb-|xoxp-|xoxr-|xoxs-",
        rb"\bxox[abprs]-[0-9]{6,}-[0-9A-Za-z-]{10,}",
    ),
    _rule("stripe-key", "a live key of Stripe", "_live_", rb"\b[rs]k_live_[0-9A-Za-z]{24,}"),
    _rule("npm-token", "a token of npm", "npm_", rb"\bnpm_[A-Za-z0-9]{36}\b"),
    _rule("pypi-token", "a token of PyPI", "pypi-AgE", rb"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    _rule("vault-token", "a token of Vault", "hvs.|hvb.", rb"\bhv[sb]\.[A-Za-z0-9_-]{24,}"),
    _rule(
        "registry-login",
        "a login to a container registry",
        '"auth"',
        rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"',
        "*config.json *.dockercfg *auth.json",
    ),
    _rule(
        "stored-login",
        "a stored login",
        "password|://|:",
        rb"(?s:^\s*machine\s+\S+.*?\bpassword\s+\S+)"
        rb"|^[a-z]+://[^\s:@/]+:[^\s@/]+@|^[^#\s][^\s:]*:[^\s:]*:[^\s:]*:[^\s:]*:\S+$",
        "*.netrc *.git-credentials *.pgpass",
    ),
    _rule(
        "dot-env",
        "a file of environment variables with a secret",
        "=",
        rb"(?i)^\s*(?:export\s+)?[A-Z0-9_]*(?:SECRET|PASSW(?:OR)?D|TOKEN|API_?KEY|PRIVATE)[A-Z0-9_]*"
        rb"=[\"']?[^\s\"'$]{4,}",
        ".env */.env *.env */.env.*",
    ),
    _rule(
        "login-password",
        "the password of an account",
        "$",
        rb"^[^:\n]+:\$[A-Za-z0-9]+\$[^:\n]+:",
        "etc/shadow etc/shadow-",
    ),
)

RULE_NAMES = tuple(rule.name for rule in RULES)


def find_secrets(path: str, content: bytes) -> list[SecretFound]:
    """Return the secrets in the text file at *path*, the first of each rule.

    Programs, archives and other files with zero bytes near their beginning are passed over, and
    so are the folders of documentation, translations and the package database.
    """
    if path.startswith(_PASSED_OVER) or b"\0" in content[:_SNIFFED_BYTES]:
        return []
    found = []
    for rule in RULES:
        if rule.paths and not any(fnmatchcase(path, glob) for glob in rule.paths):
            continue
        if not any(hint in content for hint in rule.hints):
            continue
        match = rule.pattern.search(content)
        if match is not None:
            found.append(SecretFound(path, rule.name, content.count(b"\n", 0, match.start()) + 1))
    return found

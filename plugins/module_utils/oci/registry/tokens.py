# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorization headers: what a registry's challenge asks for, and tokens while they last.

The flow is that of Docker's token authentication, which distribution-spec leaves open and every
registry follows. Credentials, and tokens got by them, are only ever sent under TLS.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from ...core.waiting import Clock
from .access import Interrupted, RegistryError, reasons
from .credentials import Credentials

Scopes = frozenset[str]
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?')
_LIFETIME = 60.0
_ANYTHING: Scopes = frozenset()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a 401 offers (RFC 9110, section 11.6.1)."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: float


class Tokens:
    """The Authorization headers of one registry; safe for several threads.

    :param host: of the registry, for messages.
    :param secure: whether it is spoken to under TLS.
    :param credentials: asked at most once, when a challenge comes.
    :param fetch: sends a request (method, URL, headers, body) and returns status and body.
    """

    def __init__(
        self,
        host: str,
        *,
        secure: bool,
        credentials: Callable[[], Credentials | None],
        fetch: Callable[[str, str, Mapping[str, str], bytes | None], tuple[int, bytes]],
        clock: Clock,
    ) -> None:
        self._host = host
        self._secure = secure
        self._ask = credentials
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Scopes, _Token] = {}
        self._credentials: Credentials | None = None
        self._asked = False

    def header(self, scopes: Scopes) -> str | None:
        """The header to send with a request that needs *scopes*, None when none is known yet."""
        # A password is good for everything.
        found = self._known.get(scopes) or self._known.get(_ANYTHING)
        if found is None or found.until <= self._clock.monotonic():
            return None
        return found.header

    def answer(self, challenges: str, scopes: Scopes, *, refused: str | None) -> str | None:
        """Return the header that answers a 401, None when there is no other one to try.

        :param challenges: the WWW-Authenticate header.
        :param refused: the header that the request had.
        """
        with self._lock:
            now = self.header(scopes)
            if now is not None and now != refused:
                return now  # another thread was faster
            for challenge in parse_challenges(challenges):
                if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                    found = self._bearer(challenge, scopes)
                elif challenge.scheme == "basic":
                    mine = self._mine()
                    if mine is None or not mine.username:
                        continue
                    found, scopes = _Token(mine.basic, float("inf")), _ANYTHING
                else:
                    continue
                if found.header == refused:
                    return None
                self._known[scopes] = found
                return found.header
        return None

    @property
    def who(self) -> str:
        """Whose credentials are used, for messages."""
        if self._credentials is None:
            return "without credentials"
        return f"as {self._credentials.username or 'the owner of an identity token'}"

    def _mine(self) -> Credentials | None:
        if not self._secure:
            return None
        if not self._asked:
            self._credentials, self._asked = self._ask(), True
        return self._credentials

    def _bearer(self, challenge: Challenge, scopes: Scopes) -> _Token:
        realm = urlsplit(challenge.parameters["realm"])
        if realm.scheme != "https" and self._secure:
            raise RegistryError(
                f"{self._host} has its tokens given at {realm.scheme}://{realm.netloc}, which is"
                " not under TLS: nothing is sent there.",
                hint="The registry's realm must be an https address.",
            )
        mine = self._mine()
        wanted = sorted(scopes | set(challenge.parameters.get("scope", "").split()))
        query = [("service", challenge.parameters.get("service", ""))]
        query += [("scope", scope) for scope in wanted]
        status, content = self._request(urlunsplit(realm), query, mine)
        if status != 200:
            codes, said = reasons(content)
            raise RegistryError(
                f"{realm.netloc} gave no token for {self._host} ({self.who}):"
                f" it answered {status} {said}".rstrip()
                + ".",
                hint=self.advice,
                status=status,
                codes=codes,
            )
        try:
            answer: dict[str, Any] = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
            lifetime = float(answer.get("expires_in") or _LIFETIME)
        except (ValueError, TypeError, AttributeError) as error:
            raise RegistryError(f"{realm.netloc} answered with what is no token.") from error
        if not isinstance(token, str) or not token or "\n" in token:
            raise RegistryError(f"{realm.netloc} answered with what is no token.")
        # Not to its last second: a request takes a moment to arrive.
        return _Token(f"Bearer {token}", self._clock.monotonic() + lifetime * 0.9)

    def _request(
        self, realm: str, query: list[tuple[str, str]], mine: Credentials | None
    ) -> tuple[int, bytes]:
        try:
            if mine is not None and mine.identity_token:
                scopes = " ".join(value for key, value in query if key == "scope")
                form = {
                    "grant_type": "refresh_token",
                    "service": query[0][1],
                    "scope": scopes,
                    "client_id": "kiln",
                    "refresh_token": mine.identity_token,
                }
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                return self._fetch("POST", realm, headers, urlencode(form).encode())
            separator = "&" if "?" in realm else "?"
            address = realm + separator + urlencode([pair for pair in query if pair[1]])
            return self._fetch("GET", address, {"Authorization": mine.basic} if mine else {}, None)
        except Interrupted as error:
            raise Interrupted(
                f"No token could be got for {self._host}: {error.message}", delay=error.delay
            ) from error

    @property
    def advice(self) -> str:
        """What to do about a refusal."""
        if not self._secure:
            return "Credentials are never sent without TLS: use an https registry."
        return f"Log in with: docker login {self._host}"


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header; what is malformed is passed over."""
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (one := _PARAMETER.match(header, at)) is not None:
            quoted = re.sub(r"\\(.)", r"\1", one[2]) if one[2] is not None else one[3]
            parameters[one[1].lower()] = quoted
            at = one.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found

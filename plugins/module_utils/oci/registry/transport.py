# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one registry: connections, TLS, authorization, and what is tried again."""

from __future__ import annotations

import contextlib
import email.utils
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from ...core.errors import DriverError
from ...core.waiting import Clock
from .access import Access, Interrupted, RegistryError, reasons
from .certificates import client_context
from .credentials import Credentials, docker_credentials
from .name import Repository, is_loopback
from .tokens import Scopes, Tokens

if TYPE_CHECKING:
    import urllib3

T = TypeVar("T")
Body = bytes | Callable[[], Iterable[bytes]] | None
"""What goes with a request: bytes, or what gives them once more each time that it is called."""

PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_WAIT = 300.0
_BODY = 16 << 20
_PROBE = 5.0
NO_SCOPES: Scopes = frozenset()


class Answer:
    """What a registry answered. Its body is read once, by content or by read."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, host: str) -> None:
        self._raw = raw
        self._host = host
        self.status = raw.status
        self.url = url

    def header(self, name: str) -> str:
        """The header of that name, empty when there is none."""
        return str(self._raw.headers.get(name, ""))

    def read(self, count: int) -> bytes:
        """Up to *count* bytes of the body, none at its end; Interrupted when it breaks off."""
        from urllib3.exceptions import HTTPError

        try:
            return bytes(self._raw.read(count))
        except (HTTPError, OSError) as error:
            raise Interrupted(f"{self._host} broke off its answer: {_why(error)}.") from error

    def content(self) -> bytes:
        """The whole body; RegistryError when it is longer than any document may be."""
        try:
            parts, left = [], _BODY
            while part := self.read(left + 1):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    raise RegistryError(
                        f"{self._host} answered with a document of more than {_BODY} bytes."
                    )
            return b"".join(parts)
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back, or end it when the body was not read to its end."""
        from urllib3.exceptions import HTTPError

        with contextlib.suppress(HTTPError, OSError):
            if self._raw.length_remaining:
                self._raw.close()
            else:
                self._raw.drain_conn()
        self._raw.release_conn()


class Transport:
    """Connections to one registry, kept open; safe for several threads.

    urllib3 is imported when the first request is made: it costs more time than a bake with
    nothing to do may take.
    """

    def __init__(
        self,
        repository: Repository,
        access: Access,
        *,
        credentials: Callable[[str], Credentials | None] = docker_credentials,
        clock: Clock = time,
    ) -> None:
        self.host = repository.host
        self.access = access
        self.clock = clock
        self._scheme = repository.scheme
        self._credentials = credentials
        self._lock = threading.RLock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._tokens: Tokens | None = None
        if self._scheme == "http" or (not self._scheme and access.plain_http):
            self._scheme = "http"
            if not (access.plain_http or repository.is_loopback):
                raise DriverError(
                    f"http://{self.host} is not under TLS: anybody on the way could read and"
                    " change what is sent.",
                    hint="Use https, or set kiln_registry_plain_http if you accept that.",
                )

    def ask(
        self,
        method: str,
        path: str,
        scopes: Scopes,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        """Send a request until it is answered; see send. RegistryError when nothing helped."""
        return self.persist(lambda: self.send(method, path, scopes, headers=headers, body=body))

    def persist(self, step: Callable[[], T]) -> T:
        """Take *step* again as long as it is Interrupted and attempts are left."""
        attempt = 1
        while True:
            try:
                return step()
            except Interrupted as error:
                self.pause(attempt, error)
                attempt += 1

    def pause(self, attempt: int, error: Interrupted) -> None:
        """Wait before the next attempt; RegistryError when *attempt* was the last."""
        delay = min(0.5 * 2 ** (attempt - 1), 8.0) if error.delay is None else error.delay
        if attempt >= self.access.attempts or delay > _LONGEST_WAIT:
            tried = f" It was tried {attempt} times." if attempt > 1 else ""
            raise RegistryError(f"{error.message}{tried}", status=error.status) from error
        self.clock.sleep(delay)

    def send(
        self,
        method: str,
        path: str,
        scopes: Scopes,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        """Send one request and return its answer, whatever status that has but for these:

        a 401 that credentials do not mend is RegistryError; what can pass (5xx, 408, 429, a
        connection that breaks) is Interrupted.

        :param path: below the registry, or a whole address that it gave before.
        """
        url = urljoin(f"{self.base}/", path)
        tokens = self._authority()
        # A token is for the registry, not for where it sends us.
        own = urlsplit(url).netloc == urlsplit(self.base).netloc
        sent = tokens.header(scopes) if own else None
        answer = self._follow(method, url, headers or {}, body, sent)
        if answer.status == 401 and own:
            challenge = answer.header("WWW-Authenticate")
            answer.close()
            sent = tokens.answer(challenge, scopes, refused=sent)
            if sent is None:
                raise self._login_refused(tokens)
            answer = self._follow(method, url, headers or {}, body, sent)
            if answer.status == 401:
                answer.close()
                raise self._login_refused(tokens)
        if answer.status in PASSING:
            delay = _retry_after(answer.header("Retry-After"))
            _codes, said = reasons(answer.content())
            raise Interrupted(
                f"{self.host} answered {answer.status} to {method} {_shown(url)}"
                f"{': ' + said if said else ''}.",
                status=answer.status,
                delay=delay,
            )
        return answer

    def refusal(self, answer: Answer, what: str) -> RegistryError:
        """Return the error for an answer that is not what was hoped for.

        :param what: what could not be done, as the end of "could not".
        """
        codes, said = reasons(answer.content())
        hint = ""
        if answer.status in {401, 403} or "DENIED" in codes or "UNAUTHORIZED" in codes:
            tokens = self._authority()
            hint = f"It was asked {tokens.who}. {tokens.advice}"
        elif answer.status in {413, 507}:
            hint = "The registry has no room for it, or a limit of its own."
        return RegistryError(
            f"{self.host} could not {what}: it answered {answer.status}"
            f"{' ' + said if said else ''}.",
            hint=hint,
            status=answer.status,
            codes=codes,
        )

    @property
    def base(self) -> str:
        """Scheme and host of the registry's addresses."""
        host = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
        if not self._scheme:
            with self._lock:
                if not self._scheme:
                    self._scheme = self._probe()
        return f"{self._scheme}://{host.get(self.host, self.host)}"

    def _probe(self) -> str:
        """TLS, but on this very machine what the registry there speaks."""
        if not is_loopback(self.host) or self.access.ca is not None:
            return "https"
        try:
            url = f"https://{self.host}/v2/"
            quick = replace(self.access, timeout=_PROBE)
            self._exchange("GET", url, {}, None, quick).close()
        except Interrupted:
            return "http"
        return "https"

    def _authority(self) -> Tokens:
        with self._lock:
            if self._tokens is None:
                self._tokens = Tokens(
                    self.host,
                    secure=self.base.startswith("https:"),
                    credentials=lambda: self._credentials(self.host),
                    fetch=self._fetch_token,
                    clock=self.clock,
                )
            return self._tokens

    def _fetch_token(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        answer = self._exchange(method, url, headers, body, self.access)
        if answer.status in PASSING:
            delay = _retry_after(answer.header("Retry-After"))
            answer.close()
            raise Interrupted(f"{urlsplit(url).netloc} answered {answer.status}.", delay=delay)
        return answer.status, answer.content()

    def _login_refused(self, tokens: Tokens) -> RegistryError:
        return RegistryError(
            f"{self.host} lets nobody in {tokens.who}.", hint=tokens.advice, status=401
        )

    def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body,
        sent: str | None,
    ) -> Answer:
        """Exchange, following redirects of what only reads, without credentials to others."""
        first = urlsplit(url)
        for _count in range(6):
            now = urlsplit(url)
            own = (now.scheme, now.netloc) == (first.scheme, first.netloc)
            more = {"Authorization": sent} if sent and own else {}
            answer = self._exchange(method, url, {**headers, **more}, body, self.access)
            if answer.status not in _REDIRECTS or method not in {"GET", "HEAD"}:
                return answer
            url = urljoin(url, answer.header("Location"))
            answer.close()
            if now.scheme == "https" and not url.startswith("https:"):
                raise RegistryError(f"{self.host} leads from TLS to {_shown(url)}, without it.")
        raise RegistryError(f"{self.host} leads in a circle from {_shown(first.geturl())}.")

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, access: Access
    ) -> Answer:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError, NameResolutionError, SSLError

        try:
            raw = self._pool(url).urlopen(
                method,
                url,
                body=body() if callable(body) else body,
                headers={"User-Agent": "kiln", "Accept-Encoding": "identity", **headers},
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=Timeout(connect=min(10.0, access.timeout), read=access.timeout),
            )
        except NameResolutionError as error:
            raise RegistryError(
                f"There is no host {urlsplit(url).hostname}, as far as DNS says.",
                hint="Look at the name of the registry.",
            ) from error
        except SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise RegistryError(
                    f"The certificate of {urlsplit(url).netloc} is not trusted: {_why(error)}.",
                    hint="Name the file with the authority's certificate in kiln_registry_ca.",
                ) from error
            raise Interrupted(f"{urlsplit(url).netloc} speaks no TLS: {_why(error)}.") from error
        except (HTTPError, OSError) as error:
            raise Interrupted(
                f"The connection to {urlsplit(url).netloc} failed: {_why(error)}."
            ) from error
        return Answer(raw, url, urlsplit(url).netloc)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        with self._lock:
            if parts.netloc not in self._pools:
                proxy = _proxy(parts.scheme, parts.hostname or "")
                self._pools[parts.netloc] = self._make_pool(parts.netloc, proxy)
            return self._pools[parts.netloc]

    def _make_pool(self, host: str, proxy: str) -> urllib3.PoolManager:
        try:
            import urllib3
        except ImportError as error:
            raise DriverError(
                "Registries need the Python package urllib3, which is not installed.",
                hint="pip install urllib3, version 2 or newer.",
            ) from error
        context = client_context(host, self.access.ca)
        size = self.access.parallel
        if not proxy:
            return urllib3.PoolManager(maxsize=size, ssl_context=context)
        parsed = urllib3.util.parse_url(proxy)
        headers = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
        return urllib3.ProxyManager(proxy, maxsize=size, ssl_context=context, proxy_headers=headers)


def _proxy(scheme: str, host: str) -> str:
    """Return the proxy that the environment names for *host*, empty when there is none."""
    if is_loopback(host):
        return ""
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(host):
        return ""
    return getproxies().get(scheme, "")


def _retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3)."""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _shown(url: str) -> str:
    """Return *url* without its query, which may hold signatures."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _why(error: BaseException) -> str:
    """Return what lies at the bottom of an error of urllib3, without its objects' names."""
    text = str(error.__cause__ or error.__context__ or error)
    if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
        text = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
    text = re.sub(r"<[^>]*object at 0x[0-9a-f]+>:? ?", "", text)
    return text.strip(" .'\"(),") or type(error).__name__

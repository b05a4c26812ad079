# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry in memory behind a real HTTP server, which can be told to misbehave."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    LAYER_GZIP,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import Access
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import (
    Registry,
    connect,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.credentials import (
    Credentials,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository

Fault = Callable[["Handler"], bool]


@dataclass
class Store:
    """What the registry holds, what it was asked, and how it is to misbehave.

    :param faults: each sees every request first; one that returns True has answered it.
    :param users: names and passwords; none lets everybody in.
    :param tokens: whether users get in by a token; those that are good, with their scopes.
    """

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    received: int = 0
    faults: list[Fault] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    with_tokens: bool = False
    tokens: dict[str, set[str]] = field(default_factory=dict)
    authorizations: list[str] = field(default_factory=list)
    limit: int = 0
    ranges: bool = True
    deletes: bool = True
    url: str = ""

    def count(self, method: str, pattern: str = "") -> int:
        """How many requests of that method there were whose path holds *pattern*."""
        return sum(1 for m, path in self.asked if m == method and re.search(pattern, path))


class Handler(BaseHTTPRequestHandler):
    """Answers one request as distribution-spec v1.1 says."""

    protocol_version = "HTTP/1.1"
    store: Store
    lock = threading.RLock()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def do(self) -> None:
        store = self.store
        with self.lock:
            store.asked.append((self.command, self.path))
            store.authorizations.append(self.headers.get("Authorization", ""))
            faults = list(store.faults)
        for fault in faults:
            if fault(self):
                return
        path = urlsplit(self.path).path
        if path == "/token":
            self.give_token()
            return
        body = self.body()
        if not self.allowed():
            return
        with self.lock:
            if path == "/v2/":
                self.answer(200)
                return
            match = re.fullmatch(
                r"/v2/(.+)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)", path
            )
            assert match, path
            getattr(self, "_" + match[2].replace("/", "_"))(match[1], match[3], body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

    def body(self) -> bytes:
        """Read what came with the request."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.store.received += len(content)
        return content

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Send an answer; names of headers have _ for -."""
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(content)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        """Send an error of the specification."""
        content = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.answer(status, content, **headers)

    def hang_up(self) -> None:
        """End the connection in the middle."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def allowed(self) -> bool:
        store, given = self.store, self.headers.get("Authorization", "")
        if not store.users:
            return True
        if store.with_tokens:
            if given.removeprefix("Bearer ") in store.tokens:
                return True
            name = urlsplit(self.path).path.split("/")[2:4]
            scope = f"repository:{'/'.join(name)}:pull"
            challenge = f'Bearer realm="{store.url}/token",service="fake",scope="{scope}"'
        else:
            pairs = {base64.b64encode(f"{u}:{p}".encode()).decode() for u, p in store.users.items()}
            if given.removeprefix("Basic ") in pairs:
                return True
            challenge = 'Basic realm="fake"'
        self.refuse(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
        return False

    def give_token(self) -> None:
        store, query = self.store, parse_qs(urlsplit(self.path).query)
        form = parse_qs(self.body().decode())
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        pair = base64.b64decode(given).decode().split(":") if given else ["", ""]
        refresh = form.get("refresh_token", [""])[0]
        if store.users.get(pair[0]) != pair[1] and refresh not in store.users.values():
            self.refuse(401, "UNAUTHORIZED")
            return
        token = f"token-{len(store.tokens)}"
        store.tokens[token] = set(query.get("scope") or form["scope"][0].split())
        self.answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _blobs(self, name: str, digest: str, _body: bytes) -> None:
        content = self.store.blobs.get((name, digest))
        if content is None:
            self.refuse(404, "BLOB_UNKNOWN")
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.store.ranges:
            self.answer(206, content[int(asked[1]) :])
        else:
            self.answer(200, content)

    def _blobs_uploads(self, name: str, upload: str, body: bytes) -> None:
        store, query = self.store, parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            source = (query.get("from", [""])[0], query.get("mount", [""])[0])
            if source in store.blobs:
                store.blobs[name, source[1]] = store.blobs[source]
                self.answer(201)
                return
            upload = f"upload-{uuid.uuid4()}"
            store.uploads[upload] = b""
            self.answer(202, Location=f"/v2/{name}/blobs/uploads/{upload}?_state=x")
            return
        if upload not in store.uploads:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
            return
        location = f"/v2/{name}/blobs/uploads/{upload}?_state={len(store.asked)}"
        if store.limit and len(body) > store.limit:
            self.refuse(416, "SIZE_INVALID")
            return
        if self.command == "PATCH":
            first = int(self.headers["Content-Range"].partition("-")[0])
            if first != len(store.uploads[upload]):
                self.refuse(416, "BLOB_UPLOAD_INVALID")
                return
            store.uploads[upload] += body
        if self.command in {"PATCH", "GET"}:
            last = max(0, len(store.uploads[upload]) - 1)
            status = 202 if self.command == "PATCH" else 204
            self.answer(status, Location=location, Range=f"0-{last}")
        elif self.command == "DELETE":
            del store.uploads[upload]
            self.answer(204)
        else:
            content = store.uploads.pop(upload) + body
            digest = query["digest"][0]
            if "sha256:" + hashlib.sha256(content).hexdigest() != digest:
                self.refuse(400, "DIGEST_INVALID")
                return
            store.blobs[name, digest] = content
            self.answer(201)

    def _manifests(self, name: str, reference: str, body: bytes) -> None:
        store = self.store
        digest = store.tags.get((name, reference), reference)
        if self.command == "PUT":
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            if ":" not in reference:
                store.tags[name, reference] = digest
            store.manifests[name, digest] = (self.headers["Content-Type"], body)
            self.answer(201, Docker_Content_Digest=digest)
        elif (name, digest) not in store.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN")
        elif self.command == "DELETE":
            if not store.deletes:
                self.refuse(405, "UNSUPPORTED")
                return
            del store.manifests[name, digest]
            store.tags = {k: v for k, v in store.tags.items() if (k[0], v) != (name, digest)}
            self.answer(202)
        else:
            kind, content = store.manifests[name, digest]
            self.answer(200, content, Content_Type=kind, Docker_Content_Digest=digest)

    def _tags(self, name: str, _list: str, _body: bytes) -> None:
        query = parse_qs(urlsplit(self.path).query)
        after, count = query.get("last", [""])[0], min(2, int(query.get("n", ["2"])[0]))
        tags = sorted(tag for owner, tag in self.store.tags if owner == name and tag > after)
        more = {}
        if len(tags) > count:
            link = f"/v2/{name}/tags/list?last={tags[count - 1]}&n={count}"
            more["Link"] = f'<{link}>; rel="next"'
        self.answer(200, json.dumps({"name": name, "tags": tags[:count]}).encode(), **more)

    def _referrers(self, _name: str, _digest: str, _body: bytes) -> None:
        self.refuse(404, "NOT_FOUND")


class Clock:
    """A clock that goes on only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Fake:
    """A registry that runs, and what it holds."""

    store: Store
    host: str
    scheme: str
    clock: Clock
    ca: Path | None = None

    def client(
        self,
        name: str = "team/web",
        *,
        credentials: Credentials | None = None,
        **options: Any,
    ) -> Registry:
        """Return a client of a repository of it; *options* are those of Access."""
        access = Access(**{"ca": self.ca, "chunk": 1000, **options})
        repository = Repository(self.host, name, self.scheme)
        return connect(repository, access, credentials=lambda _host: credentials, clock=self.clock)


def serve(context: ssl.SSLContext | None = None) -> Iterator[tuple[Store, int]]:
    """Run a registry until the generator is closed."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"store": store}))
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    scheme = "http" if context is None else "https"
    store.url = f"{scheme}://127.0.0.1:{server.server_port}"
    try:
        yield store, server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Give a registry without TLS."""
    for store, port in serve():
        yield Fake(store, f"127.0.0.1:{port}", "http", Clock())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for this machine that nobody's system trusts, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=kiln test", "-keyout", str(key)]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def fake_tls(certificate: tuple[Path, Path]) -> Iterator[Fake]:
    """Give a registry under TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    for store, port in serve(context):
        yield Fake(store, f"127.0.0.1:{port}", "https", Clock(), certificate[0])


@dataclass(frozen=True)
class Shop:
    """A layout, and images in it."""

    layout: Layout

    def layer(self, content: bytes) -> Layer:
        """Store a layer of these bytes."""
        packed = gzip.compress(content, mtime=0)
        blob = self.layout.put(packed, LAYER_GZIP)
        return Layer(blob, "sha256:" + hashlib.sha256(content).hexdigest(), len(content))

    def image(self, *layers: Layer) -> Image:
        """Store an image of these layers."""
        return write_image(
            self.layout, ImageConfig("amd64", 0), [HistoryLayer(one, "x") for one in layers]
        )

    def blob(self, content: bytes) -> Descriptor:
        """Store any bytes."""
        return self.layout.put(content, LAYER_GZIP)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Return an empty layout to push from."""
    layout = Layout(tmp_path / "layout")
    layout.ensure()
    return Shop(layout)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Layout:
    """Return an empty layout to pull into."""
    layout = Layout(tmp_path / "elsewhere")
    layout.ensure()
    return layout

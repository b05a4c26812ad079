# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One repository of a registry (distribution-spec v1.1): blobs, manifests, tags, referrers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urljoin

from ...core import canonical
from ...core.waiting import Clock
from ..descriptor import INDEX, MANIFEST, Descriptor
from ..digest import parse, sha256_bytes
from ..layout import Layout
from .access import Access, RegistryError, WrongContent
from .blob import RemoteBlob
from .credentials import Credentials, docker_credentials
from .name import Repository, check_tag
from .tokens import Scopes
from .transport import Answer, Transport
from .upload import Upload

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPT = ", ".join((INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_PAGE = 1000
_READ = 1 << 18  # stays in the processor's cache between socket, digest and file


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as its raw bytes."""

    descriptor: Descriptor
    content: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What bringing a blob to a registry took.

    :param how: ``sent``, ``mounted`` or ``skipped`` because it was there.
    :param wire: bytes that went out for it, more than its size when a connection broke.
    """

    blob: Descriptor
    how: str
    wire: int = 0


class Registry:
    """The client of one repository; safe for several threads.

    Every method raises RegistryError when the registry refuses or cannot be reached. Only "not
    found" means that something is absent.
    """

    def __init__(self, repository: Repository, transport: Transport) -> None:
        self.repository = repository
        self.transport = transport
        self._path = f"v2/{repository.name}"

    def beside(self, repository: Repository) -> Registry:
        """The client of another repository of the same registry, over the same connections."""
        return Registry(repository, self.transport)

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether the repository has the blob, of that size."""
        path = f"{self._path}/blobs/{_checked(blob.digest)}"
        answer = self.transport.ask("HEAD", path, self._reading)
        answer.close()
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise self.transport.refusal(answer, f"say whether it has blob {blob.digest}")
        length = answer.header("Content-Length")
        return not length.isdecimal() or int(length) == blob.size

    def open_blob(self, blob: Descriptor) -> BinaryIO:
        """Open a blob for reading; see RemoteBlob for what reading it raises."""
        return cast(BinaryIO, self._blob(blob, verifies=True))

    def take(self, blob: Descriptor, layout: Layout) -> None:
        """Store a blob in *layout*, if it is what its digest says; see RemoteBlob."""
        stream = self._blob(blob, verifies=False)
        with stream, layout.writer() as writer:
            while part := stream.read(_READ):
                writer.write(part)
            stream.compare(writer.digest.partition(":")[2])
            writer.commit(blob.media_type)

    def _blob(self, blob: Descriptor, *, verifies: bool) -> RemoteBlob:
        path = f"{self._path}/blobs/{_checked(blob.digest)}"
        place = str(self.repository)
        return RemoteBlob(self.transport, path, self._reading, blob, place, verifies=verifies)

    def put_blob(
        self,
        blob: Descriptor,
        opened: Callable[[], BinaryIO],
        *,
        mount_from: str = "",
        replace: bool = False,
    ) -> Sent:
        """Bring a blob to the repository if it is not there.

        :param opened: opens it from its beginning; may be called again.
        :param mount_from: name of a repository of the same registry that may have it.
        :param replace: do not ask whether it is there.
        """
        if not replace and self.has_blob(blob):
            return Sent(blob, "skipped")
        location = None
        if mount_from and mount_from != self.repository.name:
            mounted, location = self._mount(blob, mount_from)
            if mounted:
                return Sent(blob, "mounted")
        upload = Upload(
            self.transport, self._path, self._writing, blob, opened, lambda: self.has_blob(blob)
        )
        return Sent(blob, "sent", upload.run(location))

    def resolve(self, reference: str) -> Descriptor | None:
        """Return what a tag or digest names, None when there is no such manifest.

        Its digest is that of the bytes when the registry does not say it.
        """
        answer = self._manifest("HEAD", reference)
        if answer is None:
            return None
        answer.close()
        digest, size = answer.header("Docker-Content-Digest"), answer.header("Content-Length")
        if not digest or not size.isdecimal():
            found = self.fetch(reference)
            return None if found is None else found.descriptor
        return Descriptor(_media_type(answer), _checked(digest), int(size))

    def fetch(self, reference: str) -> Document | None:
        """Return the manifest that a tag or digest names, None when there is none.

        WrongContent when a digest was asked for and the bytes have another.
        """
        answer = self._manifest("GET", reference)
        if answer is None:
            return None
        content = answer.content()
        digest = sha256_bytes(content)
        if ":" in reference and digest != reference:
            raise WrongContent(
                f"Manifest {reference} of {self.repository} is not what it says:"
                f" its content has the digest {digest}."
            )
        return Document(Descriptor(_media_type(answer), digest, len(content)), content)

    def put(self, document: Document, tag: str = "") -> bool:
        """Store a manifest as it is, under its digest or under *tag*; what it names is there.

        Returns whether the registry itself keeps the list of what refers to its subject.
        """
        reference = check_tag(tag) if tag else document.descriptor.digest
        answer = self.transport.ask(
            "PUT",
            f"{self._path}/manifests/{reference}",
            self._writing,
            headers={"Content-Type": document.descriptor.media_type},
            body=document.content,
        )
        if answer.status not in {200, 201, 202}:
            raise self.transport.refusal(answer, f"keep {reference} in {self.repository}")
        answer.close()
        given = answer.header("Docker-Content-Digest")
        if given and given != document.descriptor.digest:
            raise WrongContent(
                f"{self.repository} made {given} of manifest {document.descriptor.digest}."
            )
        return bool(answer.header("OCI-Subject"))

    def delete(self, digest: str) -> bool:
        """Delete a manifest with every tag that names it; return False when there was none.

        See tags.py for what takes care of tags that share a digest.
        """
        path = f"{self._path}/manifests/{_checked(digest)}"
        answer = self.transport.ask("DELETE", path, self._deleting)
        if answer.status == 404:
            answer.close()
            return False
        if answer.status not in {200, 202}:
            raise self.transport.refusal(answer, f"delete {digest} from {self.repository}")
        answer.close()
        return True

    def tags(self) -> list[str]:
        """Return all tags of the repository, in their order; none when it does not exist."""
        found: set[str] = set()
        path: str | None = f"{self._path}/tags/list?{urlencode({'n': _PAGE})}"
        while path:
            answer = self.transport.ask("GET", path, self._reading)
            if answer.status == 404:
                answer.close()
                break
            if answer.status != 200:
                raise self.transport.refusal(answer, f"list the tags of {self.repository}")
            following = _NEXT.search(answer.header("Link"))
            listed = _object(answer.content(), f"The list of tags of {self.repository}").get("tags")
            found |= {str(tag) for tag in listed or []}
            path = urljoin(answer.url, following[1]) if following else None
        return sorted(found)

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return what refers to a manifest as its subject ("Listing Referrers").

        From the registry's own list; where it keeps none, from the tag of the specification's
        fallback, which clients keep.
        """
        answer = self.transport.ask(
            "GET", f"{self._path}/referrers/{_checked(digest)}", self._reading
        )
        if answer.status == 200 and INDEX in _media_type(answer):
            content = answer.content()
        elif answer.status in {200, 400, 404, 405}:
            answer.close()
            found = self.fetch(fallback_tag(digest))
            if found is None:
                return []
            content = found.content
        else:
            raise self.transport.refusal(answer, f"list what refers to {digest}")
        listed = _object(content, f"The list of referrers of {digest}").get("manifests") or []
        return [Descriptor.from_json(entry) for entry in listed]

    def add_referrer(self, subject: str, entry: dict[str, Any]) -> None:
        """Add *entry*, a descriptor's JSON, to the fallback tag of *subject* if it is not there."""
        tag = fallback_tag(subject)
        found = self.fetch(tag)
        listed: list[Any] = []
        if found is not None:
            listed = _object(found.content, f"Tag {tag}").get("manifests") or []
        if any(isinstance(one, dict) and one.get("digest") == entry["digest"] for one in listed):
            return
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*listed, entry]}
        content = canonical.encode(value)
        self.put(Document(Descriptor(INDEX, sha256_bytes(content), len(content)), content), tag)

    def _mount(self, blob: Descriptor, source: str) -> tuple[bool, str | None]:
        """Ask for a blob of another repository; else a session has been opened for it."""
        query = urlencode({"mount": blob.digest, "from": source}, safe=":/")
        answer = self.transport.ask(
            "POST",
            f"{self._path}/blobs/uploads/?{query}",
            self._writing | {f"repository:{source}:pull"},
            headers={"Content-Length": "0"},
        )
        answer.close()
        if answer.status == 201:
            return True, None
        if answer.status == 202 and answer.header("Location"):
            return False, urljoin(answer.url, answer.header("Location"))
        return False, None

    def _manifest(self, method: str, reference: str) -> Answer | None:
        if ":" in reference:
            _checked(reference)
        else:
            check_tag(reference)
        answer = self.transport.ask(
            method,
            f"{self._path}/manifests/{reference}",
            self._reading,
            headers={"Accept": _ACCEPT},
        )
        if answer.status == 404:
            answer.close()
            return None
        if answer.status != 200:
            raise self.transport.refusal(answer, f"give {reference} of {self.repository}")
        return answer

    @property
    def _reading(self) -> Scopes:
        return frozenset({f"repository:{self.repository.name}:pull"})

    @property
    def _writing(self) -> Scopes:
        return frozenset({f"repository:{self.repository.name}:pull,push"})

    @property
    def _deleting(self) -> Scopes:
        return frozenset({f"repository:{self.repository.name}:delete"})


def connect(
    repository: Repository,
    access: Access | None = None,
    *,
    credentials: Callable[[str], Credentials | None] = docker_credentials,
    clock: Clock = time,
) -> Registry:
    """Return the client of *repository*; nothing is sent before the first request."""
    transport = Transport(repository, access or Access(), credentials=credentials, clock=clock)
    return Registry(repository, transport)


def fallback_tag(digest: str) -> str:
    """Return the tag under which clients list what refers to *digest*."""
    return "-".join(parse(digest))


def _checked(digest: str) -> str:
    parse(digest)
    return digest


def _media_type(answer: Answer) -> str:
    return answer.header("Content-Type").partition(";")[0].strip()


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RegistryError(f"{what} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise RegistryError(f"{what} is not a JSON object.")
    return value

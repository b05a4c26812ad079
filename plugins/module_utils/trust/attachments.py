# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures and attestations where cosign looks for them.

Beside a manifest of digest ``sha256:HEX`` a repository has, by cosign's convention, the tags
``sha256-HEX.sig`` (image signatures) and ``sha256-HEX.att`` (attestations). Each is an OCI manifest
whose layers are the signed things. A store of ours has them under the same names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import canonical
from ..core.errors import DriverError
from ..oci.descriptor import CONFIG, MANIFEST, REPLACED, Descriptor
from ..oci.digest import parse
from ..oci.layout import Layout
from ..oci.statement import PAYLOAD_TYPE, Statement, StatementAbout, read_statement
from .keys import PublicKey
from .signer import Signer

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
IN_TOTO = PAYLOAD_TYPE
SIGNATURE = "dev.cosignproject.cosign/signature"
PREDICATE_TYPE = "predicateType"
KINDS = ("sig", "att", "statements", "files")
_MOST_BYTES = 64 << 20
_MOST_REPLACED = 100


def tag_of(digest: str, kind: str) -> str:
    """Return the tag of what is attached to the manifest of *digest*.

    :param kind: ``sig``, ``att``, ``statements`` (ours, unsigned) or ``files`` (the manifest).
    """
    algorithm, value = parse(digest)
    return f"{algorithm}-{value}.{kind}"


def attached_tags(layout: Layout, digests: Iterable[str]) -> list[str]:
    """Return the tags in *layout* that belong to the manifests of *digests*.

    They are pushed with the image under the same names, and go when it goes.
    """
    there = layout.tags()
    return [name for digest in digests for kind in KINDS if (name := tag_of(digest, kind)) in there]


def drop_attached(layout: Layout, digests: Iterable[str]) -> None:
    """Untag what is attached to *digests*; a collection of garbage does the rest."""
    for name in attached_tags(layout, digests):
        layout.untag(name)


@dataclass(frozen=True, slots=True)
class Signature:
    """One image signature as it is stored: exact bytes, and what signs them."""

    payload: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """The digest of the manifest that it claims to be of; empty when it says none."""
        try:
            return str(json.loads(self.payload)["critical"]["image"]["docker-manifest-digest"])
        except (ValueError, LookupError, TypeError):
            return ""

    @property
    def reference(self) -> str:
        """The repository that it was made for; empty when it says none."""
        try:
            return str(json.loads(self.payload)["critical"]["identity"]["docker-reference"])
        except (ValueError, LookupError, TypeError):
            return ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One attestation as it is stored (DSSE v1.0, envelope.md)."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    def statement(self) -> StatementAbout:
        """The in-toto statement in it; DriverError when it holds none."""
        if self.payload_type != IN_TOTO:
            raise DriverError(f"An attestation holds {self.payload_type}, not a statement.")
        return read_statement(self.payload)

    def is_by(self, key: PublicKey) -> bool:
        """Say whether one of its signatures is by *key*."""
        signed = pre_authentication(self.payload_type, self.payload)
        return any(key.verifies(signature, signed) for signature in self.signatures)


@dataclass(frozen=True, slots=True)
class Attached:
    """A layer of a ``.sig`` or ``.att`` manifest."""

    media_type: str
    content: bytes
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def simple_signing(reference: str, digest: str) -> bytes:
    """Return what an image signature signs (containers/image, docs/containers-signature.5).

    :param reference: repository that it is for, without a tag.
    """
    return canonical.encode(
        {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return what a DSSE signature signs (DSSE v1.0, protocol.md, "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signed_image(signer: Signer, reference: str, digest: str) -> Attached:
    """Sign the manifest of *digest* for the repository *reference*."""
    payload = simple_signing(reference, digest)
    signature = base64.b64encode(signer.sign(payload)).decode("ascii")
    return Attached(SIMPLE_SIGNING, payload, {SIGNATURE: signature})


def signed_statement(signer: Signer, document: bytes, predicate_type: str) -> Attached:
    """Wrap a statement's *document* into a signed envelope."""
    signature = signer.sign(pre_authentication(IN_TOTO, document))
    envelope = {
        "payloadType": IN_TOTO,
        "payload": base64.b64encode(document).decode("ascii"),
        "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode("ascii")}],
    }
    annotations = {SIGNATURE: "", PREDICATE_TYPE: predicate_type}
    return Attached(DSSE, canonical.encode(envelope), annotations)


def read_signatures(layout: Layout, digest: str) -> list[Signature]:
    """Return the signatures that *layout* has of the manifest of *digest*, none verified yet."""
    found = []
    for one in read_attached(layout, digest, "sig"):
        if one.media_type == SIMPLE_SIGNING:
            try:
                signature = base64.b64decode(one.annotations.get(SIGNATURE, ""), validate=True)
            except ValueError:
                continue
            found.append(Signature(one.content, signature))
    return found


def read_envelopes(layout: Layout, digest: str) -> list[Envelope]:
    """Return the attestations that *layout* has of the manifest of *digest*, none verified yet."""
    return [
        envelope
        for one in read_attached(layout, digest, "att")
        if one.media_type == DSSE and (envelope := read_envelope(one.content)) is not None
    ]


def read_envelope(content: bytes) -> Envelope | None:
    """Read a DSSE envelope; None when it is malformed: it proves nothing then."""
    try:
        value = json.loads(content)
        return Envelope(
            base64.b64decode(value["payload"], validate=True),
            str(value["payloadType"]),
            tuple(base64.b64decode(one["sig"], validate=True) for one in value["signatures"]),
        )
    except (ValueError, LookupError, TypeError):
        return None


def read_attached(layout: Layout, digest: str, kind: str) -> list[Attached]:
    """Return what *layout* has attached to the manifest of *digest*, verified by digest only."""
    descriptor = layout.tags().get(tag_of(digest, kind))
    if descriptor is None:
        return []
    try:
        layers = json.loads(layout.read(descriptor))["layers"]
        blobs = [Descriptor.from_json(value) for value in layers]
    except (ValueError, LookupError, TypeError) as error:
        raise DriverError(f"{tag_of(digest, kind)} in {layout.root} is malformed.") from error
    if sum(blob.size for blob in blobs) > _MOST_BYTES:
        raise DriverError(f"{tag_of(digest, kind)} in {layout.root} is too large to be read.")
    return [Attached(blob.media_type, layout.read(blob), blob.annotations) for blob in blobs]


def write_attached(layout: Layout, digest: str, kind: str, attached: Sequence[Attached]) -> None:
    """Let *attached* be all that is attached to the manifest of *digest* as *kind*."""
    blobs = []
    for one in attached:
        stored = layout.put(one.content, one.media_type)
        blobs.append({**stored.as_json(), "annotations": dict(one.annotations)})
    # As cosign has it: a configuration whose layers are not files, but are named all the same.
    config: dict[str, Any] = {
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"} for _blob in blobs],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [blob["digest"] for blob in blobs]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.put(canonical.encode(config), CONFIG).as_json(),
        "layers": blobs,
    }
    old = _replaced(layout, digest, kind, {str(blob["digest"]) for blob in blobs})
    if old:
        manifest["annotations"] = {REPLACED: ",".join(old)}
    layout.tag(tag_of(digest, kind), layout.put(canonical.encode(manifest), MANIFEST))


def _replaced(layout: Layout, digest: str, kind: str, now: set[str]) -> list[str]:
    """Return what was attached before and is not *now*, the newest first.

    A registry that has the older ones too would give them to everybody beside the newer.
    """
    descriptor = layout.tags().get(tag_of(digest, kind))
    if descriptor is None:
        return []
    before = json.loads(layout.read(descriptor))
    told = (before.get("annotations") or {}).get(REPLACED)
    found = [str(layer["digest"]) for layer in before["layers"]]
    found += str(told).split(",") if told else []
    return [one for one in dict.fromkeys(found) if one not in now][:_MOST_REPLACED]


def statement_documents(
    statements: Iterable[Statement], name: str, digests: Sequence[str]
) -> dict[str, bytes]:
    """Return the documents of *statements* about all of *digests*, by predicate type."""
    return {
        statement.predicate_type: _about_all(statement, name, digests) for statement in statements
    }


def _about_all(statement: Statement, name: str, digests: Sequence[str]) -> bytes:
    documents = [json.loads(statement.document(name, digest)) for digest in digests]
    subjects = [subject for document in documents for subject in document["subject"]]
    return canonical.encode({**documents[0], "subject": subjects})

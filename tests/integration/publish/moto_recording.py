# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's server with a record of what it is asked, and with AWS's word where moto has none.

    python moto_recording.py RECORD

prints its port. RECORD gets one line of JSON for each request: what was asked, and with what. What
moto cannot do is answered as AWS would, and a snapshot is pending until it is completed.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

from moto.ebs.models import EBSBackend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

DEPRECATED = (
    b'<EnableImageDeprecationResponse xmlns="http://ec2.amazonaws.example/doc/2016-11-15/">'
    b"<requestId>1</requestId><return>true</return></EnableImageDeprecationResponse>"
)


class Recording:
    """The application of moto's server, with an ear on it."""

    def __init__(self, record: Path) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._record = record.open("a", encoding="utf-8")
        self._lock = Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        headers = {
            name.removeprefix("HTTP_X_AMZ_"): value
            for name, value in environ.items()
            if name.startswith("HTTP_X_AMZ_")
        }
        form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
        # moto answers for the region that the signature names.
        signed = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
        asked: dict[str, Any] = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "region": signed[2] if len(signed) > 2 else "",
            "headers": headers,
        }
        if form:
            asked["form"] = dict(parse_qsl(body.decode()))
        elif len(body) < 65536:
            asked["body"] = body.decode("utf-8", "replace")
        with self._lock:
            self._record.write(json.dumps(asked) + "\n")
            self._record.flush()
        if asked.get("form", {}).get("Action") == "EnableImageDeprecation":
            start_response("200 OK", [("Content-Type", "text/xml")])
            return [DEPRECATED]
        return self._moto(environ, start_response)


def tell_states_as_aws_does() -> None:
    """Let a snapshot be pending, not completed, as long as blocks are put into it."""
    start, complete = EBSBackend.start_snapshot, EBSBackend.complete_snapshot

    def pending(self: Any, *given: Any, **named: Any) -> Any:
        snapshot = start(self, *given, **named)
        self.ec2_backend.snapshots[snapshot.snapshot_id].status = "pending"
        return snapshot

    def completed(self: Any, snapshot_id: str) -> Any:
        self.ec2_backend.snapshots[snapshot_id].status = "completed"
        return complete(self, snapshot_id)

    EBSBackend.start_snapshot = pending
    EBSBackend.complete_snapshot = completed


def main(record: Path) -> None:
    """Serve until killed."""
    tell_states_as_aws_does()
    server = make_server("127.0.0.1", 0, Recording(record), threaded=True)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

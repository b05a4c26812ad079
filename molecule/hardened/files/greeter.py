# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Greets over HTTP, and counts in its state directory how often it did."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

COUNT = Path(os.environ["STATE_DIRECTORY"]) / "count"
PORT = 8000


class Greeter(BaseHTTPRequestHandler):
    """Answers every request with the number that it has."""

    def do_GET(self) -> None:
        """Count and greet."""
        count = int(COUNT.read_text("ascii")) + 1 if COUNT.exists() else 1
        COUNT.write_text(str(count), "ascii")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"greeting {count}\n".encode())


HTTPServer(("", PORT), Greeter).serve_forever()

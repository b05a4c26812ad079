# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scanner sees every name that Jinja's own lexer sees."""

from __future__ import annotations

from collections import Counter

import jinja2
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.expressions import (
    expressions,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

FRAGMENTS = (
    *("{{", "}}", "{%", "%}", "{#", "#}", "'", '"', "{", "}", "[", "]", "(", ")", "\\", "-", "|"),
    *(" a ", " b ", "lookup", "~", "\n", "raw", "endraw", "{{ a }}", "{% if a %}", "it's"),
    *("{% raw %}", "{% endraw %}", "{%- raw -%}", "{%- endraw -%}"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_no_name_in_a_template_is_missed(text: str) -> None:
    whole = text + "{{ last }}"
    try:
        lexed = list(jinja2.Environment().lex(whole))
    except jinja2.TemplateSyntaxError:
        assume(False)
    wanted = Counter(value for line, kind, value in lexed if kind == "name")
    seen = Counter(
        token.text for found in expressions(whole) for token in found.tokens if token.kind == "name"
    )
    assert wanted - seen == Counter()

"""Ids of what arrives: short ways to what the long ones give."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from feedback.arrivals import NAMESPACE, event_uuid
from feedback.items import prompt_id
from storage.records import Prompt, Text, canonical_messages, digest

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_uuid_of_an_event_is_the_standard_library_s(parts: list[str]) -> None:
    assert event_uuid(*parts) == str(uuid.uuid5(NAMESPACE, digest(*parts)))


@given(TEXTS)
def test_the_id_of_a_prompt_is_the_beginning_of_its_text_s(said: str) -> None:
    messages = [{"role": "user", "content": said}]
    assert prompt_id(Text.of(canonical_messages(messages))) == Prompt.id_of(messages)

"""Links to a comparison: there and back, too long, and what somebody else wrote into one."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.links import MOST_CHARS, Question, link, read
from storage.errors import BadInput

NUMBERS = st.integers(0, 15).map(lambda n: n / 10)


def opened(made: str) -> Question | None:
    query = parse_qs(urlsplit(made).query, keep_blank_values=True)
    return read({key: values[0] for key, values in query.items()})


@given(
    text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=80),
    seed=st.integers(0, 2**48), temperature=NUMBERS, tokens=st.integers(1, 4_096),
)  # fmt: skip
def test_a_link_opens_what_it_was_made_of(
    text: str, seed: int, temperature: float, tokens: int
) -> None:
    asked = Question("r-0", "r-1", "", text, seed, temperature, tokens)
    assert opened(link("http://127.0.0.1:7860/", asked)) == asked


def test_a_long_prompt_is_named_by_its_id_or_refused() -> None:
    assert opened(link("http://h/", Question(after="r-1", prompt="p_1"))).prompt == "p_1"
    with pytest.raises(BadInput, match="too long for a link"):
        link("http://h/", Question(after="r-1", text="x" * MOST_CHARS))


def test_no_link_holds_the_address_of_an_endpoint() -> None:
    """Who opens it would send a prompt, and the key, wherever the link says."""
    made = link("http://h/", Question(after="http://evil.example/v1#m", text="Hi"))
    assert "evil" not in made
    assert opened(made).after == "endpoint"
    assert read({"compare": "https://evil.example/v1#m"}).after == "endpoint"


def test_another_address_is_no_link() -> None:
    assert read({}) is None
    assert read({"view": "light"}) is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "1.5"}, "whole number"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "1e9"}, "temperature"),
        ({"tokens": "0"}, "tokens"),
        ({"with": "r\n1"}, "not a name"),
        ({"prompt": "p" * 101}, "not a name"),
        ({"text": "x" * (MOST_CHARS + 1)}, "the most is"),
    ],
)
def test_hostile_values_are_refused_by_name(query: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read({"compare": "r-1", **query})

"""The sieve: never wrong about what was taken in, seldom about what was not."""

from __future__ import annotations

from pathlib import Path

from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.sieve import BITS, Known, Sieve
from storage.records import Comparison
from storage.store import Store


def test_what_was_taken_in_may_be_there_and_hardly_anything_else() -> None:
    """50,000 of 2**27 bits are set: of 20,000 other ids 20,000 / 2,684 = 7.5 come through."""
    sieve = Sieve()
    assert sieve.may_hold(["a", "b"]) == []
    held = [f"c_{number}" for number in range(50_000)]
    sieve.add(held[:100])
    sieve.add(held[100:])
    assert sieve.may_hold(held) == held
    wrong = sieve.may_hold([f"d_{number}" for number in range(20_000)])
    assert len(wrong) < 30  # eight standard deviations
    assert sieve.may_hold([]) == []
    assert BITS == 1 << 27


def test_what_others_add_makes_it_forget_what_it_knew(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        first = compared(store, "Hi?")
        known = Known(store)
        assert known.everything_may_be
        assert known.among(["x"]) == ["x"]
        known.read()
        assert known.among(["x", first.id]) == [first.id]
        own = compared(store, "Ho?")
        known.add([own.id])
        known.count(1)
        assert known.is_true()
        assert known.among([own.id, "x"]) == [own.id]
        compared(store, "Ha?")
        assert not known.is_true()
        assert known.everything_may_be
        known.read()  # once is enough: others may add all the time
        assert known.among(["x"]) == ["x"]


def compared(store: Store, question: str) -> Comparison:
    (prompt,) = add_prompts(store, [[{"role": "user", "content": question}]], "x")
    sides = add_responses(store, [NewResponse(prompt.id, said, "m") for said in ("Yes", "No")])
    return add_comparisons(store, [(sides[0], sides[1])], "x")[0]

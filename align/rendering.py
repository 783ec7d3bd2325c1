"""From messages and answers to token ids: the model's own chat template, for training as for
answering.

Pure apart from the tokenizer that is passed in; knows no torch. A response is what the model itself
would have to write after the prompt: the answer and exactly one end-of-turn token. A response that
does not fit loses its end, and then no end-of-turn is invented for it; a prompt loses its
beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from storage.errors import Unsupported

Ids = tuple[int, ...]

SENTINEL = "HONE-ANSWER"  # stands for an answer while we look what the template puts around it
PROMPT_SHARE = 4  # a prompt keeps at least max_tokens / 4. Choice: enough for the last question


@dataclass(frozen=True, slots=True)
class PairRow:
    """A prompt and two responses in tokens; the chosen one first."""

    id: str
    prompt_id: str
    prompt: Ids
    responses: tuple[Ids, Ids]
    p_chosen: float
    weight: float


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A prompt and one response in tokens, judged good or bad."""

    id: str
    prompt_id: str
    prompt: Ids
    responses: tuple[Ids]
    good: bool
    weight: float


Row = PairRow | LabelRow


@dataclass(frozen=True, slots=True)
class Template:
    """A tokenizer with what its chat template puts before and after an answer."""

    tokenizer: Any
    lead: str  # text between the generation prompt and the answer, mostly ""
    end: Ids  # the tokens after an answer up to and with the end-of-turn token

    @staticmethod
    def of(tokenizer: Any, stop_ids: Iterable[int] = ()) -> Template:
        """Read lead and end off the template by rendering a marked answer.

        Args:
            stop_ids: tokens at which the model's own generation stops, besides the tokenizer's EOS.

        Raises:
            Unsupported: there is no chat template, or no end-of-turn token.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise Unsupported("this model has no chat template; choose an instruction-tuned model")
        question = [{"role": "user", "content": "?"}]
        prompt = _render(tokenizer, question, True)
        whole = _render(tokenizer, [*question, {"role": "assistant", "content": SENTINEL}], False)
        lead, _, tail = whole[len(_common(prompt, whole)) :].partition(SENTINEL)
        stops = {*stop_ids, tokenizer.eos_token_id} - {None}
        tail_ids = _encode(tokenizer, tail)
        cut = next((i for i, token in enumerate(tail_ids) if token in stops), None)
        if cut is not None:
            return Template(tokenizer, lead, tuple(tail_ids[: cut + 1]))
        if tokenizer.eos_token_id is None:
            raise Unsupported(
                "this model's tokenizer has no end-of-turn token, so answers cannot stop"
            )
        return Template(tokenizer, lead, (tokenizer.eos_token_id,))

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> Ids:
        """Return the conversation up to where the model answers; a doubled BOS is made single."""
        ids = _encode(self.tokenizer, _render(self.tokenizer, messages, True))
        bos = self.tokenizer.bos_token_id
        return tuple(ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids)

    def response(self, messages: Sequence[Mapping[str, str]], text: str) -> Ids:
        """Return the answer as the model would write it after the prompt, with its end-of-turn.

        Names of special tokens inside an answer are spelled out, so that an answer that contains
        "<|im_end|>" does not end there.
        """
        tokenizer, answer = self.tokenizer, self.lead + text
        if any(name in text for name in tokenizer.all_special_tokens):
            ids = tokenizer.encode(answer, add_special_tokens=False, split_special_tokens=True)
            return (*ids, *self.end)
        before = _render(tokenizer, messages, True)
        start, both = _encode(tokenizer, before), _encode(tokenizer, before + answer)
        whole = (
            both[: len(start)] == start
        )  # else a token spans the border: encode the answer alone
        return (*(both[len(start) :] if whole else _encode(tokenizer, answer)), *self.end)


def fit(prompt: Ids, responses: Sequence[Ids], max_tokens: int) -> tuple[Ids, tuple[Ids, ...]]:
    """Return prompt and responses such that the prompt with any one response has ≤ max_tokens.

    Example:
        >>> fit((1, 2, 3, 4), [(7, 8, 9), (7,)], 6)  # one token too many: the prompt gives it
        ((2, 3, 4), ((7, 8, 9), (7,)))
    """
    room = max_tokens - max(1, min(len(prompt), max_tokens // PROMPT_SHARE))
    cut = tuple(response[:room] for response in responses)
    keep = max_tokens - max(len(response) for response in cut)
    return prompt[-keep:], cut


def pair_rows(
    template: Template, rows: Iterable[Mapping[str, Any]], max_tokens: int
) -> tuple[list[PairRow], Counter[str]]:
    """Return a snapshot's pairs in tokens, and how many were dropped or cut, by reason."""
    found, counts = [], Counter[str]()
    for row in rows:
        ids = _tokens(template, row, ("chosen", "rejected"), max_tokens, counts)
        if ids is None:
            continue
        prompt, (chosen, rejected) = ids
        if chosen == rejected:
            counts["pairs dropped: both responses are the same tokens"] += 1
            continue
        p, weight = float(row.get("p_chosen", 1.0)), float(row.get("weight", 1.0))
        key = str(row.get("prompt_id", row["id"]))
        found.append(PairRow(row["id"], key, prompt, (chosen, rejected), p, weight))
    return found, counts


def label_rows(
    template: Template, rows: Iterable[Mapping[str, Any]], max_tokens: int
) -> tuple[list[LabelRow], Counter[str]]:
    """Return a snapshot's labels in tokens, and how many were dropped or cut, by reason."""
    found, counts = [], Counter[str]()
    for row in rows:
        ids = _tokens(template, row, ("completion",), max_tokens, counts)
        if ids is None:
            continue
        prompt, (completion,) = ids
        key, weight = str(row.get("prompt_id", row["id"])), float(row.get("weight", 1.0))
        found.append(LabelRow(row["id"], key, prompt, (completion,), bool(row["label"]), weight))
    return found, counts


def _tokens(
    template: Template,
    row: Mapping[str, Any],
    names: tuple[str, ...],
    max_tokens: int,
    counts: Counter[str],
) -> tuple[Ids, tuple[Ids, ...]] | None:
    """Return one row's prompt and responses within max_tokens, counting what was lost."""
    if any(not row[name].strip() for name in names):
        counts["rows dropped: empty response"] += 1
        return None
    try:
        prompt = template.prompt(row["prompt"])
        responses = [template.response(row["prompt"], row[name]) for name in names]
    except TemplateError as error:
        counts[f"rows dropped: the model's chat template refuses them ({error})"] += 1
        return None
    ends = len(template.end)
    whole = [
        ids if row.get(f"{name}_finished", True) else ids[:-ends]  # cut off when it was sampled
        for name, ids in zip(names, responses, strict=True)
    ]
    short_prompt, short = fit(prompt, whole, max_tokens)
    counts["prompts cut at their beginning"] += len(short_prompt) < len(prompt)
    counts["responses cut at their end"] += sum(
        len(a) < len(b) for a, b in zip(short, whole, strict=True)
    )
    return short_prompt, short


def _render(tokenizer: Any, messages: Sequence[Mapping[str, str]], generation: bool) -> str:
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    text: str = tokenizer.apply_chat_template(
        plain, tokenize=False, add_generation_prompt=generation
    )
    return text


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _common(one: str, other: str) -> str:
    length = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return one[:length]

"""What the experiments learn from: prompts, sampled answers in tokens, a reward, pairs.

Answers are drawn at temperature 1 from the whole vocabulary, so that the mean of log π - log π_ref
over them is an unbiased estimate of KL(π ‖ π_ref). They stay tokens from sampling to scoring. An
answer that ran into `ANSWER_TOKENS` has no end-of-turn token: the KL is that of answers cut there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from align.answering import starter_prompts
from align.models import EMBEDDED, find_model
from align.policy import Policy, stop_ids
from align.rendering import Ids, PairRow, Template
from feedback.near import PROMPT_THRESHOLD, similarity

ANSWER_TOKENS = 48
SYSTEM = "Answer in one short sentence."  # else five of six answers are cut off at 48 tokens
HELD_OUT = 48  # prompts
TRAIN = 120  # prompts
SAMPLES = 4  # answers of the base per prompt
ROWS = 96  # answers drawn side by side


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled answer in tokens, the end-of-turn token included where it came to one."""

    ids: Ids
    finished: bool

    @property
    def tokens(self) -> int:
        """Return how many tokens it says something in."""
        return len(self.ids) - self.finished


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt in tokens with the base model's answers to it."""

    id: str
    prompt: Ids
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class World:
    """The embedded model's files and the questions, the same for every experiment."""

    model: str
    tokenizer: Any
    template: Template
    stops: set[int]
    cache: Path | None
    train: tuple[Question, ...] = ()
    held_out: tuple[Question, ...] = ()

    @property
    def pad(self) -> int:
        return int(self.tokenizer.pad_token_id)


def reward(answer: Answer) -> float:
    """Return what an answer is worth, in 0..1: the share of the room for it that it leaves unused.

    Nothing for an answer that does not come to its end, nor for one that says nothing. Choice: it
    needs no judge, two samples seldom have the same, and a small model learns it in minutes.

    Example:
        >>> reward(Answer((5, 6, 7, 2), True))
        0.9375
        >>> reward(Answer((5,) * 48, False))
        0.0
    """
    return 1 - answer.tokens / ANSWER_TOKENS if answer.finished and answer.tokens else 0.0


def open_world(cache: Path | None) -> World:
    """Return the world without answers: prompts of one turn, none near both sides of the split."""
    path = str(find_model(EMBEDDED).path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    stops = stop_ids(path)
    template = Template.of(tokenizer, stops)
    texts = [m[0]["content"] for m in starter_prompts() if len(m) == 1]
    random.Random(0).shuffle(texts)
    held_out, rest = texts[:HELD_OUT], texts[HELD_OUT:]
    apart = [t for t in rest if max(similarity(t, h) for h in held_out) < PROMPT_THRESHOLD]
    stops |= {template.end[-1]}
    sides = (
        tuple(Question(text, template.prompt(conversation(text))) for text in side)
        for side in (apart[:TRAIN], held_out)
    )
    return World(path, tokenizer, template, stops, cache, *sides)


def conversation(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def sample(
    policy: Policy, world: World, prompts: Sequence[Ids], *, each: int, seed: int
) -> list[tuple[Answer, ...]]:
    """Return `each` answers to every prompt, drawn as the policy stands (adapter on, or off)."""
    torch.manual_seed(seed)
    found: dict[int, tuple[Answer, ...]] = {}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), ROWS // each):
        part = order[start : start + ROWS // each]
        width = max(len(prompts[i]) for i in part)
        spare = [width - len(prompts[i]) for i in part]
        lines = [(world.pad,) * n + prompts[i] for n, i in zip(spare, part, strict=True)]
        rows = policy.generate(
            input_ids=torch.tensor(lines),
            attention_mask=torch.tensor([[0] * n + [1] * (width - n) for n in spare]),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=each,
            max_new_tokens=ANSWER_TOKENS,
            eos_token_id=sorted(world.stops),
            pad_token_id=world.pad,
            use_cache=True,
        )[:, width:].tolist()
        for place, i in enumerate(part):
            mine = rows[place * each : (place + 1) * each]
            found[i] = tuple(answer_of(row, world.stops) for row in mine)
    return [found[i] for i in range(len(prompts))]


def answer_of(row: Sequence[int], stops: set[int]) -> Answer:
    """Return the answer that a row of generated tokens begins with.

    Example:
        >>> answer_of([5, 6, 2, 2], {2})
        Answer(ids=(5, 6, 2), finished=True)
    """
    end = next((i for i, token in enumerate(row) if token in stops), None)
    return Answer(tuple(row if end is None else row[: end + 1]), end is not None)


def answered(policy: Policy, world: World) -> World:
    """Return the world with the base's answers to every question, from the cache if they are there.

    The cache's name holds what they depend on; whoever changes the sampling clears the folder.
    """
    kept = world.cache / f"answers-{TRAIN}-{HELD_OUT}-{SAMPLES}.json" if world.cache else None
    questions = [*world.train, *world.held_out]
    if kept and kept.exists():
        drawn = [tuple(Answer(tuple(i), f) for i, f in row) for row in json.loads(kept.read_text())]
    else:
        with policy.reference():
            prompts = [q.prompt for q in questions]
            drawn = sample(policy, world, prompts, each=SAMPLES, seed=1)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps([[(a.ids, a.finished) for a in row] for row in drawn]))
    full = [Question(q.id, q.prompt, row) for q, row in zip(questions, drawn, strict=True)]
    border = len(world.train)
    return World(
        world.model, world.tokenizer, world.template, world.stops, world.cache,
        tuple(full[:border]), tuple(full[border:]),
    )  # fmt: skip


def best_and_worst(questions: Sequence[Question]) -> list[PairRow]:
    """Return one pair per question whose answers are not all worth the same."""
    pairs = []
    for q in questions:
        ranked = sorted(q.answers, key=reward)
        if reward(ranked[-1]) > reward(ranked[0]):
            both = (ranked[-1].ids, ranked[0].ids)
            pairs.append(PairRow(q.id, q.id, q.prompt, both, 1.0, 1.0))
    return pairs


def longer_and_shorter(questions: Sequence[Question]) -> list[PairRow]:
    """Return one pair per question: of the first two answers that came to an end the longer wins.

    What they say plays no part, and that an answer did not stop is not rewarded either.
    """
    pairs = []
    for q in questions:
        whole = [a for a in q.answers if a.finished and a.tokens][:2]
        short, long = min(whole, key=len_of, default=None), max(whole, key=len_of, default=None)
        if short is not None and long is not None and short.tokens < long.tokens:
            pairs.append(PairRow(q.id, q.id, q.prompt, (long.ids, short.ids), 1.0, 1.0))
    return pairs


def len_of(answer: Answer) -> int:
    return answer.tokens

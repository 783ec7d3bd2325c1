"""Run the checks over what is stored: read the columns once, hand them to each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from feedback.alike import similarities
from feedback.checks import CHECKS, CheckResult, Columns, Finding
from feedback.checks.columns import DECISIONS
from feedback.checks.duplicates import prompt_items, repeated_prompts
from feedback.checks.length_bias import share as length_share
from feedback.checks.position_bias import share as position_share
from feedback.coded import coded, with_votes
from feedback.echoes import echoes
from feedback.features import excerpt, features
from feedback.live import excluded_ids
from feedback.meters import live_meters
from feedback.remedies import left_in
from feedback.surplus import among_several, changed_thumbs
from feedback.texts import near_text, printable
from feedback.values import brief
from storage.records import Duplicate
from storage.store import Store

Answer = TypeVar("Answer", Finding, CheckResult)

SLOW = ("labeler_quality", "agreement")  # the checks that take longest begin first
AT_ONCE = 2  # Choice: most of their time is numpy's, which lets another thread compute meanwhile
PREVIEW = 80  # characters of a prompt in a message
NO_ECHOES = {"echo_a": False, "echo_b": False}
MAX_PREVIEWS = 1_000  # Choice: five times as many as there are findings


def run_checks(store: Store, *, simulated: bool = True) -> list[CheckResult]:
    """Return what every check says about the live feedback; see `Store.aside`.

    Args:
        simulated: with the feedback of simulated labelers.
    """
    return store.aside(_checked, simulated=simulated)


def _checked(store: Store, *, simulated: bool) -> list[CheckResult]:
    return quoted(store, checks_of(gather(store, simulated=simulated)))


def find_repeats(store: Store) -> list[CheckResult]:
    """Return what the checks of duplicates say: quick, for they read no features of texts."""
    columns = gather(store, said=False)
    return [CHECKS[name](columns) for name in ("duplicate_prompts", "duplicate_responses")]


def checks_of(columns: Columns) -> list[CheckResult]:
    """Return what every check says about columns that are gathered already; `quoted` is next."""
    slowest = sorted(CHECKS, key=lambda name: name not in SLOW)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = {name: threads.submit(CHECKS[name], columns) for name in slowest}
    return [found[name].result() for name in CHECKS]


def quoted(store: Store, results: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the results with a few words of each example at the end of its message.

    They are the words of others: whoever shows a message escapes it.
    """
    examples = [one.example for one in results]
    examples += [finding.example for one in results for finding in one.findings]
    contents = store.texts({example.text for example in examples if example})
    told = []
    for one in results:
        findings = tuple(_quoting(finding, contents) for finding in one.findings)
        told.append(replace(_quoting(one, contents), findings=findings))
    return told


def _quoting(answer: Answer, contents: Mapping[str, str]) -> Answer:
    example = answer.example
    if example is None or not contents.get(example.text, "").strip():  # it may have been erased
        return answer
    words = printable(excerpt(contents[example.text], example.sign))
    return replace(answer, message=f"{answer.message} For example: “{words}”")


def live_length_bias(store: Store) -> CheckResult:
    """Return the length bias without its findings, quick enough for every page and vote."""
    return length_share(*live_meters(store).longer)


def live_position_bias(store: Store) -> CheckResult:
    """Return the bias to the left without its findings, as quick."""
    return position_share(*live_meters(store).left)


def gather(store: Store, *, simulated: bool = True, said: bool = True) -> Columns:
    """Return the columns that the checks read, from the store as it is now.

    Args:
        simulated: with the feedback of simulated labelers.
        said: with the features of what every text says.
    """
    columns = gather_numbers(store, simulated=simulated, alike=True, said=said)
    columns = replace(columns, items=prompt_items(columns))
    return replace(
        columns, previews=_previews(store, columns), vote_ids=_vote_ids(store, columns.votes)
    )


def gather_numbers(
    store: Store, *, simulated: bool = True, alike: bool = False, said: bool = False
) -> Columns:
    """Return the columns without what is excluded.

    Args:
        simulated: with the feedback of simulated labelers.
        alike: with how alike the two answers of each comparison are, else 0.
        said: with the features of every text, else none.
    """
    # The votes are read while Python looks at what they are about, and so after it: `with_votes`.
    items = store.coded_items()
    with ThreadPoolExecutor(1) as beside:
        votes = beside.submit(store.frame, "coded_votes")
        frames = coded(items)
        compared, prompts = frames["comparisons"], frames["prompts"]
        texts = compared["text_a"].cat.categories  # with those of prompts: see `coded`
        found = features(store, texts, prompts["text"]) if said else pd.DataFrame()
        repeated = echoes(store, compared, prompts, found) if said else NO_ECHOES
        alikeness = similarities(store, compared) if alike else 0.0
        frames["comparisons"] = compared.assign(similarity=alikeness, **repeated)
        frames = with_votes(frames, votes.result())
    frames = _counted(frames, excluded_ids(store), simulated)
    return Columns(decisions=_decisions(store), features=found, **frames)


def _counted(
    frames: Mapping[str, pd.DataFrame], out: Mapping[str, Collection[str]], simulated: bool
) -> dict[str, pd.DataFrame]:
    """Return the frames without what is excluded, and without simulated votes if so wanted."""
    kept = {name: frame[left_in(frame, out)] for name, frame in frames.items()}
    kept["ratings"] = kept["ratings"][~changed_thumbs(kept["ratings"])]
    votes = kept["votes"]
    kept["votes"] = votes[votes["comparison"].isin(kept["comparisons"]["comparison"])]
    if not simulated:
        for name in ("votes", "ratings"):
            kept[name] = kept[name][kept[name]["source"] != "simulated"]
    return {name: frame.reset_index(drop=True) for name, frame in kept.items()}


def _decisions(store: Store) -> pd.DataFrame:
    """Return what people decided about duplicates, oldest first."""
    rows = [
        (d.kind, d.item, d.earlier, d.decision, d.created_at)
        for d in store.rows(Duplicate, order="created_at, id")
    ]
    return pd.DataFrame(rows, columns=list(DECISIONS))


def _vote_ids(store: Store, votes: pd.DataFrame) -> Mapping[int, str]:
    """Return the ids of the votes of people who have several on one comparison, by their hashes."""
    coded = votes.loc[among_several(votes), "vote"].tolist()
    if not coded:
        return {}
    found = store.frame("vote_ids", coded=coded)
    return dict(zip(found["coded"].tolist(), found["vote"], strict=True))


def _previews(store: Store, columns: Columns) -> Mapping[str, str]:
    """Return the beginning of each prompt that later items repeat."""
    repeats = repeated_prompts(prompt_items(columns))
    wanted = repeats["earlier_prompt"].drop_duplicates().head(MAX_PREVIEWS)
    prompts = columns.prompts
    shown = prompts[prompts["prompt"].isin(wanted)]
    contents = store.texts(shown["text"])
    return {
        prompt: _beginning(contents[text])
        for prompt, text in zip(shown["prompt"], shown["text"], strict=True)
    }


def _beginning(messages: str) -> str:
    return brief(near_text(json.loads(messages)), PREVIEW)

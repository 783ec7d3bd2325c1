"""Which answers mostly repeat their prompt: found once for each answer to a prompt, and kept.

The values lie in `cache/echoes.npz` of the data folder. The file may be deleted at any time: it is
made again, in about 0.05 ms for each answer of about its prompt's length. `is_echo` is the pure
part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback import kept
from feedback.checks.said import Mask, found_in, places_of, values
from feedback.features import keys_of, said
from storage.store import Store

# Choice: an answer echoes its prompt when it is a piece of it with at least half of its words, or
# all of it and at most a tenth more. Whoever quotes less may have been asked for a quotation;
# whoever adds more to the question may have answered it.
LEAST, MOST = 0.5, 1.1  # words of the answer for each word of the prompt
MIN_WORDS = 5  # Choice: a shorter answer may well be the words asked about
AT_ONCE = 2_000  # answers whose texts are in memory at the same time
SAVE_AFTER = 500  # Choice: new values; fewer are found again in no time
MADE_WITH = f"v1 {LEAST} {MOST} {MIN_WORDS}"  # a file made otherwise is not used
MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number without a pattern: 2^64 / golden ratio


def is_echo(answer: str, prompt: str) -> bool:
    """Say whether an answer mostly repeats its prompt; case and spacing do not matter.

    Example:
        >>> asked = "Explain in your own words why the sky is blue."
        >>> is_echo("in your own words WHY the sky is blue.", asked)
        True
        >>> is_echo("why the sky is blue.", asked), is_echo(f"{asked} It scatters light.", asked)
        (False, False)
    """
    answer_words, prompt_words = (np.array([len(one.split())]) for one in (answer, prompt))
    return bool(_long_enough(answer_words, prompt_words)[0]) and _repeats(answer, prompt)


def echoes(
    store: Store, comparisons: pd.DataFrame, prompts: pd.DataFrame, features: pd.DataFrame
) -> dict[str, Mask]:
    """Return which answers of some comparisons mostly repeat their prompt: "echo_a", "echo_b".

    Args:
        comparisons: with the columns prompt, text_a, text_b.
        prompts: with the columns prompt, text.
        features: of every text of both, by its id; only the column words is read.
    """
    at = found_in(pd.Index(prompts["prompt"]), comparisons["prompt"])
    prompt = np.tile(np.append(places_of(features, prompts["text"]), -1)[at], 2)
    answer = np.concatenate([places_of(features, comparisons[f"text_{side}"]) for side in "ab"])
    words = [values(features, "words", places) for places in (answer, prompt)]
    near = np.flatnonzero((answer >= 0) & (prompt >= 0) & _long_enough(*words))
    ids = features.index.to_numpy(object)
    found = np.zeros(len(answer), dtype=bool)
    found[near] = _kept(store, ids[answer[near]], ids[prompt[near]])
    return dict(zip(("echo_a", "echo_b"), np.split(found, 2), strict=True))


def _long_enough(answer: npt.NDArray[np.int64], prompt: npt.NDArray[np.int64]) -> Mask:
    """Return which answers have as many words as an echo of their prompt has."""
    return (answer >= MIN_WORDS) & (LEAST * prompt <= answer) & (answer <= MOST * prompt)


def _repeats(answer: str, prompt: str) -> bool:
    """Return whether an answer is a piece of its prompt, or begins with all of it."""
    one, whole = ("".join(text.casefold().split()) for text in (answer, prompt))
    return one in whole or one.startswith(whole)


def _kept(store: Store, answers: npt.NDArray[np.object_], prompts: npt.NDArray[np.object_]) -> Mask:
    """Return which answers repeat their prompts, by the ids of the texts; only new ones are read.

    A text that was erased repeats nothing.
    """
    path = store.data / "cache" / "echoes.npz"
    keys = keys_of(answers) ^ (keys_of(prompts) * MIX)
    keys, first, place = np.unique(keys, return_index=True, return_inverse=True)
    file = kept.read(path, MADE_WITH) or {"keys": keys[:0], "values": np.zeros(0, dtype=bool)}
    known = pd.Index(file["keys"]).get_indexer(keys)
    found = np.append(file["values"], False)[known]
    new = np.flatnonzero(known < 0)
    for start in range(0, len(new), AT_ONCE):
        part = new[start : start + AT_ONCE]
        pairs = list(zip(answers[first[part]], prompts[first[part]], strict=True))
        texts = store.texts(id for pair in pairs for id in pair)
        both = [(texts.get(answer, ""), texts.get(prompt, "")) for answer, prompt in pairs]
        found[part] = [bool(a and p) and _repeats(a, said(p)) for a, p in both]
    if len(new) >= SAVE_AFTER:
        kept.write(path, MADE_WITH, keys=keys, values=found)
    return found[place]

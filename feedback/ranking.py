"""Which model do people prefer? Bradley–Terry with intervals, with and without length control.

Pure: frames and a random source in, a leaderboard out.

A tie counts as half a win for either side, and so does `both_bad`, as in Chatbot Arena ("tie
(bothbad)"). Skips and silent repeats are left out, and so are votes on two answers of one model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import evalica
import numpy as np
import pandas as pd
from evalica import Winner
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

TIMES = 200  # Choice: resamples; the ends of an interval then wander by about 7 % of its width
WINNERS = {"a": Winner.X, "b": Winner.Y, "tie": Winner.Draw, "both_bad": Winner.Draw}
_WINNERS = np.array(sorted(Winner), dtype=object)  # code → Winner
# Choice: a prior on strengths and length effect as weak as 0.001 of a vote. Without it the effect
# would be infinite where the longer answer always won.
PRIOR = 1e-3
STEPS = 50  # of Newton's, at most; each doubles the digits, about seven are enough
TOLERANCE = 1e-12  # relative gain in log-likelihood; the strengths are then right to six digits

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """One model. Scores are strengths: a wins against b with probability s_a / (s_a + s_b).

    Their geometric mean is 1. None where there is none: against the models that are ranked, it
    never lost, never won, or was never compared.
    """

    model: str  # its name, with " + run" where an adapter of that run answered
    votes: int
    win_rate: float  # 0..1, the mean over its opponents; ties are half a win
    score: float | None
    low: float | None
    high: float | None
    score_length_controlled: float | None
    low_length_controlled: float | None
    high_length_controlled: float | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The models, best first, and what length does."""

    models: tuple[Standing, ...]
    votes: int
    twice_as_long: float | None  # odds of winning, when twice as long, over those when equally long
    twice_as_long_low: float | None
    twice_as_long_high: float | None

    def as_json(self) -> dict[str, Any]:
        """Return what `leaderboard --json` prints."""
        return {**asdict(self), "models": [asdict(one) for one in self.models]}


@dataclass(frozen=True, slots=True)
class Games:
    """Votes on two models, those alike counted together; one entry a kind of vote."""

    models: tuple[str, ...]
    first: Codes  # index into `models`
    second: Codes
    winner: Codes  # a Winner
    longer: Floats  # (characters of first - of second) / (their sum), -1..1; 0 for two empty ones
    votes: Floats  # how many


def leaderboard(
    votes: pd.DataFrame,
    comparisons: pd.DataFrame,
    rng: np.random.Generator,
    *,
    times: int = TIMES,
) -> Leaderboard:
    """Return the models in the order of their Bradley–Terry scores.

    The intervals hold 95 % of `times` Bayesian bootstraps over votes (Rubin 1981: each vote gets a
    random weight, never none, so that a score which is finite stays so). Votes on the same two
    answers, or by one person, are taken as independent, which makes them a little too narrow.

    Args:
        votes: Live votes: comparison, verdict, kind, model_a, model_b, chars_a, chars_b.
        comparisons: comparison, adapter_a, adapter_b.
        rng: Where the resamples come from.
    """
    games = played(votes, comparisons)
    if not games.models:
        return Leaderboard((), 0, None, None, None)
    ranked = _ranked(games)
    plain, controlled, effect = scores(games, ranked, games.votes)
    drawn = []
    for _ in range(times if ranked.any() else 0):
        weights = rng.standard_gamma(games.votes)
        drawn.append(scores(games, ranked, weights * games.votes.sum() / weights.sum()))
    spread = _ends(np.array([one[0] for one in drawn]), plain)
    spread_controlled = _ends(np.array([one[1] for one in drawn]), controlled)
    counts = np.bincount(np.append(games.first, games.second), np.tile(games.votes, 2))
    rates = win_rates(games)
    rows = [
        Standing(
            model,
            round(counts[i]),
            float(rates[i]),
            *(_known(end[i]) for end in (plain, *spread)),
            *(_known(end[i]) for end in (controlled, *spread_controlled)),
        )
        for i, model in enumerate(games.models)
    ]
    rows.sort(key=lambda one: (one.score is None, -(one.score or 0), -one.win_rate, one.model))
    odds = np.exp(np.array([effect, *(one[2] for one in drawn)]) / 3)  # (2 - 1) / (2 + 1) = 1/3
    ends = _ends(odds[1:, None], odds[:1])
    return Leaderboard(
        tuple(rows),
        round(games.votes.sum()),
        *(_known(end[0]) for end in (odds[:1], *ends)),
    )


def played(votes: pd.DataFrame, comparisons: pd.DataFrame) -> Games:
    """Return the votes that chose between two models, counted."""
    counts = votes["verdict"].isin(list(WINNERS)) & (votes["kind"] != "repeat")
    votes = votes[counts]
    sides = [_names(votes, comparisons, side) for side in "ab"]
    models = sorted({*sides[0].unique(), *sides[1].unique()})
    index = pd.Index(models, dtype=object)
    first, second = (index.get_indexer(side) for side in sides)
    chars = [votes[f"chars_{side}"].to_numpy(dtype=float) for side in "ab"]
    rows = pd.DataFrame(
        {
            "first": first,
            "second": second,
            "winner": votes["verdict"].astype(object).map(WINNERS).to_numpy(dtype=np.int64),
            "longer": (chars[0] - chars[1]) / np.maximum(chars[0] + chars[1], 1),
        }
    )
    kinds = rows[first != second].groupby(list(rows.columns)).size()
    columns = [kinds.index.get_level_values(name).to_numpy() for name in kinds.index.names]
    used = sorted({*columns[0], *columns[1]})  # a model that met only itself plays no game
    place = np.zeros(len(models), dtype=np.int64)
    place[used] = np.arange(len(used))
    return Games(
        tuple(models[i] for i in used),
        place[columns[0].astype(int)],
        place[columns[1].astype(int)],
        columns[2].astype(np.int64),
        columns[3].astype(float),
        kinds.to_numpy(dtype=float),
    )


def _names(votes: pd.DataFrame, comparisons: pd.DataFrame, side: str) -> pd.Series:
    """Return the name of the model on one side of each vote, with its adapter."""
    adapters = comparisons.set_index("comparison")[f"adapter_{side}"].astype(object)
    adapter = votes["comparison"].astype(object).map(adapters).fillna("")
    model = votes[f"model_{side}"].astype(object)
    return model.where(adapter == "", model + " + " + adapter)


def win_rates(games: Games) -> Floats:
    """Return the share of votes that each model won, the mean over its opponents; ties are half."""
    found = evalica.average_win_rate(
        games.first.tolist(),
        games.second.tolist(),
        _WINNERS[games.winner].tolist(),
        index=pd.RangeIndex(len(games.models)),
        weights=games.votes,
    )
    return found.scores.sort_index().to_numpy()


def scores(
    games: Games, ranked: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats, float]:
    """Return strengths without and with length control, NaN where not ranked, and the effect.

    Args:
        ranked: (models,), which are compared with each other in a way that gives a finite score.
        weights: Of the games, (games,).

    Returns:
        Plain strengths (models,), by evalica; controlled ones (models,); the effect of length, in
        log-odds per unit of `Games.longer`.
    """
    plain, controlled = (np.full(len(games.models), np.nan) for _ in range(2))
    if not ranked.any():
        return plain, controlled, np.nan
    place = np.cumsum(ranked) - 1
    inside = ranked[games.first] & ranked[games.second]
    first, second = place[games.first[inside]], place[games.second[inside]]
    winner, weights = games.winner[inside], weights[inside]
    plain[ranked] = bradley_terry(first, second, winner, weights, int(ranked.sum()))
    won = np.select([winner == Winner.X, winner == Winner.Y], [1.0, 0.0], 0.5)
    logs, effect = with_length(first, second, won, games.longer[inside], weights, int(ranked.sum()))
    controlled[ranked] = np.exp(logs)
    return plain, controlled, effect


def bradley_terry(
    first: Codes, second: Codes, winner: Codes, weights: Floats, models: int
) -> Floats:
    """Return strengths (models,) by evalica's defaults, ties included; their geometric mean is 1.

    Source: Bradley and Terry (1952); Newman, "Efficient Computation of Rankings from Pairwise
    Comparisons" (2023), as evalica has it (Ustalov 2025).
    """
    couple = (first * models + second) * len(Winner) + winner
    kinds, inverse = np.unique(couple, return_inverse=True)
    x, y = np.divmod(kinds // len(Winner), models)
    found = evalica.bradley_terry(
        x.tolist(),
        y.tolist(),
        _WINNERS[kinds % len(Winner)].tolist(),
        index=pd.RangeIndex(models),
        weights=np.bincount(inverse, weights),
    )
    return found.scores.sort_index().to_numpy()


def with_length(
    first: Codes, second: Codes, won: Floats, longer: Floats, weights: Floats, models: int
) -> tuple[Floats, float]:
    """Return log-strengths (models,), with mean 0, and the effect of length, by Newton's method.

    Maximises Σ w [y log σ(z) + (1 - y) log σ(-z)] with z = t_first - t_second + g · longer, less
    the prior. Swapping the sides of a game changes nothing.

    Args:
        won: 1 where the first won, 0 where the second did, 1/2 for a tie.

    Source: style control as in Li, Angelopoulos and Chiang, "Does style matter? Disentangling style
    and substance in Chatbot Arena" (LMSYS 2024): Bradley–Terry with the difference of lengths over
    their sum as covariate; here in characters and not standardised.
    """
    parameters = np.zeros(models + 1)  # strengths, then the effect
    value = -np.inf
    step = np.zeros(models + 1)
    for _ in range(STEPS):
        trial = parameters + step
        z = trial[first] - trial[second] + trial[-1] * longer
        height = _height(z, won, weights) - PRIOR / 2 * float(trial @ trial)
        if height < value:  # too far: half as far
            step /= 2
            continue
        gained, value, parameters = height - value, height, trial
        if gained <= TOLERANCE * max(1.0, abs(value)):
            break
        step = _newton_step(parameters, z, first, second, won, longer, weights)
    logs = parameters[:-1]
    return logs - logs.mean(), float(parameters[-1])


def _height(z: Floats, won: Floats, weights: Floats) -> float:
    """Return the log-likelihood: Σ w (y z - log(1 + e^z))."""
    return float(weights @ (won * z - np.logaddexp(0, z)))


def _newton_step(
    parameters: Floats,
    z: Floats,
    first: Codes,
    second: Codes,
    won: Floats,
    longer: Floats,
    weights: Floats,
) -> Floats:
    """Return the step to the top of the parabola that touches the likelihood here."""
    models = len(parameters) - 1
    p = np.exp(-np.logaddexp(0, -z))
    pull, bend = weights * (won - p), weights * p * (1 - p)

    def summed(values: Floats) -> Floats:  # +1 for the first model of a game, -1 for the second
        lost = np.bincount(second, values, models)
        return np.asarray(np.bincount(first, values, models) - lost, dtype=float)

    gradient = np.append(summed(pull), pull @ longer) - PRIOR * parameters
    couples = np.bincount(first * models + second, bend, models * models).reshape(models, models)
    couples = couples + couples.T
    hessian = np.zeros((models + 1, models + 1))
    hessian[:-1, :-1] = np.diag(couples.sum(axis=1)) - couples
    hessian[-1, :-1] = hessian[:-1, -1] = summed(bend * longer)
    hessian[-1, -1] = bend @ (longer * longer)
    hessian[np.diag_indices_from(hessian)] += PRIOR
    return np.asarray(np.linalg.solve(hessian, gradient), dtype=float)


def _ranked(games: Games) -> NDArray[np.bool_]:
    """Return which models have finite scores: the largest group that beat each other in circles.

    Source: Ford, "Solution of a ranking problem from binary comparisons" (1957): the likelihood has
    a maximum where no models can be split off that never lost (or never won) against the others.
    """
    count = len(games.models)
    wins = [games.winner != Winner.Y, games.winner != Winner.X]  # a tie is half a win for both
    winners = np.append(games.first[wins[0]], games.second[wins[1]])
    losers = np.append(games.second[wins[0]], games.first[wins[1]])
    beats = sparse.csr_array((np.ones(len(winners)), (winners, losers)), (count, count))
    group = csgraph.connected_components(beats, directed=True, connection="strong")[1]
    sizes = np.bincount(group)
    if sizes.max() < 2:
        return np.zeros(count, bool)
    return group == group[np.argmax(sizes[group])]


def _ends(drawn: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval of each column, the value itself inside."""
    if not len(drawn):
        return values, values
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return np.minimum(low, values), np.maximum(high, values)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

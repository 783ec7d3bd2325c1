"""The lower part of the quality screen: who votes how, three pictures, each with its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from feedback.ranking import Leaderboard, Standing
from feedback.screens.charts import agreement_chart, time_chart, win_rate_chart
from feedback.screens.parts import percent
from feedback.survey import Survey, standings
from feedback.values import brief

FEW = 20  # votes; Choice: fewer say little about a person, and the table says so
MOST = 200  # Choice: labelers in the table, those with the most votes; the file has all
LABELERS = [
    "Labeler", "Votes", "Median s", "Left", "Longer", "Agrees", "Accuracy", "Gold",
    "Again the same", "Look at",
]  # fmt: skip


MODELS = ["Model", "Score", "95 %", "Won", "Votes", "At equal length", "95 % of that"]


@dataclass(frozen=True, slots=True)
class Models:
    title: gr.Markdown
    table: gr.Dataframe

    def parts(self) -> list[Any]:
        return [self.title, self.table]


@dataclass(frozen=True, slots=True)
class Overview:
    pictures: gr.HTML
    title: gr.Markdown
    table: gr.Dataframe

    def parts(self) -> list[Any]:
        return [self.pictures, self.title, self.table]


def draw(view: Overview, survey: Survey) -> dict[Any, Any]:
    """Draw pictures and table."""
    table = survey.labelers
    shown = table.sort_values(["votes", "labeler"], ascending=[False, True]).head(MOST)
    rows = [labeler_row(row) for row in shown.itertuples()]
    more = f" The first {MOST} of {len(table):,}; the file has all." if len(table) > MOST else ""
    return {
        view.pictures: pictures_html(survey),
        view.title: gr.Markdown(
            f"## Labelers\nA share in brackets rests on fewer than {FEW} votes.{more}",
            visible=bool(rows),
        ),
        view.table: gr.Dataframe(pd.DataFrame(rows, columns=LABELERS), visible=bool(rows)),
    }


def pictures_html(survey: Survey) -> str:
    """Return the three pictures, each with the link to its numbers (our own words and numbers)."""
    drawn = {
        "lengths": win_rate_chart(survey.lengths),
        "times": time_chart(survey.times),
        "agreement": agreement_chart(survey.agreement),
    }
    cells = "".join(
        f"<div>{picture}<a class='hone-small' href='/api/v1/tables/{name}.csv' download>"
        "Download the numbers</a></div>"
        for name, picture in drawn.items()
    )
    return f"<div class='hone-curves'>{cells}</div>"


def labeler_row(row: Any) -> list[str]:
    """Return a labeler as a row of the table; a dash where there is nothing to go by."""
    seconds = "–" if pd.isna(row.seconds_median) else f"{row.seconds_median:.1f}"
    return [
        brief(row.labeler, 40),
        f"{row.votes:,}",
        seconds,
        share(row.left_share, row.left_n),
        share(row.longer_share, row.longer_n),
        share(row.agreement, row.agreement_n),
        share(row.accuracy, row.accuracy_n),
        share(row.gold_accuracy, row.gold_n),
        share(row.consistency, row.repeats_n),
        ", ".join(row.flags),
    ]


def share(value: float, n: int) -> str:
    """Return a share in per cent, in brackets where it rests on few votes.

    Example:
        >>> share(0.5, 40), share(0.5, 4), share(float("nan"), 0)
        ('50 %', '(50 %)', '–')
    """
    if not n or pd.isna(value):
        return "–"
    return percent(value) if n >= FEW else f"({percent(value)})"


def show_models(workspace: Any, view: Models) -> dict[Any, Any]:
    """Rank the models that people compared; nothing where there are fewer than two."""
    found = standings(workspace.store)
    rows = [model_row(one) for one in found.models]
    return {
        view.title: f"## Models\n{models_words(found)}" if rows else "",
        view.table: gr.Dataframe(pd.DataFrame(rows, columns=MODELS), visible=bool(rows)),
    }


def models_words(found: Leaderboard) -> str:
    """Return what the scores mean, and what length does to them."""
    words = (
        "Bradley–Terry: of two models with scores 2 and 1, the first wins two votes of three. "
        "Ties count half."
    )
    if found.twice_as_long is None:
        return words
    return (
        f"{words} Being twice as long multiplies the odds of winning by {found.twice_as_long:.2f}."
    )


def model_row(one: Standing) -> list[str]:
    """Return a model as a row of the table."""
    plain = score(one.score), spread(one.low, one.high)
    equal = one.low_length_controlled, one.high_length_controlled
    controlled = score(one.score_length_controlled), spread(*equal)
    return [brief(one.model, 60), *plain, percent(one.win_rate), f"{one.votes:,}", *controlled]


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def spread(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.2f}–{high:.2f}"


def build_models() -> Models:
    """Lay out the leaderboard."""
    title = gr.Markdown("", elem_classes="hone-note")
    table = gr.Dataframe(
        headers=MODELS, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="models",
    )  # fmt: skip
    file_link("models", "Download the models")
    return Models(title, table)


def file_link(name: str, words: str) -> None:
    """Lay out the link to a table's file (our own words)."""
    gr.HTML(
        f"<a class='hone-small' href='/api/v1/tables/{name}.csv' download>{words}</a>",
        js_on_load=None, elem_id=f"{name}-file", padding=False,
    )  # fmt: skip


def build_overview() -> Overview:
    """Lay out pictures and labelers."""
    pictures = gr.HTML("", js_on_load=None, elem_id="quality-pictures", padding=False)
    title = gr.Markdown("", visible=False)
    table = gr.Dataframe(
        headers=LABELERS, datatype="str", interactive=False, visible=False, show_label=False,
        buttons=[], elem_id="labelers", wrap=False,
    )  # fmt: skip
    file_link("labelers", "Download the labelers")
    return Overview(pictures, title, table)

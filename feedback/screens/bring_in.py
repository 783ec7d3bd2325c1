"""The part of the data screen that brings a file in: look at its first rows, name its columns.

Read by `feedback.reading`, stored by `feedback.imports`: as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from feedback import audit, browse, imports, reading
from feedback.accounts import ALONE
from feedback.formats import Preview
from feedback.formats.generic import FIELDS, PAIR, RATING
from feedback.formats.rows import UNKNOWN, RatingRow, Row
from feedback.screens.parts import follow, plain, wire
from feedback.values import brief
from storage.errors import BadInput

SHOWN_REFUSED = 200  # Choice: of the refused rows; who has more mends the file first
FORMATS_IN = [
    ("Find out by looking", "auto"), ("TRL pairs or labels", "trl"), ("Votes", "votes"),
    ("Rankings", "rankings"), ("Chatbot Arena", "arena"), ("Argilla", "argilla"),
    ("Label Studio", "label-studio"), ("OpenAssistant trees", "openassistant"),
    ("Open WebUI", "open-webui"), ("feedloop", "feedloop"), ("Gradio flags", "gradio-flags"),
    ("LLaMA-Factory", "llama-factory"), ("Any columns", "columns"),
]  # fmt: skip
DUPLICATES = [("Link to the earlier one", "link"), ("Skip it", "skip"), ("Keep both", "keep")]
PAIRS, THUMBS = "pairs", "thumbs"
KINDS = [("Two answers and a verdict", PAIRS), ("One answer and a thumb", THUMBS)]
WORDS = {
    "prompt": "Prompt", "a": "Answer A", "b": "Answer B", "verdict": "Verdict",
    "answer": "Answer", "thumb": "Thumb", "left": "Which stood left", "model_a": "Model of A",
    "model_b": "Model of B", "model": "Model", "labeler": "Who judged", "created_at": "When",
}  # fmt: skip
ASKED = {
    PAIRS: (*PAIR, "labeler", "left", "model_a", "model_b", "created_at"),
    THUMBS: (*RATING, "labeler", "model"),
}
NONE = ("(no column)", "")
COUNTED = {
    "prompts": "prompts",
    "comparisons": "comparisons",
    "votes": "votes",
    "ratings": "thumbs",
    "edits": "edits",
}
REFUSED = ["Row", "Why it was refused"]
FIRST = ["Row", "Says", "Prompt", "Answers"]


@dataclass(frozen=True, slots=True)
class ImportView:
    upload: gr.File
    path: gr.Textbox
    form: gr.Dropdown
    seen: gr.Markdown
    first: gr.Dataframe
    mapping: gr.Column
    kind: gr.Radio
    columns: dict[str, gr.Dropdown]  # by field
    result: gr.Markdown
    refused: gr.Dataframe
    counts: gr.HTML

    def asked(self) -> list[Any]:
        """What says which file is meant, and how it is to be read."""
        return [self.upload, self.path, self.form, self.kind, *self.columns.values()]

    def looked(self) -> list[Any]:
        """What a look at the file changes."""
        return [self.seen, self.first, self.mapping, self.kind, *self.columns.values(),
                self.result, self.refused]  # fmt: skip


def counts_html(workspace: Any) -> str:
    """Return how much there is as a row of large numbers (our own words and numbers only)."""
    numbers = browse.counts(workspace.store)
    cells = (
        f"<div><b>{numbers[key]:,}</b><span>{word}</span></div>" for key, word in COUNTED.items()
    )
    return f"<div class='hone-counts'>{''.join(cells)}</div>"


def chosen(upload: str | None, path: str) -> Path:
    """Return the uploaded file, or else the file at the path."""
    name = upload or path.strip()
    if not name:
        raise BadInput("No file was chosen: drop one into the field, or write the path of one.")
    return Path(name)


def named(form: str, kind: str, columns: Sequence[str]) -> dict[str, str] | None:
    """Return the column of each field that is asked for; None where a format names them itself."""
    if form not in ("auto", "columns"):
        return None
    by_field = dict(zip(FIELDS, columns, strict=True))
    found = {field: by_field[field] or "" for field in ASKED[kind]}
    return found if any(found.values()) else None


def look(
    workspace: Any, view: ImportView, upload: str | None, path: str, form: str
) -> dict[Any, Any]:
    """Say what the file looks like, with its first rows as they would be taken."""
    file = chosen(upload, path)
    seen = reading.look(file, form)
    return {
        **_drawn(view, file.name, seen),
        **_asked(view, seen),
        view.result: "",
        view.refused: gr.Dataframe(visible=False),
    }


def look_again(
    workspace: Any,
    view: ImportView,
    upload: str | None,
    path: str,
    form: str,
    kind: str,
    *columns: str,
) -> dict[Any, Any]:
    """Show the first rows with the columns that are named now."""
    file = chosen(upload, path)
    asked = named("columns", kind, columns)
    shown = {one: gr.Dropdown(visible=field in ASKED[kind]) for field, one in view.columns.items()}
    return {**_drawn(view, file.name, reading.look(file, "columns", asked or {})), **shown}


def _drawn(view: ImportView, name: str, seen: Preview) -> dict[Any, Any]:
    """Draw what was found: a sentence, and the first rows, those that are refused with why."""
    told = f"**{plain(name)}** looks like **{_label(seen.format)}**."
    if seen.columns:
        told = f"**{plain(name)}** has the columns {plain(', '.join(seen.columns)[:300])}."
    if seen.why:
        told += " Say below what they hold." if seen.columns else f" {plain(seen.why)}"
    elif seen.refused and not seen.rows:
        told += " None of its first rows can be taken."
    rows = [_first(row) for row in seen.rows]
    rows += [[str(one.row), "refused", brief(one.why, 200), ""] for one in seen.refused]
    rows.sort(key=lambda row: int(row[0]))
    return {
        view.seen: told,
        view.first: gr.Dataframe(pd.DataFrame(rows, columns=FIRST), visible=bool(rows)),
    }


def _first(row: Row) -> list[str]:
    """Return one of the first rows as cells."""
    prompt = brief(row.prompt[-1]["content"], 80)
    says = row.verdict if row.labeler == UNKNOWN else f"{row.verdict}, by {brief(row.labeler, 30)}"
    if isinstance(row, RatingRow):
        return [str(row.row), says, prompt, brief(row.answer.text, 80)]
    answers = f"A: {brief(row.a.text, 60)} · B: {brief(row.b.text, 60)}"
    return [str(row.row), says, prompt, answers]


def _asked(view: ImportView, seen: Preview) -> dict[Any, Any]:
    """Offer the file's columns for each field, the likeliest one chosen."""
    guesses = seen.named
    thumbs = not {"a", "b"} & set(guesses) and bool({"answer", "thumb"} & set(guesses))
    kind = THUMBS if thumbs else PAIRS
    choices = [NONE, *((brief(name, 60), name) for name in seen.columns)]
    return {
        view.mapping: gr.Column(visible=bool(seen.columns)),
        view.kind: kind,
        **{
            one: gr.Dropdown(
                choices=choices, value=guesses.get(field, ""), visible=field in ASKED[kind]
            )
            for field, one in view.columns.items()
        },
    }


def bring_in(
    workspace: Any,
    view: ImportView,
    upload: str | None,
    path: str,
    form: str,
    kind: str,
    *rest: str,
    by: str = ALONE,
) -> Iterator[dict[Any, Any]]:
    """Import the uploaded file, or else the file at the path; say what became of every row."""
    file, (*columns, repeats) = chosen(upload, path), rest
    yield {view.result: "Reading …", view.refused: gr.Dataframe(visible=False), **_closed(view)}
    asked = named(form, kind, columns)
    form = reading.look(file, "columns" if asked else form, asked).format
    call = partial(
        imports.import_file, workspace.store, file, form, columns=asked, on_duplicate=repeats
    )
    for line, done in follow(lambda progress: call(progress=progress)):
        if done is None:
            yield {view.result: plain(line)}
        else:
            audit.note(workspace.store, by, "import", f"{file.name}: {done['stored']:,} rows")
            yield imported(workspace, view, file.name, form, done)


def _closed(view: ImportView) -> dict[Any, Any]:
    """Take away what a look at the file showed."""
    return {
        view.seen: "",
        view.first: gr.Dataframe(visible=False),
        view.mapping: gr.Column(visible=False),
    }


def imported(
    workspace: Any, view: ImportView, name: str, form: str, result: Mapping[str, Any]
) -> dict[Any, Any]:
    """Draw the result of an import: the sums in a sentence, the refused rows in a table."""
    refused = result["refused"]
    told = (
        f"**{plain(name)}**: {result['read']:,} rows read, {result['stored']:,} stored, "
        f"{result['duplicates']:,} duplicates, {len(refused):,} refused. Read as {_label(form)}."
    )
    if not result["stored"] and result["duplicates"]:
        told += " Everything in it was here before; nothing changed."
    rows = [[str(row["row"]), row["why"]] for row in refused[:SHOWN_REFUSED]]
    return {
        view.result: told,
        view.refused: gr.Dataframe(pd.DataFrame(rows, columns=REFUSED), visible=bool(rows)),
        view.counts: counts_html(workspace),
        view.upload: None,
        **{one: gr.Dropdown(choices=[NONE], value="") for one in view.columns.values()},
        **_closed(view),
    }


def _label(form: str) -> str:
    return next((label for label, one in FORMATS_IN if one == form), form)


def build_import(workspace: Any, counts: gr.HTML) -> Any:
    """Lay out the import form; return its click, for what has to follow."""
    gr.Markdown("## Bring in")
    upload = gr.File(label="File (JSONL, JSON, CSV, Parquet, …)", height=140, elem_id="import-file")
    path = gr.Textbox(label="or the path of a file on this machine", elem_id="import-path")
    with gr.Row():
        form = gr.Dropdown(FORMATS_IN, value="auto", label="Format", filterable=False)
        repeats = gr.Dropdown(DUPLICATES, value="link", label="On duplicates", filterable=False)
    seen = gr.Markdown(elem_id="import-seen", elem_classes="hone-note")
    mapping, kind, columns = _build_mapping()
    first = gr.Dataframe(
        headers=FIRST, datatype="str", interactive=False, wrap=True, visible=False, buttons=[],
        label="The first rows, as they would be taken", elem_id="import-first",
        column_widths=["48px", "22%", "35%", "35%"],
    )  # fmt: skip
    with gr.Row(elem_classes="hone-buttons"):
        peek = gr.Button("Look first", size="md", scale=0, min_width=140, elem_id="import-look")
        go = gr.Button("Import", variant="primary", size="md", min_width=140, elem_id="import-go")
    result = gr.Markdown(elem_id="import-result", elem_classes="hone-note")
    refused = gr.Dataframe(
        headers=REFUSED, datatype="str", interactive=False, wrap=True, visible=False, buttons=[],
        label="Refused rows", elem_id="import-refused", column_widths=["12%", "88%"],
    )  # fmt: skip
    view = ImportView(
        upload, path, form, seen, first, mapping, kind, columns, result, refused, counts
    )
    for event in (upload.upload, path.submit, peek.click):
        wire(event, look, workspace, view, inputs=[upload, path, form], outputs=view.looked())
    named_now = partial(gr.on, [kind.input, *(one.input for one in columns.values())])
    changed = [seen, first, *columns.values()]
    wire(named_now, look_again, workspace, view, inputs=view.asked(), outputs=changed,
         trigger_mode="always_last")  # fmt: skip
    outputs = [*view.looked(), counts, upload]
    return wire(go.click, bring_in, workspace, view, inputs=[*view.asked(), repeats],
                outputs=outputs, limit=2)  # fmt: skip


def _build_mapping() -> tuple[gr.Column, gr.Radio, dict[str, gr.Dropdown]]:
    """Lay out the fields that a file's own columns are named for; shown where they are needed."""
    with gr.Column(visible=False, elem_id="import-mapping") as mapping:
        kind = gr.Radio(KINDS, value=PAIRS, label="Each row holds")
        with gr.Row(elem_classes="hone-columns"):
            columns = {
                field: gr.Dropdown(
                    [NONE], value="", label=WORDS[field], visible=field in ASKED[PAIRS],
                    min_width=150, elem_id=f"import-column-{field}",
                )
                for field in FIELDS
            }  # fmt: skip
    return mapping, kind, columns

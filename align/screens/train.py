"""The train screen: what will be used, how, the exact command, the button; then `watch`.

The button runs the command line's `train`; what is shown before it comes from the same functions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from align import readiness, recipes, runs, sweep_files, training
from align.advisor import advise
from align.commands import COMMANDS
from align.comparing import finished_runs
from align.device import device_now
from align.estimate import KNOWN
from align.leash import leash_of
from align.losses import LOSSES
from align.models import EMBEDDED
from align.screens import sweep as sweeping
from align.screens.light import Light, Seen, build_light, due, show_light
from align.screens.sweep import Tryout
from align.screens.watch import Watch, build_watch, connect_watch, look
from align.sweep_files import parsed
from feedback import audit
from feedback.accounts import ALONE
from feedback.screens.parts import fold, heading, minutes, on_news, on_show, plain, sheet, wire
from feedback.snapshots import SnapshotSettings, preview
from storage.errors import BadInput, UserError

METHODS = {  # method: (its line in the list, what it is for)
    "dpo": (
        "DPO · pairs",
        "Makes the chosen answer likelier and the rejected one less likely than in the model it "
        "starts from. The usual start.",
    ),
    "ipo": (
        "IPO · pairs, with a target",
        "Like DPO, but stops at a target: for votes that are nearly unanimous, and where DPO went "
        "too far.",
    ),
    "kto": (
        "KTO · single answers",
        "Learns from thumbs, without pairs: answers called good or bad.",
    ),
    "orpo": (
        "ORPO · pairs, one stage",
        "Imitates the chosen answers and raises their odds over the rejected ones: for a model "
        "that was never fine-tuned. Needs no reference.",
    ),
    "sft": ("SFT · good answers", "Imitates what was chosen, edited or given a thumbs-up."),
    "simpo": (
        "SimPO · pairs, no reference",
        "Compares log-probabilities per token and asks for a lead of γ. Nothing holds it back, so "
        "watch the learning rate.",
    ),
    "dpo_norm": (
        "DPO per token · pairs",
        "DPO with averages instead of sums: length alone earns nothing. For votes that follow "
        "length.",
    ),
    "ipo_norm": (
        "IPO per token · pairs, with a target",
        "IPO as TRL has it: its target is per token.",
    ),
    "ld": (
        "LD-DPO · pairs of unlike length",
        "DPO that counts what one answer is longer than the other less.",
    ),
    "robust": (
        "Robust DPO · noisy pairs",
        "DPO corrected for a known share of wrong votes (label smoothing).",
    ),
    "hinge": (
        "Hinge · pairs",
        "Stops pushing a pair once its margin is 1.",
    ),
}
BASE = ("The base model", "")
HELD = [("the base model", "base"), ("that run's adapter", "start")]
FIRST = "dpo"  # the method that the screen opens with
WORDS = {
    "epochs": "Epochs",
    "learning_rate": "Learning rate",
    "batch_size": "Batch size (rows per step)",
    "micro_batch": "Micro-batch (0 = as fits)",
    "tune": "What is trained",
    "lora_rank": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "max_tokens": "Longest row, in tokens",
    "precision": "Precision of the base",
    "warmup": "Warm-up (share of steps)",
    "max_grad_norm": "Gradient clipping",
    "save_every": "Steps per checkpoint (0 = auto)",
    "eval_every": "Steps between judgements (0 = auto)",
    "early_stop": "Stop after judgements without gain (0 = never)",
    "keep": "Publish the step: auto, best or last",
    "seed": "Seed",
    "max_rows": "Rows to take (0 = all)",
    "allow_high_learning_rate": "Allow a high learning rate",
    "label_smoothing": "Label smoothing (share of wrong votes)",
    "sft_weight": "SFT term (0 = none)",
    "ld_alpha": "Weight of what is longer (α)",
    "gamma": "Lead to reach (γ)",
    "odds_weight": "Weight of the odds (λ)",
    "prompt_weight": "Weight of the prompt's tokens (0 to 1)",
    "desirable_weight": "Weight of good answers",
    "undesirable_weight": "Weight of bad answers",
}
REMEDIES = [  # (its line, the setting of the snapshot)
    ("Balance lengths", "balance_length"),
    ("Weigh labelers", "weigh_labelers"),
    ("One of near copies", "one_per_cluster"),
]
SPLITS = {"train": "to learn from", "held_out": "to judge by", "duel": "kept for duels"}
EMPTY = (
    "**Nothing to learn from yet.** Judge some answers on *Label* (about 200 votes show a clear "
    "effect; 20 are enough to try the loop), or bring votes in on *Data*."
)
NONE_LEFT = "**Nothing is left to learn from.** Take a remedy back, or collect more votes."


@dataclass(frozen=True, slots=True)
class Form:
    """Every component of the upper half."""

    advice: gr.Markdown
    take: gr.Button
    ready: gr.Markdown
    light: Light
    remedies: gr.CheckboxGroup  # names of settings of the snapshot
    method: gr.Dropdown
    words: gr.Markdown  # what the method is for
    model: gr.Textbox
    origin: gr.Dropdown  # the run to go on from; "" is the base
    held: gr.Radio  # to what: a value of training.REFERENCES
    leash: gr.Radio
    beta: gr.Number
    more: Mapping[str, Any]  # setting → its component
    filled: gr.State  # the base whose recipe is filled in
    rows: gr.State  # how many rows the method has to train on
    note: gr.Markdown  # what to know of these settings, or why they are refused
    command: gr.Code
    start: gr.Button
    tryout: Tryout

    def asked(self) -> list[Any]:
        """Return the inputs that say how to train, in the order that `chosen` takes."""
        start = [self.method, self.model, self.origin, self.held]
        return [*start, self.beta, *self.more.values()]

    def told(self) -> list[Any]:
        """Return the inputs of `show_command`."""
        start = [self.method, self.model, self.origin, self.held, self.light.because]
        return [self.rows, self.remedies, *start, self.beta, *self.more.values()]


def chosen(form: Form, method: str, beta: float, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the settings on the screen that belong to the method."""
    shown = {"beta": beta, **dict(zip(form.more, values, strict=True))}
    return {name: tidy(shown[name]) for name in recipes.defaults(method) if name in shown}


def tidy(value: Any) -> Any:
    """Return a number where a text is one, as the command line reads it."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value.strip()
    return value


def changed(settings: Mapping[str, Any], method: str, model: str, rows: int = 0) -> dict[str, Any]:
    """Return the settings that differ from the recipe: what the command has to say."""
    usual = readiness.recipe_for(method, model, rows).as_json()
    return {name: value for name, value in settings.items() if value != usual.get(name)}


def show_command(
    workspace: Any, form: Form, rows: int, remedies: list[str], method: str, model: str,
    origin: str, held: str, because: str | None, beta: float, *values: Any,
) -> dict[Any, Any]:  # fmt: skip
    """Show the command that does what the button does, and what to know of its settings."""
    every = chosen(form, method, beta, values)
    command = runs.command_line(
        workspace.data, method=method, model=model or None,
        settings=changed(every, method, model, rows), start_from=origin or None, reference=held,
        remedies=remedies, because=(because or "").strip(),
    )  # fmt: skip
    return {form.command: command, form.note: note_words(method, model, every, rows)}


def note_words(method: str, model: str, settings: Mapping[str, Any], rows: int) -> str:
    """Return what to know of settings before a run, or why they would be refused."""
    config = readiness.config_of(model)
    try:
        known = recipes.from_json(method, settings, config)
    except BadInput as error:
        return f"**This would be refused:** {plain(str(error))}."
    lines = recipes.remarks(known, config, rows)
    return "\n\n".join(f"{plain(line[0].upper() + line[1:])}." for line in lines)


def show_origins(workspace: Any, form: Form, origin: str) -> dict[Any, Any]:
    """Offer the finished runs to go on from; nothing where there is none."""
    done = [(words.rpartition(" · ")[0], run) for words, run in finished_runs(workspace.data)]
    known = origin if origin in [run for _, run in done] else ""
    return {
        form.origin: gr.update(choices=[BASE, *done], value=known, visible=bool(done)),
        form.held: gr.update(visible=bool(known)),
    }


def show_held(origin: str) -> Any:
    """Ask what the policy is held to only where there is a choice."""
    return gr.update(visible=bool(origin))


def show_recipe(form: Form, method: str, model: str, rows: int = 0) -> dict[Any, Any]:
    """Fill in the recipe of a method for a base; hide what the method has no use for."""
    usual = readiness.recipe_for(method, model, rows).as_json()
    filled = {
        part: gr.update(value=usual[name], visible=True)
        if name in usual
        else gr.update(visible=False)
        for name, part in form.more.items()
    }
    return filled | show_leash(form, method, usual.get("beta"))


def show_recipe_of(form: Form, method: str, model: str, rows: int, filled: str) -> dict[Any, Any]:
    """Fill in the recipe for another base; what was set stays when the base is the same."""
    if model == filled:
        return {form.filled: model}
    return show_recipe(form, method, model, rows) | {form.filled: model}


def show_leash(form: Form, method: str, beta: float | None) -> dict[Any, Any]:
    """Show what β means for a method; nothing for one that has none."""
    leash = leash_of(method)
    if leash is None:
        return {form.beta: gr.update(visible=False), form.leash: gr.update(visible=False)}
    choices = [(preset.line, preset.beta) for preset in leash.presets]
    return {
        form.beta: gr.update(value=beta, visible=True),
        form.leash: gr.update(
            choices=choices, label=leash.label, value=preset_of(method, beta), visible=True
        ),
    }


def preset_of(method: str, beta: float | None) -> float | None:
    """Return the preset that β is, or None for a value of one's own."""
    leash = leash_of(method)
    known = [preset.beta for preset in leash.presets] if leash else []
    return beta if beta in known else None


def method_words(method: str, beta: float | None) -> str:
    """Return what a method is for, and the target of one that has a target."""
    target = LOSSES[method].target(beta) if beta else ""
    return METHODS[method][1] + (f" **Target: a margin of {target}.**" if target else "")


def show_ready(
    workspace: Any, form: Form, method: str, model: str, remedies: list[str]
) -> dict[Any, Any]:
    """Say what a run would use now, what it leaves out, what that costs, and how long it takes."""
    counts = preview(workspace.store, selection(remedies))
    if not counts["pairs"]["all"] and not counts["labels"]["all"]:
        told = [plain(one["message"]) for one in counts["remedies"] if counts["feedback"]]
        return {form.ready: "\n\n".join([NONE_LEFT, *told]) if told else EMPTY, form.rows: 0}
    needs = LOSSES[method].needs
    words = [counts_table(counts, needs), dropped_words(counts["dropped"])]
    words += [plain(one["message"]) for one in counts["remedies"]]
    if ages := training.age_words(counts, needs):
        words.append(f"To train on {ages} (*Rounds* tells them).")
    if counts[needs]["train"]:
        words.append(time_words(workspace, method, model, counts[needs]["train"]))
    return {form.ready: "\n\n".join(filter(None, words)), form.rows: counts[needs]["train"]}


def keep_up(
    workspace: Any, form: Form, seen: Seen | None, method: str, model: str, remedies: list[str]
) -> dict[Any, Any]:
    """Look at the feedback again where votes came in; not while a run has the machine.

    What is wrong with the model was said when it was typed: no news says it again.
    """
    rest = due(seen, workspace.store.reached(), time.monotonic())
    if rest is None:
        return {form.light.seen: seen}
    time.sleep(rest)
    if runs.going_run(workspace.data) is not None:
        return {form.light.seen: seen}
    reached, started = workspace.store.reached(), time.monotonic()
    parts: dict[Any, Any] = {}
    try:
        parts |= show_ready(workspace, form, method, model, remedies)
        parts |= show_light(workspace, form.light, method, model, remedies)
    except UserError:
        parts = {}
    return parts | {form.light.seen: Seen.of(reached, started)}


def selection(remedies: list[str]) -> SnapshotSettings:
    return SnapshotSettings(**dict.fromkeys(remedies or (), True))


def time_words(workspace: Any, method: str, model: str, rows: int) -> str:
    """Return about how long a run with the recipe takes, and what memory; or why it cannot fit."""
    settings = readiness.recipe_for(method, model)
    device = device_now([workspace.client.pid])
    seen = readiness.about(workspace.store, settings, rows, model, device)
    if not seen.fits:
        return f"**It does not fit this machine:** {plain(seen.memory)}."
    if seen.time is None:
        return f"A run {plain(seen.memory)}."
    how = KNOWN[seen.time.known]
    return f"A run takes **about {minutes(seen.time.seconds)}** ({how}) and {plain(seen.memory)}."


def counts_table(counts: Mapping[str, Any], needs: str) -> str:
    """Return pairs and labels by split as a table; the ones that the method takes in bold."""
    head = "| |" + "|".join(SPLITS.values()) + "|\n|:--|" + "--:|" * len(SPLITS)
    rows = []
    for kind in ("pairs", "labels"):
        strong = "**" if kind == needs else ""
        cells = "|".join(f"{strong}{counts[kind][split]:,}{strong}" for split in SPLITS)
        rows.append(f"|{strong}{kind.capitalize()}{strong}|{cells}|")
    return "\n".join([head, *rows])


def dropped_words(dropped: Mapping[str, int]) -> str:
    """Return what is left out and why."""
    parts = [f"{n:,} {plain(reason)}" for reason, n in dropped.items() if n]
    return f"Left out: {'; '.join(parts)}." if parts else ""


def show_advice(workspace: Any, form: Form, method: str, model: str) -> dict[Any, Any]:
    """Say which method suits the votes; offer to take it where it is not chosen already."""
    facts = readiness.facts(workspace.store, model)
    if not facts.pairs and not facts.labels:
        return {form.advice: gr.update(visible=False), form.take: gr.update(visible=False)}
    first, *others = advise(facts)
    name = METHODS[first.method][0].split(" · ")[0]
    words = [f"**Advice: {name}.** {first.reason}"]
    words += [f"*Also:* {other.reason}" for other in others[:-1]]  # the last is always there
    return {
        form.advice: gr.update(value="\n\n".join(words), visible=True),
        form.take: gr.update(value=f"Take {name}", visible=first.method != method),
    }


def take_advice(workspace: Any, form: Form, model: str, rows: int) -> dict[Any, Any]:
    """Choose the advised method with its settings."""
    first = advise(readiness.facts(workspace.store, model))[0]
    filled = show_recipe(form, first.method, model, rows)
    parts = {"beta": form.beta, **form.more}
    for name, value in first.settings.items():
        filled[parts[name]] = gr.update(value=value, visible=True)
    return filled | {form.method: first.method, form.take: gr.update(visible=False)}


def start(
    workspace: Any, form: Form, view: Watch, remedies: list[str], because: str | None,
    method: str, model: str, origin: str, held: str, beta: float, *values: Any, by: str = ALONE,
) -> dict[Any, Any]:  # fmt: skip
    """Freeze a snapshot, start the run, and show it."""
    settings = chosen(form, method, beta, values)
    if origin:  # an earlier run may be of another kind, with a recipe of its own
        own = changed(settings, method, model)
        settings = {name: settings[name] for name in settings if name in own or name == "beta"}
    begun = COMMANDS["train"](
        workspace, progress=quiet, method=method, settings=settings,
        model=None if model == EMBEDDED else model or None,  # as the command says it
        start_from=origin or None, reference=held if origin else "base", because=because or "",
        remedies=dict.fromkeys(remedies or (), True), wait=False, by=by,
    )  # fmt: skip
    return look(workspace, view, begun["run"])


def start_sweep(
    workspace: Any, form: Form, view: Watch, drawn: Any, betas: str, rows: float,
    remedies: list[str], because: str | None, method: str, model: str, origin: str, held: str,
    beta: float, *values: Any, by: str = ALONE,
) -> dict[Any, Any]:  # fmt: skip
    """Freeze a snapshot, make the short runs, start the first, and show both."""
    settings = changed(chosen(form, method, beta, values), method, model)
    settings.pop("beta", None)
    begun = COMMANDS["sweep"](
        workspace, progress=quiet, method=method, betas=parsed(betas), rows=int(rows),
        model=None if model == EMBEDDED else model or None, settings=settings,
        remedies=dict.fromkeys(remedies or (), True), because=because or "", wait=False,
        by=by,
    )  # fmt: skip
    first = begun["points"][0]["run"]
    return look(workspace, view, first) | sweeping.look(workspace, form.tryout, drawn)


def cancel_sweep(
    workspace: Any, form: Form, view: Watch, run: str, *, by: str = ALONE
) -> dict[Any, Any]:
    """Cancel the sweep that is going, as a whole."""
    if going := sweep_files.unfinished(workspace.data):
        sweep_files.cancel(workspace.data, going)
        audit.note(workspace.store, by, "cancel", going)
    return look(workspace, view, run) | sweeping.look(workspace, form.tryout, None)


def show_sweep_command(
    workspace: Any, form: Form, betas: str, rows: float, remedies: list[str],
    because: str | None, method: str, model: str, origin: str, held: str, beta: float,
    *values: Any,
) -> str:  # fmt: skip
    """Return the command that does what the button below "Which β?" does."""
    settings = changed(chosen(form, method, beta, values), method, model)
    settings.pop("beta", None)
    return sweep_files.command_line(
        workspace.data, method=method, betas=betas, rows=int(rows or 0), model=model or None,
        settings=settings, remedies=remedies or (), because=(because or "").strip(),
    )  # fmt: skip


def take_beta(workspace: Any, form: Form, method: str, model: str, beta: float) -> dict[Any, Any]:
    """Take a β of the newest sweep into the form, with the method it was tried with."""
    ids = sweep_files.sweep_ids(workspace.data)
    tried = sweep_files.read_sweep(workspace.data, ids[0])["method"]
    filled = {form.method: tried}
    if tried != method:
        filled |= show_recipe(form, tried, model)
    return filled | show_leash(form, tried, beta)


def quiet(line: str) -> None:
    """Take a line of progress that the page shows by other means."""


def build_method() -> dict[str, Any]:
    """Lay out method, base and leash."""
    method = gr.Dropdown(
        [(METHODS[name][0], name) for name in LOSSES], value=FIRST, label="Method",
        elem_id="train-method", filterable=False,
    )  # fmt: skip
    words = gr.Markdown(METHODS[FIRST][1], elem_id="train-words", elem_classes="hone-small")
    meant = leash_of(FIRST)
    leash = gr.Radio(
        [(preset.line, preset.beta) for preset in meant.presets], value=0.1, label=meant.label,
        elem_id="train-leash", elem_classes=["hone-lines", "hone-three"],
    )  # fmt: skip
    with gr.Row():
        beta = gr.Number(
            0.1, label="β, or any other value", minimum=0, step=0.01, min_width=140, scale=1
        )
        model = gr.Textbox(
            EMBEDDED, label="Model: name, local folder or hub id", elem_id="train-model",
            min_width=240, scale=3,
        )  # fmt: skip
    with gr.Row():
        origin = gr.Dropdown(
            [BASE], value="", label="Start from", visible=False, filterable=False,
            elem_id="train-origin", min_width=240, scale=1,
        )  # fmt: skip
        held = gr.Radio(
            HELD, value="base", label="Held to", visible=False, elem_id="train-held",
            elem_classes=["hone-lines"], min_width=240, scale=1,
        )  # fmt: skip
    return {
        "method": method, "words": words, "leash": leash, "beta": beta, "model": model,
        "origin": origin, "held": held,
    }  # fmt: skip


def build_more() -> dict[str, Any]:
    """Lay out every other setting of every method, from the recipes."""
    every = [recipes.recipe(name) for name in LOSSES]
    known: dict[str, Any] = {}  # what belongs to a loss first, then what belongs to all
    for settings in every:
        known |= settings.loss
    for settings in reversed(every):
        known |= settings.as_json()
    parts: dict[str, Any] = {}
    with fold("Advanced settings", "train-advanced"), gr.Row():
        for name, value in known.items():
            if name == "beta":
                continue
            label = WORDS.get(name, name.replace("_", " ").capitalize())
            visible = name in recipes.defaults(FIRST)
            parts[name] = field(name, value, label=label, visible=visible, min_width=200)
    return parts


def field(name: str, value: Any, **look: Any) -> Any:
    """Return the component for one setting, by the kind of its default."""
    if name == "precision":
        return gr.Dropdown(list(recipes.PRECISIONS), value=value, filterable=False, **look)
    if name == "tune":
        choices = [("LoRA adapters", recipes.LORA), ("Every weight", recipes.FULL)]
        return gr.Dropdown(choices, value=value, filterable=False, **look)
    if isinstance(value, bool):
        return gr.Checkbox(value, elem_classes="hone-check", **look)
    if isinstance(value, str):
        return gr.Textbox(value, **look)
    return gr.Number(value, precision=0 if isinstance(value, int) else None, **look)


def build_form() -> Form:
    """Lay out the upper half."""
    with gr.Row(elem_classes="hone-split"):
        with gr.Column(scale=2, min_width=300, elem_classes="hone-card"):
            gr.Markdown("## What it learns from")
            ready = gr.Markdown(EMPTY, elem_id="train-ready")
            remedies = gr.CheckboxGroup(
                REMEDIES, value=[], label="Remedies", elem_id="train-remedies",
                info="What each costs is said above.",
            )  # fmt: skip
            light = build_light()
        with gr.Column(scale=3, min_width=300, elem_classes="hone-card"):
            gr.Markdown("## How")
            with gr.Row(elem_classes="hone-buttons"):
                advice = gr.Markdown(
                    visible=False, elem_id="train-advice", elem_classes="hone-note"
                )
                take = gr.Button(
                    "Take it", size="sm", visible=False, scale=0, min_width=120,
                    elem_id="train-take",
                )  # fmt: skip
            how = build_method()
            tryout = sweeping.build_tryout()
            more = build_more()
            note = gr.Markdown("", elem_id="train-note", elem_classes=["hone-note", "hone-small"])
            command = gr.Code(
                "", language="shell", label="The same on the command line", interactive=False,
                lines=1, show_line_numbers=False, wrap_lines=True, buttons=["copy"],
                elem_id="train-command",
            )  # fmt: skip
            button = gr.Button("Train", variant="primary", elem_id="train-go")
    return Form(
        advice=advice, take=take, ready=ready, light=light, remedies=remedies, more=more,
        filled=gr.State(EMBEDDED), rows=gr.State(0),
        note=note, command=command, start=button, tryout=tryout, **how,
    )  # fmt: skip


def build(workspace: Any) -> None:
    """Lay out the screen inside the current tab."""
    with sheet():
        lay_out(workspace)


def lay_out(workspace: Any) -> None:
    """Lay out the train screen and connect it."""
    heading("Train", "One button: what people preferred becomes an adapter of the model.")
    form = build_form()
    view = build_watch(form.start)
    connect_watch(workspace, view)
    base = [form.method, form.model]
    recipe = [form.beta, form.leash, *form.more.values()]
    learned = [*base, form.remedies]
    ready = {"inputs": learned, "outputs": [form.ready, form.rows]}
    light = {"inputs": learned, "outputs": form.light.parts()}
    command = {"inputs": form.told(), "outputs": [form.command, form.note]}
    sized = [*base, form.rows]
    anew = wire(form.method.input, show_recipe, form, inputs=sized, outputs=recipe)
    other = wire(
        form.model.blur, show_recipe_of, form, inputs=[*sized, form.filled],
        outputs=[*recipe, form.filled],
    )  # fmt: skip
    for filled in (anew, other):
        wire(filled.then, show_command, workspace, form, **command)
        known = wire(filled.then, show_ready, workspace, form, **ready)
        wire(known.then, show_light, workspace, form.light, **light)
    wire(form.rows.change, show_command, workspace, form, **command)
    on_news(
        "votes states", keep_up, workspace, form, inputs=[form.light.seen, *learned],
        outputs=[*ready["outputs"], *light["outputs"]],
    )  # fmt: skip
    treated = wire(
        form.remedies.change, show_ready, workspace, form, trigger_mode="always_last", **ready
    )
    wire(treated.then, show_command, workspace, form, **command)
    wire(treated.then, show_light, workspace, form.light, **light)
    advised = {"inputs": base, "outputs": [form.advice, form.take]}
    wire(form.method.change, show_advice, workspace, form, **advised)
    taken = wire(
        form.take.click, take_advice, workspace, form,
        inputs=[form.model, form.rows], outputs=[form.method, form.take, *recipe],
    )  # fmt: skip
    wire(taken.then, show_ready, workspace, form, **ready)
    wire(taken.then, show_light, workspace, form.light, **light)
    for change in (form.method.change, form.beta.change):
        wire(change, method_words, inputs=[form.method, form.beta], outputs=[form.words])
    wire(form.beta.change, preset_of, inputs=[form.method, form.beta], outputs=[form.leash])
    wire(form.leash.input, float, inputs=[form.leash], outputs=[form.beta])
    wire(form.origin.change, show_held, inputs=[form.origin], outputs=[form.held])
    for part in (form.origin, form.held, form.beta, form.light.because, *form.more.values()):
        wire(part.change, show_command, workspace, form, trigger_mode="always_last", **command)
    wire(
        form.start.click, start, workspace, form, view,
        inputs=[form.remedies, form.light.because, *form.asked()], outputs=view.parts(), limit=1,
    )  # fmt: skip
    connect_tryout(workspace, form, view, recipe)
    known = on_show(show_ready, workspace, form, **ready)
    wire(known.then, show_command, workspace, form, **command)
    on_show(show_light, workspace, form.light, **light)
    on_show(show_advice, workspace, form, **advised)
    origins = [form.origin, form.held]
    on_show(show_origins, workspace, form, inputs=[form.origin], outputs=origins)


def connect_tryout(workspace: Any, form: Form, view: Watch, recipe: list[Any]) -> None:
    """Connect the part that tries values of β."""
    part = form.tryout
    again = {"inputs": [part.drawn], "outputs": part.shown()}
    on_news("sweeps", sweeping.look, workspace, part, **again)
    on_show(sweeping.look, workspace, part, **again)
    asked, reason = [part.betas, part.rows], form.light.because
    cost = {"inputs": [form.remedies, form.method, form.model, *asked], "outputs": [part.cost]}
    told = [*asked, form.remedies, reason, *form.asked()]
    command = {"inputs": told, "outputs": [part.command]}
    on_show(sweeping.show_cost, workspace, part, **cost)
    on_show(show_sweep_command, workspace, form, **command)
    # one event of three: an answer to an earlier change cannot come after that to a later one
    changes = partial(gr.on, [part.betas.change, part.rows.change, form.remedies.change])
    wire(changes, sweeping.show_cost, workspace, part, trigger_mode="always_last", **cost)
    for component in (*asked, form.remedies, reason, form.model, *form.more.values()):
        wire(
            component.change, show_sweep_command, workspace, form, trigger_mode="always_last",
            **command,
        )  # fmt: skip
    usual = wire(form.method.change, sweeping.text_of, inputs=[form.method], outputs=[part.betas])
    wire(usual.then, show_sweep_command, workspace, form, **command)
    both = [*view.parts(), *part.shown()]
    wire(
        part.start.click, start_sweep, workspace, form, view,
        inputs=[part.drawn, *told], outputs=both, limit=1,
    )  # fmt: skip
    wire(
        part.cancel.click, cancel_sweep, workspace, form, view,
        inputs=[view.run], outputs=both, limit=1,
    )  # fmt: skip
    wire(
        part.take.input, take_beta, workspace, form,
        inputs=[form.method, form.model, part.take], outputs=[form.method, *recipe],
    )  # fmt: skip

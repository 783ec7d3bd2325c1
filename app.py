"""Hone's command line and its web server: `python app.py COMMAND --help`.

Every command does headless what a screen does, through the same functions (`align/commands.py`).
If a server holds the data folder the command runs inside it, else this process opens it itself.
Result on stdout (with `--json` one JSON object), everything else on stderr. Exit code 0 on success,
2 on what the user can mend (one line says what), 1 on a bug or a failed run, 130 after Ctrl-C.
Heavy things (gradio, the database) are imported by the command that needs them.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from feedback.product.allowance import USUAL, Allowance
from storage.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Data = Annotated[Path, typer.Option("--data", help="The data folder; made when missing.")]
Balance = Annotated[
    bool,
    typer.Option("--balance-length", help="Longer answers win half of the pairs; costs pairs."),
]
Weigh = Annotated[
    bool, typer.Option("--weigh-labelers", help="Count labelers by how often they are right.")
]
OnePer = Annotated[
    bool, typer.Option("--one-per-cluster", help="Of nearly the same pairs keep one.")
]
Cap = Annotated[float | None, typer.Option(help="Largest share of one labeler; 1 for no cap.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as `runs` lists them.")]
HERE = Path("data")
UNEXPLAINED = "none given on the command line"  # why a run was started although checks object

cli = typer.Typer(
    help="Collect human feedback on a model's answers, align the model with it, compare.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@cli.command()
def serve(
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets other machines in; needs accounts, see `user`.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    starter: Annotated[
        bool,
        typer.Option(help="Keep comparisons from the starter prompts ready in the background."),
    ] = True,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name that browsers use; repeatable."),
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Believe a proxy's X-Forwarded-Proto and -For.")
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="HONE_WEBHOOK",
            help="Told of every run that ends; signed with $HONE_WEBHOOK_SECRET.",
        ),
    ] = None,
    most_requests: Annotated[
        int, typer.Option(min=1, help="How many requests of a product one key may send a minute.")
    ] = USUAL.requests,
    most_items: Annotated[
        int, typer.Option(min=1, help="How many items, in batches or one by one.")
    ] = USUAL.items,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Serve the app and print its address."""
    from align.server import serve_folder

    def ready(address: str) -> None:
        told = {"address": address, "pid": os.getpid(), "data": str(data.resolve())}
        print(json.dumps(told) if as_json else f"Hone is at {address}", flush=True)

    return serve_folder(
        data, host, port, starter=starter, ready=ready,
        names=allow_host or (), behind_proxy=behind_proxy, webhook=webhook,
        allowance=Allowance(most_requests, most_items),
    )  # fmt: skip


@cli.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSONL, JSON, CSV, Parquet, SQLite; a folder.")
    ],
    format: Annotated[str, typer.Option(help="A format; auto looks into the file.")] = "auto",
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="What a column holds, prompt=…; repeatable."),
    ] = None,
    on_duplicate: Annotated[
        str, typer.Option(help="What becomes of a repeated prompt: link, skip or keep.")
    ] = "link",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show how the first rows are read.")
    ] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Bring in prompts, answers and votes; the same file again adds nothing."""
    params = {"file": absolute(file), "format": format, "columns": column or []}
    if preview:
        return run("preview", data, as_json, params)
    return run("import", data, as_json, {**params, "on_duplicate": on_duplicate})


@cli.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write (.jsonl, .csv, …).")],
    format: Annotated[
        str, typer.Option(help="trl, trl-labels, llama-factory, llama-factory-kto or votes.")
    ] = "trl",
    snapshot: Annotated[
        str | None, typer.Option(help="A snapshot's id; else what is there now.")
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Labelers by name; else by pseudonym.")
    ] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Write pairs and labels, or the votes, to a file."""
    params = {"file": absolute(file), "format": format, "snapshot": snapshot, "names": names}
    return run("export", data, as_json, {**params, "by": operator()})


@cli.command()
def generate(
    prompts: Annotated[
        Path | None, typer.Option(help="JSON lines with `prompt` or `messages`, or text.")
    ] = None,
    stored: Annotated[
        int, typer.Option(min=0, help="So many stored prompts that it has not answered yet.")
    ] = 0,
    model: Annotated[str | None, typer.Option(help="A name, a folder or a hub id.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="A run, or base; else the promoted run.")
    ] = None,
    n: Annotated[int, typer.Option(help="Answers per prompt; two make a comparison.")] = 2,
    ring: Annotated[
        bool, typer.Option("--ring", help="Compare each answer with two others.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Sample from this share of the probability.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Let a model answer prompts of a file, or stored ones, and compare its answers."""
    from align.prompt_files import read_prompts

    if prompts is None and not stored:
        raise UserError("No prompts: name a file with --prompts, or say how many --stored ones.")
    params = {
        "prompts": read_prompts(prompts) if prompts else [],
        "stored": stored,
        "model": resolved_model(model),
        "adapter": adapter,
        "n": n,
        "ring": ring,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    return run("generate", data, as_json, params)


@cli.command()
def check(data: Data = HERE, as_json: Json = False) -> int:
    """Check what was collected: length bias, labelers, duplicates, style, personal data, …"""
    return run("check", data, as_json, {})


@cli.command()
def leaderboard(data: Data = HERE, as_json: Json = False) -> int:
    """Rank the models by what people chose, with and without length control."""
    return run("leaderboard", data, as_json, {})


@cli.command()
def score(
    model: Annotated[str | None, typer.Option(help="A name, a folder or a hub id.")] = None,
    adapter: Annotated[str, typer.Option(help="The id of the run whose adapter scores.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="How many answers at most.")] = None,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Let a model say how likely it finds the compared answers: for the checks and the queue."""
    params = {"model": resolved_model(model), "adapter": adapter, "limit": limit}
    return run("score", data, as_json, params)


@cli.command()
def advise(data: Data = HERE, as_json: Json = False) -> int:
    """Say which method suits what was collected, and why."""
    return run("advise", data, as_json, {})


@cli.command()
def exclude(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="labeler, source, prompt, comparison, response or vote."
        ),
    ],
    items: Annotated[list[str], typer.Argument(metavar="ITEM…", help="Ids; a source's name.")],
    reason: Annotated[str, typer.Option(help="Why; needed unless it is taken back.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the exclusion back.")] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Keep feedback out of snapshots and checks; it stays stored, and can come back."""
    params = {"kind": kind, "items": items, "reason": reason, "undo": undo, "by": operator()}
    return run("exclude", data, as_json, params)


@cli.command()
def exclusions(data: Data = HERE, as_json: Json = False) -> int:
    """List what is kept out of snapshots, why and by whom."""
    return run("exclusions", data, as_json, {})


@cli.command("ask-again")
def ask_again(
    comparisons: Annotated[
        list[str] | None, typer.Argument(metavar="[COMPARISON…]", help="Ids.")
    ] = None,
    contradicting: Annotated[
        bool, typer.Option("--contradicting", help="Those with votes for both answers.")
    ] = False,
    single: Annotated[bool, typer.Option("--single", help="Those with one vote.")] = False,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="Those whose votes are all excluded.")
    ] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Put comparisons back into the queue, for one vote more by somebody else."""
    wanted = {"contradicting": contradicting, "single": single, "excluded": excluded}
    why = [name for name, asked in wanted.items() if asked]
    params = {"comparisons": comparisons or [], "why": why, "by": operator()}
    return run("ask-again", data, as_json, params)


@cli.command()
def snapshot(
    balance_length: Balance = False,
    weigh_labelers: Weigh = False,
    one_per_cluster: OnePer = False,
    cap_labeler: Cap = None,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Freeze the pairs and labels that the votes give now."""
    params = {
        "balance_length": balance_length,
        "weigh_labelers": weigh_labelers,
        "one_per_cluster": one_per_cluster,
        "cap_labeler": cap_labeler,
    }
    return run("snapshot", data, as_json, params)


@cli.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The earlier one's id.")],
    after: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The later one's id.")],
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Compare two snapshots: what came, what went, why, and how every check moved."""
    return run("diff", data, as_json, {"before": before, "after": after})


@cli.command()
def preflight(
    method: Annotated[str, typer.Option(help="The loss; `advise` says which suits.")] = "dpo",
    snapshot: Annotated[
        str | None, typer.Option(help="A snapshot's id; else what is there now.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A name, a folder or a hub id.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
    ] = None,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Say what a training would need in memory and time, and what would be dropped."""
    params = {"method": method, "snapshot": snapshot, "model": resolved_model(model)}
    return run("preflight", data, as_json, {**params, "settings": settings or []})


@cli.command()
def train(
    method: Annotated[str, typer.Option(help="The loss; `advise` says which suits.")] = "dpo",
    snapshot: Annotated[str | None, typer.Option(help="A snapshot's id; else freezes one.")] = None,
    model: Annotated[str | None, typer.Option(help="A name, a folder or a hub id.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Go on from a run's adapter.")
    ] = None,
    reference: Annotated[str, typer.Option(help="base, or start: the adapter of --from.")] = "base",
    processes: Annotated[int, typer.Option(help="Share the work; on GPUs one each.")] = 1,
    shard: Annotated[bool, typer.Option("--shard", help="Shard the base over them.")] = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Do not start it here.")] = False,
    balance_length: Balance = False,
    weigh_labelers: Weigh = False,
    one_per_cluster: OnePer = False,
    cap_labeler: Cap = None,
    because: Annotated[str, typer.Option(help="Why, where checks speak against it.")] = UNEXPLAINED,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Train an adapter and follow it to the end; prints the run's id and report."""
    params = {
        "method": method,
        "snapshot": snapshot,
        "model": resolved_model(model),
        "settings": settings or [],
        "start_from": start_from,
        "reference": reference,
        "processes": processes,
        "shard": shard,
        "prepare": prepare,
        "remedies": remedies(balance_length, weigh_labelers, one_per_cluster, cap_labeler),
        "because": because,
        "wait": False,
    }
    return run_training("train", data, as_json, params)


@cli.command()
def sweep(
    method: Annotated[str, typer.Option(help="The loss; one that has a beta.")] = "dpo",
    betas: Annotated[
        str, typer.Option(metavar="LIST", help="Such as 0.01,0.1,0.5; else the method's presets.")
    ] = "",
    rows: Annotated[int, typer.Option(min=2, help="To train on at most, in every run.")] = 200,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot's id; else freezes one.")] = None,
    model: Annotated[str | None, typer.Option(help="A name, a folder or a hub id.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
    ] = None,
    balance_length: Balance = False,
    weigh_labelers: Weigh = False,
    one_per_cluster: OnePer = False,
    cap_labeler: Cap = None,
    because: Annotated[str, typer.Option(help="Why, where checks speak against it.")] = UNEXPLAINED,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Try a few values of beta in short runs, to choose one by accuracy and distance."""
    from align.sweep_files import parsed

    params = {
        "method": method,
        "betas": parsed(betas),
        "rows": rows,
        "snapshot": snapshot,
        "model": resolved_model(model),
        "settings": settings or [],
        "remedies": remedies(balance_length, weigh_labelers, one_per_cluster, cap_labeler),
        "because": because,
        "wait": False,
    }
    return run_sweep("sweep", data, as_json, params)


@cli.command()
def cancel(run_id: RunId, data: Data = HERE, as_json: Json = False) -> int:
    """Stop a training (it can be resumed), or a whole sweep."""
    return run("cancel", data, as_json, {"run": run_id})


@cli.command()
def resume(run_id: RunId, data: Data = HERE, as_json: Json = False) -> int:
    """Go on with a stopped training from its newest complete checkpoint, and follow it."""
    from align.sweep_files import is_sweep

    if is_sweep(run_id):
        return run_sweep("", data, as_json, {"sweep": run_id})
    return run_training("resume", data, as_json, {"run": run_id, "wait": False})


@cli.command()
def compare(
    run_id: RunId,
    prompt: Annotated[str, typer.Option(help="What both answer.")],
    against: Annotated[
        str, typer.Option(help="base, another run, or an endpoint: http://host:8000/v1#model.")
    ] = "base",
    seed: Annotated[int, typer.Option(help="The same for both.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Let the model answer before and after a training."""
    sampling = {"seed": seed, "temperature": temperature, "max_tokens": max_tokens}
    params = {"run": run_id, "prompt": prompt, "against": against, **sampling}
    return run("compare", data, as_json, params)


@cli.command()
def duel(
    run_id: RunId,
    against: Annotated[str, typer.Option(help="base, or another run.")] = "base",
    prompts: Annotated[int, typer.Option(min=1, help="How many both answer.")] = 30,
    seed: Annotated[int, typer.Option(help="The same for both.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.8,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Put the answers of two models on the label screen, blind, and say who is ahead."""
    sampling = {"seed": seed, "temperature": temperature, "max_tokens": max_tokens}
    params = {"run": run_id, "against": against, "prompts": prompts, **sampling}
    return run("duel", data, as_json, params)


@cli.command()
def judge(
    judge: Annotated[
        str,
        typer.Argument(
            metavar="JUDGE",
            help="shorter, longer, contains:TEXT, regex:PATTERN, file:PATH.py or model:ADDRESS.",
        ),
    ],
    duel: Annotated[str | None, typer.Option(help="Whose duel: a run; else the newest.")] = None,
    against: Annotated[str, typer.Option(help="base, or another run.")] = "base",
    everything: Annotated[
        bool, typer.Option("--all", help="Every comparison of no duel; these votes train.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Judge at most so many more.")] = None,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Let a rule or a model vote too, marked as such, and say how far people agree with it."""
    kind, _, what = judge.partition(":")
    if kind == "file" and what:
        judge = f"file:{absolute(Path(what))}"
    params = {"run": duel, "against": against, "everything": everything, "limit": limit}
    return run("judge", data, as_json, {"judge": judge, **params})


@cli.command()
def publish(
    run_id: RunId,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    merged: Annotated[bool, typer.Option(help="Also the base with the adapter merged in.")] = True,
    dataset: Annotated[bool, typer.Option(help="Also the pairs and labels behind it.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace what was published there.")] = (
        False
    ),
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Write a run for others: adapter, merged weights, model card, how to serve it, its data."""
    parts = {"merged": merged, "dataset": dataset, "force": force, "by": operator()}
    return run("publish", data, as_json, {"run": run_id, "folder": absolute(folder), **parts})


@cli.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A published folder.")],
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Say whether a published folder is what was published, file by file."""
    return run("verify", data, as_json, {"folder": absolute(folder)})


@cli.command()
def simulate(
    votes: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 100,
    prefer: Annotated[str, typer.Option(help="shorter, longer, friendly or random.")] = "shorter",
    noise: Annotated[float, typer.Option(help="Share of votes cast at random, 0 to 1.")] = 0.1,
    left_bias: Annotated[float, typer.Option(help="Share of votes that go left anyway.")] = 0.0,
    labelers: Annotated[int, typer.Option(min=1, max=10_000, help="How many labelers.")] = 1,
    thumbs: Annotated[bool, typer.Option("--thumbs", help="Rate single answers instead.")] = False,
    faulty: Annotated[
        str, typer.Option(metavar="LIST", help="One more labeler for each: left,random,copying,…")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same votes.")] = 0,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Cast votes of simulated labelers, marked as such, to try the loop and the checks."""
    params = {
        "votes": votes,
        "prefer": prefer,
        "noise": noise,
        "left_bias": left_bias,
        "labelers": labelers,
        "thumbs": thumbs,
        "faulty": [fault.strip() for fault in faulty.split(",") if fault.strip()],
        "seed": seed,
    }
    return run("simulate", data, as_json, params)


@cli.command()
def gold(
    comparison: Annotated[
        str | None, typer.Argument(metavar="COMPARISON", help="Its id; none lists all.")
    ] = None,
    verdict: Annotated[str | None, typer.Option(help="a, b, tie or both_bad.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Make it an ordinary one again.")] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Say which verdict on a comparison is right, to measure labelers with; or list them."""
    params = {"comparison": comparison, "verdict": verdict, "undo": undo, "by": operator()}
    return run("gold", data, as_json, params)


@cli.command()
def campaign(
    action: Annotated[
        str,
        typer.Argument(metavar="[ACTION]", help="list, new, set, pause, resume, finish or let-in."),
    ] = "",
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Which campaign.")] = "default",
    overlap: Annotated[int | None, typer.Option(help="Labelers that judge a comparison.")] = None,
    shared: Annotated[float | None, typer.Option(help="Share that one or two more judge.")] = None,
    repeats: Annotated[float | None, typer.Option(help="Share of silent repeats.")] = None,
    gold: Annotated[float | None, typer.Option(help="Share of gold items.")] = None,
    guideline: Annotated[Path | None, typer.Option(help="A Markdown file.")] = None,
    mode: Annotated[str | None, typer.Option(help="pairs, thumbs, both, rank3 or rank4.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="How an item's source begins; repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model or run that answered; repeatable.")
    ] = None,
    new: Annotated[
        bool | None, typer.Option("--new/--all", help="Only what is made from now on.")
    ] = None,
    labeler: Annotated[
        list[str] | None, typer.Option(help="Who may label, or is let in; repeatable.")
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Gold items that come first.")] = None,
    trial_share: Annotated[float | None, typer.Option(help="Share of them to get right.")] = None,
    reason: Annotated[
        list[str] | None, typer.Option(help="Offered with a verdict; repeatable.")
    ] = None,
    strength: Annotated[
        list[str] | None, typer.Option(help="How clear a choice is, weakest first; repeatable.")
    ] = None,
    aspect: Annotated[
        list[str] | None, typer.Option(help="Asked about after a vote; repeatable.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take a let-in back.")] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Show or change how much is judged by whom; make, pause, finish and list campaigns."""
    shares = {"overlap": overlap, "shared": shared, "repeats": repeats, "gold": gold}
    settings = {
        "mode": mode, "sources": source or None, "models": model or None, "new": new,
        "labelers": labeler or None, "trial": trial, "trial_share": trial_share,
        "reasons": reason or None, "strengths": strength or None, "aspects": aspect or None,
        "guideline": written(guideline) if guideline else None,
    }  # fmt: skip
    whom = (labeler or [""])[0] if action == "let-in" else ""
    given = {"action": action, "name": name, "labeler": whom, "undo": undo, "settings": settings}
    return run("campaign", data, as_json, {**given, **shares, "by": operator()})


@cli.command()
def adjudicate(
    comparison: Annotated[
        str | None, typer.Argument(metavar="COMPARISON", help="Its id; none lists what waits.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Argument(metavar="VERDICT", help="a, b, tie or both_bad.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List, as without words.")] = False,
    because: Annotated[str, typer.Option(help="Why; kept with the decision.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Leave it to its votes again.")] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Decide comparisons on which votes contradict each other; or list them, votes hidden."""
    given = {"comparison": comparison, "verdict": verdict, "because": because, "undo": undo}
    return run("adjudicate", data, as_json, ({} if list_ else given) | {"by": operator()})


@cli.command()
def runs(data: Data = HERE, as_json: Json = False) -> int:
    """List every training run, newest first."""
    return run("runs", data, as_json, {})


@cli.command()
def demo(
    votes: Annotated[int, typer.Option(min=20, max=10_000, help="Simulated ones.")] = 150,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    serve: Annotated[bool, typer.Option(help="Serve the app meanwhile and afterwards.")] = True,
    data: Annotated[
        Path, typer.Option("--data", help="The demo's own data folder; made when missing.")
    ] = Path("demo"),
    as_json: Json = False,
) -> int:
    """Go from nothing to a model before and after its votes, without a person."""
    from align.terminal import Terminal

    terminal = Terminal(sys.stderr)
    if not serve:
        return run("demo", data, as_json, {"votes": votes})
    from align import demo as demonstration
    from align.folder import prepare_folder
    from align.server import serve_folder

    demonstration.begin(prepare_folder(data), votes)

    def ready(address: str) -> None:
        print(f"Hone's demo is at {address}", flush=True)

    def beside(workspace: Any) -> None:
        try:
            demonstration.run(workspace, terminal, votes=votes)
            terminal("the demo is done: look at its page\n")
        except UserError as error:
            terminal(f"{error}\n")

    return serve_folder(data, "127.0.0.1", port, starter=False, ready=ready, beside=beside)


@cli.command()
def promote(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or base.")],
    because: Annotated[str, typer.Option(help="Why, where its duel was lost or not held.")] = "",
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Let a run's adapter answer from now on: the next round begins."""
    return run("promote", data, as_json, {"run": run_id, "because": because, "by": operator()})


@cli.command()
def rollback(
    because: Annotated[str, typer.Option(help="Why; kept with the decision.")] = "",
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Go back to what answered before the last promotion."""
    return run("rollback", data, as_json, {"because": because, "by": operator()})


@cli.command()
def rounds(data: Data = HERE, as_json: Json = False) -> int:
    """Tell the rounds: votes, runs, duels, promotions."""
    return run("rounds", data, as_json, {})


@cli.command()
def lineage(
    id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, or a vote's.")],
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Show every vote behind a run, its hashes checked; or which runs learned from a vote."""
    return run("lineage", data, as_json, {"id": id})


@cli.command()
def user(
    action: Annotated[
        str, typer.Argument(metavar="[ACTION]", help="list, add, password, role, log-out or end.")
    ] = "list",
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Whose account.")] = "",
    role: Annotated[str, typer.Option(help="lead or labeler.")] = "labeler",
    invite: Annotated[
        bool, typer.Option("--invite", help="Print a link that works once, ask no password.")
    ] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Add people who may come in, give them other passwords, end them; list them."""
    needed = name and (action == "password" or (action == "add" and not invite))
    password = typed_password(name, piped=password_stdin) if needed else None
    params = {"action": action, "name": name, "role": role, "invite": invite}
    return run("user", data, as_json, {**params, "password": password, "by": operator()})


@cli.command()
def key(
    action: Annotated[
        str, typer.Argument(metavar="[ACTION]", help="list, add or revoke.")
    ] = "list",
    name: Annotated[str, typer.Option(help="The key's name; it votes under it.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, feedback or lead; repeatable.")
    ] = None,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Make keys by which programs come in (each is shown once), revoke them; list them."""
    params = {"action": action, "name": name, "scopes": scope or [], "by": operator()}
    return run("key", data, as_json, params)


@cli.command()
def audit(data: Data = HERE, as_json: Json = False) -> int:
    """List what leads changed: who, what, when."""
    return run("audit", data, as_json, {})


@cli.command()
def erase(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="labeler, prompt or text.")],
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A name, a prompt's id, or words in the texts.")
    ],
    votes: Annotated[
        str, typer.Option(help="Of a labeler: keep (under a pseudonym), or leave-out.")
    ] = "keep",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would go.")] = False,
    data: Data = HERE,
    as_json: Json = False,
) -> int:
    """Erase a person's words or name for good, from store, journal and snapshots."""
    params = {"kind": kind, "what": what, "votes": votes, "dry_run": not yes}
    return run("erase", data, as_json, {**params, "by": operator()})


def typed_password(name: str, *, piped: bool) -> str:
    """Return a password from standard input, or typed twice on the terminal without being shown."""
    if piped:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UserError(
            f"No terminal to type the password of {name} on: pipe it in, with --password-stdin, or "
            "give a link, with --invite."
        )
    from getpass import getpass

    password = getpass(f"Password for {name}: ")
    if getpass("The same once more: ") != password:
        raise UserError("The two passwords differ: nothing was changed.")
    return password


def remedies(
    balance_length: bool, weigh_labelers: bool, one_per_cluster: bool, cap_labeler: float | None
) -> dict[str, Any]:
    """Return the remedies that were asked for, as settings of a snapshot."""
    asked = {
        "balance_length": balance_length,
        "weigh_labelers": weigh_labelers,
        "one_per_cluster": one_per_cluster,
        "cap_labeler": cap_labeler,
    }
    return {name: value for name, value in asked.items() if value}


def operator() -> str:
    """Return who decides at the command line: the operating system's name for its user."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "command line"


def written(path: Path) -> str:
    """Return what is written in a text file."""
    from storage.errors import BadInput

    try:
        return path.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text: {error}") from None


def absolute(path: Path) -> str:
    """Return a path that means the same to a server that was started in another folder."""
    return str(path.expanduser().resolve())


def resolved_model(model: str | None) -> str | None:
    """Return a model's folder as an absolute path; a name or hub id as it is."""
    return absolute(Path(model)) if model and Path(model).expanduser().exists() else model


def run(name: str, data: Path, as_json: bool, params: Mapping[str, Any]) -> int:
    """Run a command where the data folder is held, and print its result."""
    from align.terminal import Terminal, words

    terminal = Terminal(sys.stderr)
    try:
        result, _ = perform(name, data, params, terminal)
    finally:
        terminal.close()
    print(json.dumps(result) if as_json else words(name, result))
    return 0


def run_training(name: str, data: Path, as_json: bool, params: Mapping[str, Any]) -> int:
    """Start a training where the data folder is held, follow it from here, print its result."""
    from align.following import follow
    from align.terminal import Terminal, words

    terminal = Terminal(sys.stderr)
    try:
        started, server = perform(name, data, params, terminal)
        if params.get("prepare"):  # there is nothing to follow yet
            print(json.dumps(started) if as_json else words(name, started))
            return 0
        try:
            result = follow(data, started["run"], terminal)
        except KeyboardInterrupt:
            result = interrupted(data, started["run"], server, terminal)
    finally:
        terminal.close()
    print(json.dumps(result) if as_json else words(name, result))
    return {"done": 0, "failed": 1}.get(result["status"], 130)


def run_sweep(name: str, data: Path, as_json: bool, params: Mapping[str, Any]) -> int:
    """Start a sweep where the data folder is held (or go on with one), follow it, print it.

    Without an app on the folder this process starts each next run itself.
    """
    from functools import partial

    from align.calls import find_server
    from align.following import line_of
    from align.sweep_files import advance, follow, left_to, result_of
    from align.terminal import Terminal, words

    data, terminal = data.expanduser().resolve(), Terminal(sys.stderr)
    try:
        started = (
            perform(name, data, params, terminal)[0] if name else result_of(data, params["sweep"])
        )
        id = started["sweep"]
        served = find_server(data) is not None
        tend = partial(left_to, data, id, find_server) if served else partial(advance, data, id)
        try:
            result = follow(data, id, terminal, line_of, tend)
        except KeyboardInterrupt:
            result = away(data, id, served, terminal)
    finally:
        terminal.close()
    print(json.dumps(result) if as_json else words("sweep", result))
    return {"done": 0, "failed": 1}.get(result["status"], 130)


def away(data: Path, id: str, served: bool, terminal: Any) -> dict[str, Any]:
    """Ctrl-C while following a sweep: cancel one of our own, only look away from an app's."""
    from align import sweep_files

    if served:
        how = shlex.join(["python", "app.py", "cancel", id, "--data", str(data)])
        terminal(f"{id} goes on in the app; stop it with: {how}\n")
    else:
        terminal(f"Cancelling {id} …\n")
        sweep_files.cancel(data, id)
    return sweep_files.result_of(data, id)


def interrupted(data: Path, run_id: str, server: str | None, terminal: Any) -> dict[str, Any]:
    """Ctrl-C while following: cancel a run of our own, only look away from one of a server."""
    from align import runs as trainings
    from align.following import result_of

    if server is None:
        terminal(f"Cancelling {run_id} …\n")
        trainings.cancel(data, run_id)
    else:
        how = shlex.join(["python", "app.py", "cancel", run_id, "--data", str(data)])
        terminal(f"{run_id} goes on in the app at {server}; stop it with: {how}\n")
    return result_of(trainings.status(data, run_id))


def perform(
    name: str, data: Path, params: Mapping[str, Any], terminal: Any
) -> tuple[dict[str, Any], str | None]:
    """Return a command's result, and the address of the server that did it (None: this process)."""
    from align.calls import call, find_server
    from align.folder import prepare_folder
    from align.following import FILE_COMMANDS
    from align.noted import TOLD

    data = prepare_folder(data)
    if name in TOLD:
        params = {**params, "by": operator()}
    if name in FILE_COMMANDS and not (name in TOLD and reachable(data)):
        files_only = {key: value for key, value in params.items() if key != "by"}
        return FILE_COMMANDS[name](data, **files_only), None
    server = find_server(data)
    if server is not None:
        return call(server, name, params, terminal), server["address"]
    from align.commands import COMMANDS
    from align.workspace import Workspace

    with Workspace.open(data) as workspace:
        return COMMANDS[name](workspace, progress=terminal, **params), None


def reachable(data: Path) -> bool:
    """Say whether a data folder's store can be asked: nobody holds it, or a server does."""
    from storage.lock import read_lock

    holder = read_lock(data)
    return holder is None or bool(holder.get("address"))


def main(args: list[str] | None = None) -> int:
    """Run the command line; return the exit code. The one place that turns errors into a line."""
    words = (sys.argv[1:] if args is None else args) or ["--help"]
    try:
        return int(cli(args=words, prog_name="app.py", standalone_mode=False) or 0)
    except TyperException as error:
        return complain(mistake(error, words))
    except UserError as error:
        return complain(str(error))


def mistake(error: TyperException, words: list[str]) -> str:
    """Return what is wrong with the words typed, with the value that typer leaves out."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "app.py"
    options = getattr(getattr(error, "param", None), "opts", [])
    values = [value for word, value in pairwise(words) if word in options]
    given = f" (given: {values[-1]})" if values else ""
    return f"{error.format_message()}{given} See: python {command} --help"


def complain(sentence: str) -> int:
    """Print one line on stderr and return the exit code of a user's mistake."""
    line = " ".join(sentence.split())
    print(f"error: {line}".encode("utf-8", "replace").decode(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

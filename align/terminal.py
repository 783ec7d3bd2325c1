"""How the command line looks to a person: progress on stderr, results as plain text.

Text from models, prompts and imports is hostile here too: no control character of theirs reaches
the terminal.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from feedback.values import brief

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LOG_SECONDS = 2.0  # Choice: a log with a line of progress every two seconds can still be read
SHOWN_WHY = 30  # Choice: the reasons with the most rows; --json has all
SHOWN_REFUSALS = 20  # Choice: enough to see a pattern; --json has all


class Terminal:
    """Progress on a stream: on a terminal one line that is overwritten, in a log one now and then.

    A text that ends in a newline is kept in both cases.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._open = False  # an unfinished line stands there
        self._next = 0.0  # when a log may get its next line of progress

    def __call__(self, text: str) -> None:
        if not (text.endswith("\n") or self._live):
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + LOG_SECONDS
        kept = text.endswith("\n") or not self._live
        line = clean(text.rstrip("\n"))
        if self._live:
            line = line if kept else line[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r\x1b[K")
        self._stream.write(line.encode("utf-8", "replace").decode() + ("\n" if kept else ""))
        self._stream.flush()
        self._open = not kept

    def close(self) -> None:
        """End an unfinished line, so that what comes next starts on its own."""
        if self._open:
            self._stream.write("\n")
            self._open = False


def clean(text: str) -> str:
    """Return text without what would steer a terminal (escape sequences, direction overrides)."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def words(name: str, result: Mapping[str, Any]) -> str:
    """Return a command's result as plain text for a person."""
    return clean(WORDS[name](result))


def _import(result: Mapping[str, Any]) -> str:
    refused = result["refused"]
    lines = [
        f"{result['read']} rows read, {result['stored']} stored, "
        f"{result['duplicates']} duplicates, {len(refused)} refused"
    ]
    lines += [f"  row {one['row']}: {one['why']}" for one in refused[:SHOWN_REFUSALS]]
    if len(refused) > SHOWN_REFUSALS:
        lines.append(f"  … and {len(refused) - SHOWN_REFUSALS} more (--json lists all)")
    return "\n".join(lines)


def _preview(result: Mapping[str, Any]) -> str:
    rows, refused = result["rows"], result["refused"]
    first = f"the first {len(rows) + len(refused)} can be taken"
    lines = [f"looks like {result['format']}; {len(rows)} of {first}"]
    for row in rows:
        lines.append(f"  row {row['row']}: {brief(row['prompt'][-1]['content'], 80)}")
        answers = {name: row[name] for name in ("a", "b", "answer") if name in row}
        for name, answer in answers.items():
            lines.append(f"    {name}: {brief(answer['text'], 80)}")
        lines.append(f"    {row['verdict']}, by {row['labeler']}")
    lines += [f"  row {one['row']}: {one['why']}" for one in refused]
    return "\n".join(lines)


def _export(result: Mapping[str, Any]) -> str:
    return f"{result['written']} rows written"


def _generate(result: Mapping[str, Any]) -> str:
    return (
        f"{result['responses']} answers to {result['prompts']} prompts, "
        f"{result['comparisons']} comparisons"
    )


def _check(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["checks"]:
        lines.append(f"{one['severity']:8} {one['name']:20} {interval(one)}  {one['message']}")
        if one["severity"] in ("warn", "stop") and one["remedy"]:
            lines.append(f"{'':8} -> {one['remedy']}")
    return "\n".join(lines)


def interval(one: Mapping[str, Any]) -> str:
    """Return value, interval and number of a measured share, or that there is none.

    >>> interval({"value": 0.4099, "low": 0.397, "high": 0.423, "n": 5460})
    '0.410 (0.397 to 0.423, n 5460)'
    """
    if one["value"] is None:
        return f"- (n {one['n']})"
    spread = "" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}, "
    return f"{one['value']:.3f} ({spread}n {one['n']})"


def _leaderboard(result: Mapping[str, Any]) -> str:
    if not result["models"]:
        return "no vote between two models yet"
    lines = [f"{'score (95 %)':22} {'length-controlled':22} {'win rate':>8} {'votes':>6}  model"]
    for one in result["models"]:
        plain, controlled = _strength(one, ""), _strength(one, "_length_controlled")
        counts = f"{one['win_rate']:8.3f} {one['votes']:>6}"
        lines.append(f"{plain:22} {controlled:22} {counts}  {one['model']}")
    if any(one["score"] is None for one in result["models"]):
        lines.append("-: never lost, never won or never compared with the ranked ones; more votes")
    if result["twice_as_long"] is not None:
        lines.append(
            f"An answer twice as long has {result['twice_as_long']:.2f} times the odds to win "
            f"({result['twice_as_long_low']:.2f} to {result['twice_as_long_high']:.2f})."
        )
    return "\n".join(lines)


def _strength(one: Mapping[str, Any], kind: str) -> str:
    if one[f"score{kind}"] is None:
        return "-"
    return f"{one[f'score{kind}']:.3f} ({one[f'low{kind}']:.3f} to {one[f'high{kind}']:.3f})"


def _score(result: Mapping[str, Any]) -> str:
    who = f"{result['model']} + {result['adapter']}" if result["adapter"] else result["model"]
    return f"{result['scored']} answers scored by {who}, {result['left']} left"


def _advise(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["advice"]:
        settings = "".join(f" --set {name}={value}" for name, value in one["settings"].items())
        lines.append(f"--method {one['method']}{settings}\n  {one['reason']}")
    return "\n".join(lines)


def _exclude(result: Mapping[str, Any]) -> str:
    if back := result["included"]:
        return f"{_items(back)}: counted again from the next snapshot on"
    return f"{_items(result['excluded'])}: left out of snapshots and checks, kept in the store"


def _items(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{rows[0]['kind']} {', '.join(one['item'] for one in rows)}"


def _exclusions(result: Mapping[str, Any]) -> str:
    rows = [
        f"{one['kind']:10} {one['item']}: {one['feedback']} votes, thumbs and edits; "
        f"{one['by']}, {one['created_at'][:10]}: {one['reason']}"
        for one in result["exclusions"]
    ]
    return "\n".join(rows) or "nothing is excluded"


def _ask_again(result: Mapping[str, Any]) -> str:
    n = result["asked"]
    if not n:
        return "no comparison is of this kind: nothing is asked again"
    return f"{n} comparisons go back to the queue, to labelers who have not judged them"


def _snapshot(result: Mapping[str, Any]) -> str:
    told = f"{result['snapshot']}: {result['pairs']} pairs, {result['labels']} labels"
    lines = [f"  {count} {reason}" for reason, count in result["dropped"].items()]
    return "\n".join([told, *lines, *(f"  {one['message']}" for one in result["remedies"])])


def _diff(result: Mapping[str, Any]) -> str:
    lines = [f"{result['before']} -> {result['after']}"]
    for kind in ("pairs", "labels"):
        one = result[kind]
        lines.append(
            f"  {kind:6} {one['before']} -> {one['after']}: {one['came']} came, "
            f"{one['went']} went, {one['changed']} changed"
        )
    for name, (was, now) in result["settings"].items():
        lines.append(f"  set    {name} {was} -> {now}")
    why = result["why"]
    lines += [
        f"  {one['rows']:6} {one['kind']}s {one['what']}: {one['why']}" for one in why[:SHOWN_WHY]
    ]
    if len(why) > SHOWN_WHY:
        lines.append(f"  … and {len(why) - SHOWN_WHY} more reasons (--json lists all)")
    for one in result["checks"]:
        was, now = (
            "-" if side is None else interval(side) for side in (one["before"], one["after"])
        )
        moved = "  moved" if one["moved"] else ""
        lines.append(f"  check  {one['name']:18} {was} -> {now}{moved}")
    return "\n".join(lines)


def _run(result: Mapping[str, Any]) -> str:
    lines = [f"{result['run']}: {result['status']} after {result['seconds']:.0f} s"]
    if result["adapter"]:
        lines.append(f"  adapter   {result['adapter']}")
    report = result["report"]
    lines += _warnings(result)
    if report is None:
        return "\n".join(lines)
    if published := report.get("published"):
        lines.insert(1, f"  {published['why']}")
    held_out = report.get("held_out") or {}
    if held_out.get("reward_accuracy") is not None:
        lines.append(
            f"  held-out  reward accuracy {held_out['reward_accuracy']:.3f} "
            f"({held_out['low']:.3f} to {held_out['high']:.3f}, {held_out['pairs']} pairs)"
        )
    if (far := (report.get("kl") or {}).get("per_token")) is not None:
        lines.append(f"  kl        {far:.2g} nats per token")
    for key, unit in (("length", "tokens"), ("repeating", "share"), ("unfinished", "share")):
        part = report.get(key) or {}
        if part.get("before") is not None and part.get("after") is not None:
            lines.append(f"  {key:9} {part['before']:.3g} -> {part['after']:.3g} ({unit})")
    return "\n".join(lines)


def _warnings(result: Mapping[str, Any]) -> list[str]:
    """Return what looks wrong in a run, each with its remedy."""
    lines = []
    for one in result.get("warnings") or ():
        lines += [f"  warning   {one['what']}", f"            -> {one['remedy']}"]
    return lines


def _preflight(result: Mapping[str, Any]) -> str:
    return "\n".join(result["words"])


def _sweep(result: Mapping[str, Any]) -> str:
    lines = [f"{result['sweep']}: {result['status']}"]
    lines.append(f"  {'beta':>6}  {'accuracy (95 %)':22} {'nats per token':>14}  {'length':13} run")
    for one in result["points"]:
        if one["accuracy"] is None:
            told = f"{one['status']}{': ' if one['warnings'] else ''}{'; '.join(one['warnings'])}"
            lines.append(f"  {one['beta']:>6g}  {told:53} {one['run']}")
            continue
        right = f"{one['accuracy']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        far = "-" if one["kl"] is None else f"{one['kl']:.3g}"
        long = f"{_number(one['length_before'])} -> {_number(one['length_after'])}"
        lines.append(f"  {one['beta']:>6g}  {right:22} {far:>14}  {long:13} {one['run']}")
        lines += [f"  {'':6}  -> {warning}" for warning in one["warnings"]]
    return "\n".join([*lines, result["reading"]] if result["reading"] else lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _cancel(result: Mapping[str, Any]) -> str:
    return f"{result.get('run') or result['sweep']}: {result['status']}"


def _compare(result: Mapping[str, Any]) -> str:
    return (
        f"--- before{_counted(result['tokens_before'])}\n{result['before']}\n"
        f"--- after {result['run']}{_counted(result['tokens_after'])}\n{result['after']}"
    )


def _counted(tokens: int | None) -> str:
    """Return the tokens of an answer in brackets; an endpoint may not tell them."""
    return "" if tokens is None else f" ({tokens} tokens)"


def _simulate(result: Mapping[str, Any]) -> str:
    return (
        f"{result['votes']} votes by {result['labelers']} simulated labelers; "
        f"{result['comparisons']} comparisons"
    )


def _gold(result: Mapping[str, Any]) -> str:
    rows = [f"{row['comparison']}  {row['verdict']}" for row in result["gold"]]
    return "\n".join([f"{len(rows)} gold items", *rows])


def _campaign(result: Mapping[str, Any]) -> str:
    if "campaigns" in result:
        return "\n".join(line for one in result["campaigns"] for line in _one_campaign(one))
    return (
        f"each comparison is judged by {result['overlap']}, {result['shared']:.0%} by one or two "
        "more; "
        f"of a labeler's items {result['repeats']:.0%} are silent repeats, {result['gold']:.0%} "
        "gold"
    )


def _one_campaign(one: Mapping[str, Any]) -> list[str]:
    """Return a campaign in a line, and those who were tried in it in one each."""
    who = ", ".join(one["labelers"]) or "everybody"
    far = f"{one['done']} of {one['total']} judged"
    named = "" if one["name"] == one["campaign"] else f" ({one['name']})"
    lines = [f"{one['state']:8} {one['campaign']}{named}: {far}; {one['mode']}, by {who}"]
    for tried in one["tried"]:
        now = {None: "going on", True: "passed", False: "not passed"}[tried["passed"]]
        now = "let in" if tried["let_in"] else now
        right = f"{tried['right']} of {tried['judged']} right"
        lines.append(f"         trial of {tried['labeler']}: {right}, {now}")
    return lines


def _adjudicate(result: Mapping[str, Any]) -> str:
    lines = [f"{result['waiting']} comparisons wait for a decision"]
    for one in result["cases"]:
        lines.append(f"{one['comparison']}  {brief(one['prompt'][-1]['content'], 80)}")
        lines += [f"    {side}: {brief(one[side], 80)}" for side in "ab"]
    if more := result["waiting"] - len(result["cases"]):
        lines.append(f"  … and {more} more, once these are decided")
    for one in result["decided"]:
        why = f" ({one['because']})" if one["because"] else ""
        votes = ", ".join(f"{vote['labeler']} {vote['verdict']}" for vote in one["votes"])
        told = f"decided {one['verdict']} by {one['by']}{why}; votes: {votes or 'none'}"
        lines.append(f"{one['comparison']}  {told}")
    return "\n".join(lines)


def _runs(result: Mapping[str, Any]) -> str:
    rows = [
        f"{one['run']:18} {one['status']:10} {one['method']:5} {one['step']}/{one['steps']:<6} "
        f"{one['snapshot']:22} {one['model']}"
        for one in result["runs"]
    ]
    return "\n".join(rows) or "no runs yet: start one with `python app.py train`"


def _duel(result: Mapping[str, Any]) -> str:
    lines = [f"{result['run']} against {result['against']}: {result['words']}"]
    if result["at_equal_lengths"] is not None:
        lines.append(f"at equal lengths about {result['at_equal_lengths'] * 100:.0f} %")
    if result["identical"]:
        lines.append(f"{result['identical']} answers are the same: ties")
    if result["waiting"]:
        lines.append(f"{result['waiting']} wait on the label screen, where they come first")
    return "\n".join(lines)


def _judge(result: Mapping[str, Any]) -> str:
    lines = [result["words"]]
    if result["unreadable"]:
        lines.append(f"{result['unreadable']} answers were no verdict, and are no vote")
    if result["duel"] is None and result["votes"]:
        lines.append(
            f"its {result['votes']} votes count like any labeler's; `exclude` keeps them out"
        )
    return "\n".join(lines)


def _demo(result: Mapping[str, Any]) -> str:
    steps = result["steps"]
    after = steps["after"]
    lines = [f"{step:9} {one['seconds']:6.0f} s" for step, one in steps.items()]
    lines.append(
        f"on {after['preferred']:g} of {after['prompts']} held-out prompts the taste that cast the "
        f"votes prefers the answer after ({after['low']:.0%} to {after['high']:.0%})"
    )
    return "\n".join([*lines, "look at it: python app.py demo"])


def _publish(result: Mapping[str, Any]) -> str:
    lines = [f"{result['run']}: {_tree(result)} in {result['folder']}"]
    if parity := result["parity"]:
        said = "yes" if result["merged"] else "no"
        lines.append(
            f"  merged    {said}: as written it differs from base and adapter by "
            f"{parity['written']:.2g} nats per token (training moved it by "
            f"{parity['changed']:.2g}); {parity['written_same']} of {parity['answers']} greedy "
            "answers are the same"
        )
    if result["why_not_merged"]:
        lines.append(f"  no merged weights: {result['why_not_merged']}")
    if dataset := result["dataset"]:
        lines.append(f"  dataset   {dataset['pairs']} pairs, {dataset['labels']} labels")
    return "\n".join(lines)


def _tree(result: Mapping[str, Any]) -> str:
    return f"{result['files']} files, {result['bytes'] / 1e6:,.0f} MB"


def _verify(result: Mapping[str, Any]) -> str:
    return (
        f"{result['folder']} is what was published of {result['run']} on {result['base']}: "
        f"{_tree(result)}, every hash right"
    )


def _promote(result: Mapping[str, Any]) -> str:
    why = f": {result['because']}" if result["because"] else ""
    lines = [f"{result['run']} answers from now on{why}"]
    if duel := result["evidence"].get("duel"):
        lines.append(
            f"  duel against {duel['against']}: {duel['wins']} won, {duel['losses']} lost, "
            f"{duel['ties']} tied: {_rate(duel)}"
        )
    return "\n".join([*lines, "  let it answer: python app.py generate --stored 50"])


def _rate(duel: Mapping[str, Any]) -> str:
    return f"preferred {duel['rate']:.0%} ({duel['low']:.0%} to {duel['high']:.0%})"


def _rounds(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["rounds"]:
        said = one["feedback"]
        lines.append(
            f"round {one['round']}: {one['sampler'] or 'base'} answered {one['comparisons']} "
            f"comparisons; {said['votes']} votes, {said['ratings']} thumbs, {said['edits']} edits"
        )
        lines += [line for ran in one["runs"] for line in _ran(ran)]
    return "\n".join([*lines, f"now answers: {result['answers']}"])


def _ran(ran: Mapping[str, Any]) -> list[str]:
    """Return a run of a round in a line or more."""
    held_out = ran["held_out"] or {}
    right = held_out.get("reward_accuracy")
    told = f"held-out {right:.3f}" if right is not None else ran["status"]
    lines = [f"  {ran['run']} {ran['method']}: {ran['votes']} votes, {told}"]
    for against, duel in ran["duels"].items():
        if duel["rate"] is not None:
            lines.append(f"    duel against {against}: {_rate(duel)}")
    if gone := sum(ran["stale"].values()):
        lines.append(f"    stale: {gone} of its votes do not count any more")
    if ran["promoted"]:
        lines.append(f"    promoted by {ran['promoted']['labeler']}: {ran['promoted']['reason']}")
    return lines


def _lineage(result: Mapping[str, Any]) -> str:
    if "vote" in result:
        return "\n".join(result["learned_from"]) or "no run learned from it"
    lines = [f"{run}: {len(ids)} votes, thumbs and edits" for run, ids in result["votes"].items()]
    gone = sum(map(len, result["stale"].values()))
    if gone:
        lines.append(f"stale: {gone} of them do not count any more")
    return "\n".join([*lines, "every hash is as it was (--json lists the votes)"])


def _user(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["accounts"]:
        seen = f"seen {one['last_seen'][:16]}" if one["last_seen"] else "never seen"
        now = f"ended {one['ended_at'][:16]}" if one["ended_at"] else seen
        lines.append(f"{one['role']:8} {one['name']}  ({now})")
    for one in result["invitations"]:
        lines.append(f"{one['role']:8} {one['name']}  (invited, until {one['ends_at'][:16]})")
    if result["link"]:
        where = "" if "://" in result["link"] else ", after the app's address"
        lines.append(f"Give this link to its person{where}; it works once:\n{result['link']}")
    return "\n".join(lines) or "no accounts: who reaches the app on this machine is the lead"


def _key(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["keys"]:
        now = f"revoked {one['ended_at'][:16]}" if one["ended_at"] else f"made by {one['by']}"
        lines.append(f"{', '.join(one['scopes']):14} {one['name']}  ({now})")
    if result["key"]:
        lines.append(f"The key, which is shown this once:\n{result['key']}")
    return "\n".join(lines) or "no keys"


def _audit(result: Mapping[str, Any]) -> str:
    lines = [
        f"{one['at'][:16]}  {one['by']}: {one['did']}, {one['what']}" for one in result["changes"]
    ]
    return "\n".join(lines) or "no changes yet"


def _erase(result: Mapping[str, Any]) -> str:
    verb = "erased" if result["done"] else "would be erased (do it with --yes; it is for good)"
    lines = [
        f"{result['texts']} texts {verb}: of {result['prompts']} prompts and "
        f"{result['responses']} answers, in {result['comparisons']} comparisons"
    ]
    lines += [f"  {text}" for text in result["shown"]]
    if (more := result["texts"] - len(result["shown"])) > 0:
        lines.append(f"  … and {more} more")
    if result["shared"]:
        lines.append(f"{result['shared']} texts stay: others said the same")
    if result["kind"] == "labeler":
        now = f" ({result['pseudonym']})" if result["pseudonym"] else ""
        lines.append(f"{result['events']} votes, thumbs and edits get a pseudonym{now}")
    changed = "rewritten" if result["done"] else "to be rewritten"
    lines += [f"snapshot {id}: {changed}" for id in result["snapshots"]]
    held = result["held_by"]
    lines += [
        f"run {id} learned from it or quotes it: delete it, or train again" for id in held["runs"]
    ]
    lines += [f"published: {one}" for one in held["published"]]
    lines += [f"{one}: not rewritten, may hold it" for one in held["files"]]
    if held["exports"]:
        lines.append(f"exported before: {', '.join(held['exports'])}")
    return "\n".join(lines)


WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "import": _import,
    "preview": _preview,
    "export": _export,
    "generate": _generate,
    "check": _check,
    "leaderboard": _leaderboard,
    "score": _score,
    "advise": _advise,
    "exclude": _exclude,
    "exclusions": _exclusions,
    "ask-again": _ask_again,
    "snapshot": _snapshot,
    "diff": _diff,
    "preflight": _preflight,
    "train": _run,
    "sweep": _sweep,
    "resume": _run,
    "cancel": _cancel,
    "compare": _compare,
    "duel": _duel,
    "judge": _judge,
    "publish": _publish,
    "verify": _verify,
    "simulate": _simulate,
    "gold": _gold,
    "campaign": _campaign,
    "adjudicate": _adjudicate,
    "runs": _runs,
    "demo": _demo,
    "promote": _promote,
    "rollback": _promote,
    "rounds": _rounds,
    "lineage": _lineage,
    "user": _user,
    "key": _key,
    "audit": _audit,
    "erase": _erase,
}

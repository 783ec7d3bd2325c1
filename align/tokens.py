"""Count a snapshot's rows in tokens before a run, as the run will see them. Knows no torch.

The run itself tokenises with transformers, which brings torch along. Here the base's tokenizer.json
and chat template are read directly, and `align.rendering` does the rest, so what is dropped and cut
is counted by the very code that does it. A base without a tokenizer.json is guessed by characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from align import recipes
from align.losses import LOSSES
from align.models import context_of
from align.rendering import Ids, PairRow, Row, Template, label_rows, pair_rows
from align.subset import rows_of
from storage.errors import Unsupported

CHARACTERS_PER_TOKEN = 4.2  # English prose under SmolLM2's tokenizer
TEMPLATE_TOKENS = 35  # a chat template's words around a prompt
MOST_ROWS = 20_000  # Choice: tokenised in half a minute; of more, every second one, and so on


@dataclass(frozen=True, slots=True)
class Counted:
    """A snapshot's rows as a run would take them."""

    train: list[Row]
    held_out: list[PairRow]
    prompts: int  # held-out prompts, of pairs and labels
    dropped: Mapping[str, int]  # reason → rows dropped or cut
    times: float = 1.0  # as many rows as were looked at
    exact: bool = True  # False: guessed by characters


def count(
    folder: Path,
    config: Mapping[str, Any],
    settings: recipes.Settings,
    rows: Mapping[str, list[dict[str, Any]]],
) -> Counted:
    """Return the rows of a snapshot in tokens.

    Args:
        folder: the base model's.
        config: its config.json.
        rows: of the snapshot, {"pairs": …, "labels": …}.
    """
    loss, limit = LOSSES[settings.method], settings.train.max_tokens
    limit = min(limit, context_of(config) or limit)
    train, judged = rows_of(loss, rows, settings.train.max_rows)
    template = read_template(folder)
    used: Any = template or Guess()
    take: Any = pair_rows if loss.needs == "pairs" else label_rows
    every = max(1, round(len(train) / MOST_ROWS))
    found, counts = take(used, train[::every], limit)
    held, _ = pair_rows(used, judged[::every], limit)
    times = len(train) / max(1, len(train[::every]))
    dropped = {reason: round(n * times) for reason, n in counts.items() if n}
    thumbs = [row for row in rows["labels"] if row["split"] == "held_out"]
    prompts = {str(row.get("prompt_id", row["id"])) for row in [*judged, *thumbs]}
    return Counted(list(found), held, len(prompts), dropped, times, template is not None)


def read_template(folder: Path) -> Template | None:
    """Return the base's chat template with its tokenizer; None where it has no tokenizer.json."""
    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        return Template.of(PlainTokenizer(folder), stop_ids(folder))
    except Unsupported:  # the run says so, once it is there
        return None


def stop_ids(folder: Path) -> set[int]:
    """Return the tokens at which a model's own generation stops, as its files say."""
    ids = _object(folder / "generation_config.json").get("eos_token_id")
    return set(ids if isinstance(ids, list) else [ids]) - {None}


class PlainTokenizer:
    """As much of a transformers tokenizer as `align.rendering` asks for."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer  # here: the command line starts without it

        self._core = Tokenizer.from_file(str(folder / "tokenizer.json"))
        told = {
            **_object(folder / "special_tokens_map.json"),
            **_object(folder / "tokenizer_config.json"),
        }
        self._names = {
            name: value["content"] if isinstance(value, Mapping) else value
            for name, value in told.items()
            if name.endswith("_token") and isinstance(value, str | Mapping)
        }
        self.chat_template = _chat_template(folder, told)
        self.bos_token_id, self.eos_token_id = map(self._id, ("bos_token", "eos_token"))
        added = self._core.get_added_tokens_decoder().values()
        self.all_special_tokens = [token.content for token in added if token.special]
        self._compiled: Any = None

    def encode(
        self, text: str, *, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> list[int]:
        self._core.encode_special_tokens = split_special_tokens
        ids: list[int] = self._core.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        if self._compiled is None:
            self._compiled = _environment().from_string(self.chat_template)
        text: str = self._compiled.render(
            messages=messages, add_generation_prompt=add_generation_prompt, **self._names
        )
        return text

    def _id(self, name: str) -> int | None:
        token = self._names.get(name)
        return None if token is None else self._core.token_to_id(token)


class Guess:
    """Stands for a template where there is none to read: as many tokens as characters suggest."""

    end: Ids = (0,)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> Ids:
        characters = sum(len(message["content"]) for message in messages)
        return tuple(range(TEMPLATE_TOKENS + guessed(characters)))

    def response(self, messages: Sequence[Mapping[str, str]], text: str) -> Ids:
        return (*(hash((text, i)) for i in range(guessed(len(text)))), *self.end)


def guessed(characters: float) -> int:
    """Return about how many tokens so many characters are."""
    return round(characters / CHARACTERS_PER_TOKEN)


def _chat_template(folder: Path, told: Mapping[str, Any]) -> str:
    """Return the template in use: a file beside the tokenizer, or that in its configuration."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text("utf-8")
    found = _object(folder / "chat_template.json").get("chat_template") or told.get("chat_template")
    if isinstance(found, list):  # several by name
        named = {one.get("name"): one.get("template") for one in found}
        found = named.get("default")
    return str(found or "")


def _environment() -> Any:
    """Return what chat templates are written for.

    Source: https://huggingface.co/docs/transformers/chat_templating_writing: blocks trimmed, loop
    controls, `raise_exception`, `strftime_now`, `tojson`; sandboxed, because a template is code of
    strangers.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(
        value, ensure_ascii=False, **{key: how[key] for key in how if key in ("indent",)}
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

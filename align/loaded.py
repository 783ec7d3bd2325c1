"""A base model in memory with its tokenizer and the adapters on it: what the worker works on."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache

from align import few_rows
from align.manifest import verify_manifest
from align.rendering import Template
from storage.errors import Unsupported
from storage.records import Message

MAX_ADAPTERS = 4  # Choice: compare shows two at a time; a rank-16 adapter of a 7B model has 80 MB
BASE = "__base__"  # PEFT's own name for "no adapter" in a mixed batch
TEMPLATE_SECONDS = 5.0  # Choice: rendering and tokenising a million characters takes about 1 s

T = TypeVar("T")


class LoadedModel:
    """One base model, one tokenizer, some adapters. Not thread-safe: one user at a time."""

    def __init__(self, folder: Path, precision: str = "auto") -> None:
        """Load a model from its folder; never runs code from there.

        Args:
            precision: "auto", "fp32" or "bf16". auto takes bf16 where the processor has it.
        """
        self.folder = folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = _dtype(precision, self.device)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = self._base()
        self.config = self.model.config
        self.context = int(getattr(self.config, "max_position_embeddings", 0) or 1 << 20)
        eos = self.model.generation_config.eos_token_id
        stops = set(eos if isinstance(eos, list) else [] if eos is None else [eos])
        with _time_limit(TEMPLATE_SECONDS):
            self.template = Template.of(self.tokenizer, stops)
        ends = {*stops, self.tokenizer.eos_token_id, self.template.end[-1]}
        self.stop_ids = frozenset(ends - {None})
        self.pad_id = int(self.tokenizer.pad_token_id or 0)
        self._adapters: OrderedDict[Path, str] = OrderedDict()
        self._names: dict[Path, str] = {}  # also of adapters that had to leave
        self._active = BASE
        self._kind = ""  # PEFT's name for the kind of the adapters that are loaded

    def _base(self) -> Any:
        """Return the base model, read from its folder."""
        model: Any = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        return few_rows.use_in(model.to(self.device).eval())

    def prompt_ids(self, messages: Sequence[Message], room: int) -> tuple[Sequence[int], int]:
        """Return a prompt's tokens with `room` left for the answer, and how many were cut.

        Cuts from the left, as training does; at least half of the model's context is the prompt's.

        Raises:
            Unsupported: the model's chat template refuses the conversation.
        """
        ids = self._through_template(self.template.prompt, messages)
        cut = max(0, len(ids) - max(self.context - room, self.context // 2))
        return ids[cut:], cut

    def _through_template(
        self, call: Callable[..., T], messages: Sequence[Message], *rest: str
    ) -> T:
        """Return `call(messages, …)`, with a limit on what a template may do.

        A template is a program: it may loop for ever, so it gets `TEMPLATE_SECONDS` (main thread
        only).
        """
        try:
            with _time_limit(TEMPLATE_SECONDS):
                return call(messages, *rest)
        except TemplateError as error:
            raise Unsupported(
                f"the chat template of {self.folder.name} refuses this conversation ({error}): "
                "change its roles, or take another model."
            ) from error
        except TimeoutError as error:
            raise Unsupported(
                f"the chat template of {self.folder.name} took more than {TEMPLATE_SECONDS:.0f} s "
                "for one conversation: take another model."
            ) from error

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of an answer's tokens without special tokens.

        A NUL, which no database column and no screen takes, becomes the replacement character.
        """
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        return text.replace("\x00", "\ufffd")

    def pieces_of(self, ids: Sequence[int]) -> list[str]:
        """Return the text that each token adds: "" for a special one, and for all but the last of
        those that make one character."""
        pieces, start = [], 0
        for end in range(1, len(ids) + 1):
            lead = self.text_of(
                ids[max(0, start - 1) : start]
            )  # some tokenizers drop a first blank
            text = self.text_of(ids[max(0, start - 1) : end]).removeprefix(lead)
            half = text.endswith("\ufffd") and end < len(ids)
            pieces.append("" if half else text)
            start = start if half else end
        return pieces

    def together(self, folders: Sequence[Path | None]) -> list[list[int]]:
        """Return which of these adapters can be on the model at once, by their numbers.

        PEFT takes one kind of adapter on a model: low-rank ones stand beside each other, whatever
        their ranks and layers; one that holds copies of all weights waits for its turn. The base
        goes with any.

        Raises:
            NotFound, BadInput: an adapter has no manifest, or a file differs from it.
        """
        groups: dict[str, list[int]] = {}
        for number, folder in enumerate(folders):
            if folder is not None:
                if folder.resolve() not in self._adapters:
                    verify_manifest(folder)
                groups.setdefault(_kind_of(folder), []).append(number)
        first = next(iter(groups.values()), None) or groups.setdefault("", [])
        first += [number for number, folder in enumerate(folders) if folder is None]
        return [sorted(group) for group in groups.values()]

    def use_adapter(self, folder: Path | None) -> str | None:
        """Return the name of the adapter in `folder`, verified and loaded now if it was not yet.

        One of another kind, or a fifth one, takes its place; it keeps its name when it comes back.

        Raises:
            NotFound, BadInput: it has no manifest, or a file differs from it.
            Unsupported: it was made for another base model.
        """
        if folder is None:
            return None
        folder = folder.resolve()
        if folder not in self._adapters:
            verify_manifest(folder)
            self._load(folder)
        self._adapters.move_to_end(folder)
        return self._adapters[folder]

    def _load(self, folder: Path) -> None:
        from peft import PeftModel

        from align.tuning import unwarned

        name = self._names.setdefault(folder, f"adapter{len(self._names) + 1}")
        kind = _kind_of(folder)
        if self._adapters and kind != self._kind:  # PEFT takes one kind of adapter on a model
            self._drop_adapters()
        self._kind = kind
        try:
            with unwarned():
                if isinstance(self.model, PeftModel):
                    self.model.load_adapter(folder, adapter_name=name, is_trainable=False)
                else:
                    self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        except (RuntimeError, ValueError, KeyError) as error:
            self._drop_adapters()  # half an adapter may be on the old one
            raise Unsupported(
                f"the adapter {folder} does not fit the model {self.folder.name} "
                f"({str(error).splitlines()[0]}): use it with the model it was trained on."
            ) from error
        self.model.eval()
        self._adapters[folder] = name
        self._activate(name)
        while len(self._adapters) > MAX_ADAPTERS:
            _, oldest = self._adapters.popitem(last=False)
            self.model.delete_adapter(oldest)

    def fold(self, name: str) -> None:
        """Make an adapter's weights the base's own; no adapter is left then.

        Raises:
            Unsupported: as `align.tuning.folded`.
        """
        from align.tuning import folded, unwarned

        with unwarned():
            self.model = folded(self.model, name).eval()
        self._adapters.clear()
        self._active = BASE

    def _drop_adapters(self) -> None:
        """Begin again with the base alone."""
        self.model, self._active = self._base(), BASE
        self._adapters.clear()

    def next_logits(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: DynamicCache,
        adapters: Sequence[str | None],
    ) -> torch.Tensor:
        """Return (B, V) logits after the last token. See `decoding.Decoder`."""
        output = self._forward(adapters)(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    @torch.inference_mode()
    def score(
        self,
        messages: Sequence[Message],
        response: str,
        adapter: str | None,
        *,
        finished: bool = True,
    ) -> tuple[float, int]:
        """Return a response's log-probability (nats), and how many tokens it has."""
        _, logprobs = self.token_scores(messages, response, adapter, finished=finished)
        return sum(logprobs), len(logprobs)

    @torch.inference_mode()
    def token_scores(
        self,
        messages: Sequence[Message],
        response: str,
        adapter: str | None,
        *,
        finished: bool = True,
    ) -> tuple[list[int], list[float]]:
        """Return a response's tokens and the log-probability of each (nats).

        The end-of-turn token belongs to a response that ended; one that was cut off has none
        (unless it says nothing at all).
        """
        head = list(self._through_template(self.template.prompt, messages))
        tail = list(self._through_template(self.template.response, messages, response))
        if not finished:
            tail = tail[: -len(self.template.end)] or tail
        tail = tail[: self.context - 1]
        head = head[-(self.context - len(tail)) :]
        ids = torch.tensor([head + tail], device=self.device)
        logits = self._forward([adapter])(
            input_ids=ids, use_cache=False, logits_to_keep=len(tail) + 1
        ).logits[0, :-1]
        wanted = ids[0, len(head) :]
        found: list[float] = []
        for rows, tokens in zip(logits.split(256), wanted.split(256), strict=True):
            found += rows.float().log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1).tolist()
        return tail, found

    def _forward(self, adapters: Sequence[str | None]) -> Any:
        """Return the model as a function with these adapters, one for each row, in force."""
        names = [name or BASE for name in adapters]
        if gone := {*names} - {BASE, *self._adapters.values()}:
            raise LookupError(f"{', '.join(sorted(gone))} had to leave: use it again first")
        if not self._adapters:
            return self.model
        if len(set(names)) > 1 and self._kind != "LORA":
            return lambda **inputs: self._in_turn(names, **inputs)
        if len(set(names)) > 1:
            self._activate(next(name for name in names if name != BASE))
            return lambda **inputs: self.model(**inputs, adapter_names=names)
        self._activate(names[0])
        return self.model

    def _in_turn(
        self,
        names: Sequence[str],
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past_key_values: DynamicCache,
        **rest: Any,
    ) -> Any:
        """Return the model's output with another adapter for each row, one adapter after the other:
        PEFT mixes adapters within a batch for LoRA alone."""
        found: dict[int, tuple[torch.Tensor, list[Any]]] = {}
        length = past_key_values.get_seq_length()
        for name in dict.fromkeys(names):
            rows = [i for i, other in enumerate(names) if other == name]
            part = DynamicCache()
            for depth, layer in enumerate(past_key_values.layers if length else ()):
                part.update(layer.keys[rows], layer.values[rows], depth)
            self._activate(name)
            logits = self.model(
                input_ids=input_ids[rows], attention_mask=attention_mask[rows],
                position_ids=position_ids[rows], past_key_values=part, **rest,
            ).logits  # fmt: skip
            for place, row in enumerate(rows):
                new = [
                    (x.keys[place, :, length:], x.values[place, :, length:]) for x in part.layers
                ]
                found[row] = logits[place], new
        ordered = [found[row] for row in range(len(names))]
        for depth, columns in enumerate(zip(*(new for _, new in ordered), strict=True)):
            keys, values = (torch.stack(tensors) for tensors in zip(*columns, strict=True))
            past_key_values.update(keys, values, depth)
        return SimpleNamespace(logits=torch.stack([logits for logits, _ in ordered]))

    def _activate(self, name: str) -> None:
        """Make one adapter (or none) the active one; costs nothing when it is already."""
        if name == self._active or not self._adapters:
            return
        if name == BASE:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(name)
        self._active = name


def _kind_of(folder: Path) -> str:
    """Return PEFT's name for the kind of an adapter."""
    return str(json.loads((folder / "adapter_config.json").read_text("utf-8"))["peft_type"])


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body after `seconds`; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has_bf16 = False
    with contextlib.suppress(AttributeError, RuntimeError):
        has_bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.bfloat16 if has_bf16 else torch.float32

"""The product's routes as the OpenAPI document tells them: bodies, examples, answers (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feedback.problems import RESPONSE, SCHEMA
from feedback.product.bodies import CHOICES, LEFT, MAX_ID_CHARS, MAX_MODEL_CHARS, THUMBS
from feedback.texts import MAX_CHARS, ROLES
from feedback.votes import MAX_COMMENT_CHARS, MAX_EDIT_CHARS, REASONS

MAX_ITEMS = 1_000  # of one request. Choice: some 100 ms of storing; more gain nothing

Schema = dict[str, Any]


def _text(what: str, most: int, least: int = 1) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most, "description": what}


def _word(what: str) -> Schema:
    """Return the schema of an id: without control characters and line breaks."""
    return _text(what, MAX_ID_CHARS) | {"pattern": r"^[^\x00-\x1f\x7f]+$"}


def _maybe(schema: Schema) -> Schema:
    """Return the schema of a field that may be null, which is as good as left out."""
    what = {"description": schema.pop("description")} if "description" in schema else {}
    return {"anyOf": [schema, {"type": "null"}], **what}


_MESSAGE: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"type": "string", "minLength": 1, "maxLength": MAX_CHARS},
    },
}
_PROMPT: Schema = {
    "description": "what was asked: a text, or the conversation up to the user's last message",
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_CHARS},
        {"type": "array", "minItems": 1, "items": _MESSAGE},
    ],
}
_RESPONSE = _text("what was answered", MAX_CHARS, 0)
_MODEL = _text("the name of the model that answered", MAX_MODEL_CHARS)
_USER = _maybe(_word("whose it is, in any form; kept as a keyed hash only"))
_REASONS = _maybe({"type": "array", "items": {"enum": list(REASONS)}})
_COMMENT = _maybe(_text("what the user wrote about it", MAX_COMMENT_CHARS, 0))
_ALONG = {
    "prompt": {**_PROMPT, "description": "with response and model: log it on the way"},
    "response": _RESPONSE,
    "model": _MODEL,
}
_TOGETHER = {
    "dependentRequired": {
        "prompt": ["response", "model"],
        "response": ["prompt", "model"],
        "model": ["prompt", "response"],
    }
}
_SIDES = {
    "dependentRequired": {
        "response_a": ["prompt", "model_a"],
        "model_a": ["prompt", "response_a"],
        "response_b": ["prompt", "model_b"],
        "model_b": ["prompt", "response_b"],
    },
    "dependentSchemas": {
        "prompt": {"anyOf": [{"required": ["response_a"]}, {"required": ["response_b"]}]}
    },
}


def _item(title: str, required: list[str], properties: Mapping[str, Schema], **more: Any) -> Schema:
    return {
        "title": title,
        "type": "object",
        "required": required,
        "properties": dict(properties),
        "additionalProperties": False,
        **more,
    }


SHOWN = _item(
    "Response",
    ["id", "prompt", "response", "model"],
    {
        "id": _word("the product's own id of this response"),
        "prompt": _PROMPT,
        "response": _RESPONSE,
        "model": _MODEL,
        "user": _USER,
    },
)
THUMB = _item(
    "Feedback",
    ["id", "response_id", "verdict"],
    {
        "id": _word("the product's own id of this thumb; the same again is stored once"),
        "response_id": _word("which response"),
        "verdict": {"enum": list(THUMBS), "description": "none: the user took it back"},
        "user": _USER,
        "reasons": _REASONS,
        "comment": _COMMENT,
        **_ALONG,
    },
    **_TOGETHER,
)
CHOICE = _item(
    "Comparison",
    ["id", "a", "b", "verdict"],
    {
        "id": _word("the product's own id of this choice; the same again is stored once"),
        "a": _word("the id of one response"),
        "b": _word("the id of the other one, to the same prompt"),
        "verdict": {"enum": list(CHOICES), "description": "which one the user took"},
        "left": _maybe({"enum": list(LEFT), "description": "which one stood left or first"}),
        "user": _USER,
        "reasons": _REASONS,
        "comment": _COMMENT,
        "prompt": _ALONG["prompt"],
        **{f"{name}_{side}": _ALONG[name] for name in ("response", "model") for side in ("a", "b")},
    },
    **_SIDES,
)
CORRECTION = _item(
    "Correction",
    ["id", "response_id", "text"],
    {
        "id": _word("the product's own id of this correction; the same again is stored once"),
        "response_id": _word("which response was corrected"),
        "text": _text("the whole corrected response", MAX_EDIT_CHARS),
        "user": _USER,
        **_ALONG,
    },
    **_TOGETHER,
)
EXAMPLES: Mapping[str, Schema] = {
    "Response": {
        "id": "msg_1",
        "prompt": "How do I boil an egg?",
        "response": "Eight minutes in boiling water.",
        "model": "smol-1",
        "user": "u_17",
    },
    "Feedback": {"id": "fb_1", "response_id": "msg_1", "verdict": "up", "user": "u_17"},
    "Comparison": {
        "id": "cmp_1",
        "a": "msg_1",
        "b": "msg_2",
        "verdict": "b",
        "left": "a",
        "prompt": "How do I boil an egg?",
        "response_a": "Eight minutes in boiling water.",
        "model_a": "smol-1",
        "response_b": "Put it into boiling water; six minutes for a soft one, ten for a hard one.",
        "model_b": "smol-2",
    },
    "Correction": {
        "id": "fix_1",
        "response_id": "msg_1",
        "text": "Eight to ten minutes in boiling water, then cold water.",
    },
}

_SAVED: Schema = {
    "type": "object",
    "required": ["id", "saved", "repeated"],
    "properties": {
        "id": {"type": "string"},
        "saved": {"const": True},
        "repeated": {"type": "boolean", "description": "it had been stored before"},
    },
}
_REFUSED: Schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "id": {}}}
_RESULTS: Schema = {
    "type": "object",
    "required": ["saved", "refused", "results"],
    "properties": {
        "saved": {"type": "integer"},
        "refused": {"type": "integer"},
        "results": {"type": "array", "items": {"anyOf": [_SAVED, _REFUSED]}},
    },
}

EXPORTED: Schema = {
    "description": "The file",
    "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
}


def body(item: Schema) -> Schema:
    """Return what a route takes: one item or a list of them, with an example of both."""
    one = EXAMPLES[item["title"]]
    # What is no such item is refused in its place, and the others are taken.
    items = {"anyOf": [item, {}]}
    batch = {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": items}
    content = {
        "schema": {"anyOf": [item, batch]},
        "examples": {"one": {"value": one}, "batch": {"value": [one]}},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def answers() -> dict[int | str, Schema]:
    """Return what a route answers."""
    saved = {"schema": {"anyOf": [_SAVED, _RESULTS]}}
    return {
        201: {"description": "All of it is durable", "content": {"application/json": saved}},
        207: {
            "description": "Of a batch some items were refused; each result says why",
            "content": {"application/json": {"schema": _RESULTS}},
        },
        "default": dict(RESPONSE),
    }

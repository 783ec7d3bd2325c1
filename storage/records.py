"""The rows of Hone's tables as frozen dataclasses, one per table, and how their ids are made.

Holds no behaviour beyond making ids. Texts (prompts, responses, comments, edits) are stored once,
in `Text`, and everywhere else by the hash of their content: the one place where a text can be
erased. Times are timezone-aware UTC. Ids of texts, prompts, responses and comparisons come from
their content, so adding the same thing twice adds nothing; ids of events are UUIDs made by the
client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring as json_string  # as json.dumps, without ensure_ascii
from typing import Any
from uuid import UUID

from storage.errors import BadInput

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": str}

VERDICTS = ("a", "b", "tie", "both_bad", "skip", "undone")  # of a vote; `undone` takes it back
THUMBS = ("up", "down", "skip", "undone")  # of a rating
GENERATED = "generated"  # how the source of a batch of sampled comparisons begins
DUEL = "duel:"  # how the source of a duel's comparisons begins
JUDGE = "judge"  # the source of votes that a rule or a model cast, and not a person
PRODUCT = "product"  # the source of what a product's own users said
USER = "user:"  # how the names of a product's users begin
ANONYMOUS = "user:unknown"  # those of whom the product does not say who: many people
JUDGE_APART = "judge:duel"  # of those in a duel, which count beside people's and nowhere else
ROLES = ("labeler", "lead")  # of an account, the lesser one first
ERASED = "[erased]"  # what stands where a text was erased
ERASED_PROMPT = '[{"role":"user","content":"[erased]"}]'  # and where a conversation was
SCOPES = ("read", "feedback", "lead")  # of a key: figures and answers, judging, all of it


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def digest(*parts: str, length: int = 64) -> str:
    """Return the first `length` hex digits of the SHA-256 over the parts, unambiguously joined.

    Raises:
        BadInput: a part holds half of a surrogate pair, which no UTF-8 text can.
    """
    joined = parts[0] if len(parts) == 1 else f"[{', '.join(map(json_string, parts))}]"
    try:
        encoded = joined.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"the text has a lone surrogate (\\u{ord(joined[error.start]):04x}) at character "
            f"{error.start}, which UTF-8 cannot store: remove it"
        ) from None
    return hashlib.sha256(encoded).hexdigest()[:length]


def named_uuid(namespace: UUID, name: str) -> str:
    """Return what `str(uuid5(namespace, name))` does, at a quarter of its cost.

    Source: RFC 9562, section 5.5: 128 bits of a SHA-1, six of which say version and variant.
    """
    said = hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(said[16], 16) % 4]
    return f"{said[:8]}-{said[8:12]}-5{said[13:16]}-{variant}{said[17:20]}-{said[20:32]}"


def canonical_messages(messages: Sequence[Message]) -> str:
    """Return the one JSON text that stands for a conversation: what is hashed and stored."""
    plain = (
        f'{{"role":{json_string(m["role"])},"content":{json_string(m["content"])}}}'
        for m in messages
    )
    return f"[{','.join(plain)}]"


@dataclass(frozen=True, slots=True)
class Text:
    id: str  # SHA-256 of the content
    content: str
    chars: int  # length of the content in characters (code points)

    @staticmethod
    def of(content: str) -> Text:
        return Text(digest(content), content, len(content))


@dataclass(frozen=True, slots=True)
class Prompt:
    id: str
    text: str  # Text.id of canonical_messages
    # id of the first of its near-duplicates (its own when it has none), for ever; "" where a big
    # import stored it: then a `Cluster` tells
    cluster: str
    source: str  # "starter", "import:<file name>", "screen", "api", "product"
    created_at: datetime = field(default_factory=now)

    @staticmethod
    def id_of(messages: Sequence[Message]) -> str:
        return "p_" + digest(canonical_messages(messages), length=20)


@dataclass(frozen=True, slots=True)
class Response:
    id: str
    prompt: str
    text: str  # Text.id of the answer alone
    model: str  # name or path as the user wrote it; "human" for an edit; "imported" if unknown
    adapter: str  # id of the run that made it, or ""
    settings: Mapping[str, Any]  # sampling settings, {} if unknown
    seed: int | None
    finished: bool | None  # stopped by itself; None if unknown
    source: str  # "generated", "import:<file name>", "edit", "product"
    created_at: datetime = field(default_factory=now)

    @staticmethod
    def id_of(
        prompt: str, text: str, model: str, adapter: str = "", seed: int | None = None
    ) -> str:
        return "r_" + digest(prompt, text, model, adapter, str(seed), length=20)


@dataclass(frozen=True, slots=True)
class Comparison:
    id: str
    prompt: str
    a: str  # Response.id
    b: str  # Response.id
    source: str  # "generated:<batch>", "import:<file name>", "duel:<run>:<against>", "product"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Campaign:
    id: str  # "default"
    name: str
    guideline: str  # Markdown
    overlap: int  # votes wanted per comparison
    created_at: datetime = field(default_factory=now)
    shared: float = 0.1  # share of the comparisons that one more labeler judges, or two
    repeats: float = 0.05  # share of a labeler's items that are silent repeats, sides swapped
    gold: float = 0.05  # share of a labeler's items whose right verdict is known
    mode: str = "both"  # "pairs", "thumbs", "both"; "rank3" or "rank4": so many at once
    state: str = "open"  # "open", "paused" or "finished"
    sources: tuple[str, ...] = ()  # how the source of its items begins; () any
    models: tuple[str, ...] = ()  # models or runs, one of which answered; () any
    since: datetime | None = None  # only what was made from then on
    labelers: tuple[str, ...] = ()  # who may label; () everybody
    trial: int = 0  # gold items that each labeler judges first; 0 for none
    trial_share: float = 0.8  # of them right, 0..1, to go on
    reasons: tuple[str, ...] = ()  # offered with a verdict; () the usual ones
    strengths: tuple[str, ...] = ()  # how clear a choice was, the weakest first; () not asked
    aspects: tuple[str, ...] = ()  # on each of which one answer may be better; () not asked


@dataclass(frozen=True, slots=True)
class Labeler:
    id: str  # the name as it was given, trimmed
    kind: str  # "person", "simulated", "import", "judge"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Assignment:
    id: str
    campaign: str
    labeler: str
    comparison: str  # Comparison.id, or "" where one response is rated
    response: str  # Response.id, or ""
    left: str  # "a" or "b": which response stands on the left; "" where nobody recorded it
    kind: str  # "plain", "repeat" (the same labeler once more), "gold"
    source: str  # "screen", "import:<file name>", "simulated", "api", "judge", "judge:duel"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Vote:
    id: str
    assignment: str
    revision: int  # 0 for the first; a change or an undo is the next; the highest counts
    comparison: str
    labeler: str
    verdict: str  # one of VERDICTS, in the comparison's own terms
    reasons: tuple[str, ...] = ()
    comment: str = ""  # Text.id, or ""
    seconds_spent: float | None = None
    source: str = "screen"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Rating:
    id: str
    assignment: str  # its own id, where nobody was given something to rate: from a product
    revision: int
    response: str
    labeler: str
    verdict: str  # one of THUMBS
    reasons: tuple[str, ...] = ()
    comment: str = ""
    seconds_spent: float | None = None
    source: str = "screen"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Edit:
    id: str
    assignment: str
    revision: int
    original: str  # Response.id that was corrected
    corrected: str  # Response.id of the correction (model "human"); "" takes the edit back
    labeler: str
    seconds_spent: float | None = None
    source: str = "screen"
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A decision about a flagged duplicate: the item repeats the earlier one."""

    id: str
    kind: str  # "prompt" or "response"
    item: str  # Prompt.id, or Comparison.id whose two responses are nearly the same
    earlier: str  # Prompt.id or Response.id it repeats
    decision: str  # "skip": not labeled, not trained; "link": a known repeat; "keep": not a repeat
    labeler: str
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A decision about what stays out of snapshots; nothing is deleted, the newest counts."""

    id: str
    kind: str  # "labeler", "source", "prompt", "comparison", "response" or "vote"
    item: str  # its id; of a source its name
    decision: str  # "exclude" or "include"
    reason: str
    labeler: str  # who decided
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Gold:
    """The known verdict on a comparison, to measure labelers with; the newest counts."""

    id: str
    comparison: str
    verdict: str  # "a", "b", "tie" or "both_bad"; "" takes it back
    labeler: str  # who says so
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A lead's decision on a comparison, which stands for its votes; the newest counts."""

    id: str
    comparison: str
    verdict: str  # "a", "b", "tie" or "both_bad"; "" takes it back
    reason: str
    labeler: str  # who decided
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Admission:
    """A lead's decision about who did not pass a campaign's trial; the newest counts."""

    id: str
    campaign: str
    person: str  # Labeler.id
    decision: str  # "in": labels all the same; "": the trial decides
    labeler: str  # who decided
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Remark:
    """What a labeler added to a vote after it: how clear it was, and what decided it."""

    id: str
    vote: str  # Vote.id
    strength: str  # one of the campaign's `strengths`, or ""
    aspects: Mapping[str, Any]  # of the campaign's `aspects` -> "left", "right" or "same", as seen
    labeler: str
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A comparison that is asked again: it goes back to the queue until it has so many votes."""

    id: str
    comparison: str
    votes: int  # wanted in all, those that are there among them; the highest counts
    labeler: str  # who asks
    created_at: datetime = field(default_factory=now)

    @staticmethod
    def id_of(comparison: str, votes: int) -> str:
        return "w_" + digest(comparison, str(votes), length=20)


@dataclass(frozen=True, slots=True)
class Score:
    """The log-probability of a response under a model; written by `align`, read by the checks."""

    id: str
    response: str
    model: str  # the base's name, as in Response.model
    adapter: str  # id of the run, or ""
    logprob: float  # sum over the response's tokens, in nats
    tokens: int
    created_at: datetime = field(default_factory=now)

    @staticmethod
    def id_of(response: str, model: str, adapter: str = "") -> str:
        return "c_" + digest(response, model, adapter, length=20)


@dataclass(frozen=True, slots=True)
class Snapshot:
    id: str
    digest: str  # SHA-256 over the manifest's file hashes
    pairs: int
    labels: int
    settings: Mapping[str, Any]
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    snapshot: str
    method: str
    model: str
    settings: Mapping[str, Any]
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Promotion:
    """The decision that a run's adapter answers from now on; the newest counts. A round begins."""

    id: str
    run: str  # Run.id, or "" for the base itself
    evidence: Mapping[str, Any]  # what was known of the run when it was decided
    reason: str
    labeler: str  # who decided
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may come in. Ending it is an update; its votes stay."""

    id: str  # the name, which is the labeler's name, too
    role: str  # one of ROLES
    password: str  # Argon2's encoded hash: parameters, salt, hash
    created_at: datetime = field(default_factory=now)
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that logged in. The token itself is in its cookie alone."""

    id: str  # SHA-256 of the token
    account: str
    ends_at: datetime  # moves on with use; ending it sets it to now
    seen_at: datetime  # to within an hour
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link by which one person makes an account, once."""

    id: str  # SHA-256 of the token in the link
    account: str  # the name that it is for
    role: str
    labeler: str  # who invites
    ends_at: datetime
    used_at: datetime | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a program comes in with; it votes under its own name."""

    id: str  # SHA-256 of the key
    name: str
    scopes: tuple[str, ...]  # of SCOPES
    labeler: str  # who made it
    ended_at: datetime | None = None
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Logged:
    """A response that a product showed to somebody, by the id that the product has for it."""

    id: str  # as the product gave it
    response: str  # Response.id
    labeler: str  # whom it was shown to, pseudonymous: see `feedback.product.pseudonyms`
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Audit:
    """A lead's change that leaves no row of its own that says who: accounts, keys, exports."""

    id: str
    labeler: str  # who did it
    did: str  # "export", "add account", …
    what: str  # on what, in words
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase somebody's words or name that was carried out. Says not whose."""

    id: str
    kind: str  # "labeler", "prompt" or "text": by what it was found
    texts: int  # how many were blanked
    events: int  # how many were given a pseudonym
    labeler: str  # who did it
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Erased:
    """A text whose content was replaced by `ERASED` or `ERASED_PROMPT`, for good."""

    id: str  # Text.id
    erasure: str
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An event in which a pseudonym took a name's place: what its digest is since then."""

    id: str  # of the event
    digest: str
    erasure: str


@dataclass(frozen=True, slots=True)
class Extra:
    """What an imported row said beyond what Hone reads."""

    id: str  # of the vote or rating that it became
    text: str  # Text.id of one JSON object
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The near-duplicate cluster of a prompt that was stored without one; for ever, too."""

    id: str  # Prompt.id
    cluster: str  # as `Prompt.cluster`
    created_at: datetime = field(default_factory=now)


Event = Vote | Rating | Edit
Record = (
    Text
    | Prompt
    | Response
    | Comparison
    | Campaign
    | Labeler
    | Assignment
    | Duplicate
    | Exclusion
    | Gold
    | Adjudication
    | Admission
    | Remark
    | Wanted
    | Score
    | Snapshot
    | Run
    | Promotion
    | Account
    | Session
    | Invitation
    | ApiKey
    | Logged
    | Audit
    | Erasure
    | Erased
    | Rewritten
    | Extra
    | Cluster
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an event, the same for ever for the same id."""

    id: str
    repeated: bool  # this id had been answered before

"""What each role may ask for (pure): one table of methods and paths.

Whole paths, not beginnings: what no line names is a lead's, also the same path with another method,
which would fall through to Gradio. Tests walk every route and every event of the app against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feedback.accounts import Person

OPEN, LABELER, LEAD, COMMANDS = "open", "labeler", "lead", "commands"
LOG_IN, LOG_OUT, INVITE, LABEL, RATE = "/login", "/logout", "/invite/", "/label", "/rate"
GET, POST, BOTH = ("GET",), ("POST",), ("GET", "POST")
READ, FEEDBACK = "read", "feedback"


@dataclass(frozen=True)
class Rule:
    """Who may use these paths, and with which scope a key may."""

    role: str
    methods: tuple[str, ...]
    paths: re.Pattern[str]
    scope: str = ""  # none: not with a key
    own: bool = False  # a page of our own, which runs no inline script


def _rule(
    role: str, methods: tuple[str, ...], paths: str, scope: str = "", own: bool = False
) -> Rule:
    return Rule(role, methods, re.compile(paths), scope, own)


RULES: tuple[Rule, ...] = (
    _rule(OPEN, BOTH, LOG_IN, own=True),
    _rule(OPEN, POST, LOG_OUT, own=True),
    _rule(OPEN, BOTH, rf"{INVITE}[A-Za-z0-9_-]{{1,100}}", own=True),
    _rule(OPEN, GET, r"/api/v1/health", FEEDBACK),
    _rule(OPEN, GET, r"/static/hone/[A-Za-z-]+\.(?:js|json|css|woff2)"),
    _rule(LABELER, GET, rf"(?:{LABEL}|{RATE})", own=True),
    _rule(LABELER, BOTH, r"/api/v1/labeler", FEEDBACK),
    _rule(LABELER, GET, r"/api/v1/(?:items|history|guideline|campaigns)", FEEDBACK),
    _rule(LABELER, GET, r"/api/v1/items/[^/]+/text", FEEDBACK),
    _rule(LABELER, POST, r"/api/v1/(?:votes|ratings|rankings|edits|remarks)", FEEDBACK),
    _rule(LEAD, POST, r"/api/v1/(?:responses|feedback|comparisons|corrections)", FEEDBACK),
    _rule(LEAD, GET, r"/api/v1/export", READ),
    _rule(COMMANDS, POST, r"/api/v1/commands/[^/]+"),
    _rule(LEAD, GET, r"/api/v1/(?:meters|news|tables/[^/]+)", READ),
    _rule(LEAD, GET, r"/api/openapi\.json", READ),
    _rule(LEAD, GET, r"/v1/models", READ),
    _rule(LEAD, POST, r"/v1/chat/completions", READ),
)
REST = _rule(LEAD, (), r".*")


@lru_cache(maxsize=256)  # Choice: more than a labeler and a product ask for; 16 MB at the worst
def rule_of(method: str, path: str) -> Rule:
    """Return the rule for a request; what none names is a lead's.

    Example:
        >>> [rule_of(*one).role for one in (("GET", "/login"), ("PUT", "/login"), ("GET", "/"))]
        ['open', 'lead', 'lead']
        >>> rule_of("GET", "/static/hone/../../config").role
        'lead'
    """
    fits = (one for one in RULES if method in one.methods and one.paths.fullmatch(path))
    return next(fits, REST)


def may(person: Person, rule: Rule) -> bool:
    """Say whether somebody may use what a rule is for."""
    if person.scopes is not None:
        return bool(rule.scope) and (rule.scope in person.scopes or LEAD in person.scopes)
    return rule.role in (LABELER, OPEN) or (rule.role == LEAD and person.role == LEAD)

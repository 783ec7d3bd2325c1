"""What labelers read, in their language: one table of texts per language, in `screens/words`.

The label and rate screens read the same tables (words.js), so a text stands in one place. No text
holds markup. Which language it is: the one chosen before, else the browser's, else English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

TABLES = Path(__file__).with_name("screens") / "words"
LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "zh": "中文", "ja": "日本語"}
COOKIE = "hone_language"  # set by the page's switch as well: see words.js
COOKIE_SECONDS = 365 * 24 * 3600  # Choice: a year, as long as a name is remembered
ENGLISH = "en"


@cache
def table(language: str) -> Mapping[str, str | dict[str, str]]:
    """Return key → text, or the forms of a text by plural category (CLDR's "one", "other")."""
    found: dict[str, str | dict[str, str]] = json.loads((TABLES / f"{language}.json").read_bytes())
    return found


def say(language: str, key: str, **values: object) -> str:
    """Return a text without plural forms, its {places} filled.

    Example:
        >>> say("de", "door.wait", seconds=4)
        'Zu viele falsche Passwörter: Versuch es in 4 s wieder.'
    """
    text = table(language)[key]
    assert isinstance(text, str), f"{key} has plural forms, which only the page chooses from"
    return text.format(**values) if values else text


def language_of(chosen: str, browsers: str) -> str:
    """Return the language to use.

    Args:
        chosen: What somebody chose, if anything.
        browsers: The browser's Accept-Language.

    Example:
        >>> language_of("", "fr-CH, es-MX;q=0.7, de;q=0.8"), language_of("ja", "de")
        ('de', 'ja')
        >>> language_of("../x", "en;q=0, *;q=x, zh-Hant-TW"), language_of("", "")
        ('zh', 'en')
    """
    if chosen in LANGUAGES:
        return chosen
    wanted = [_weighed(one) for one in browsers[:500].split(",")]
    known = [(weight, name) for weight, name in wanted if name in LANGUAGES and weight > 0]
    return max(known, key=lambda one: one[0])[1] if known else ENGLISH


def _weighed(asked: str) -> tuple[float, str]:
    """Return one part of an Accept-Language as its weight and its language without a region."""
    name, _, weight = asked.partition(";")
    try:
        return float(weight.partition("=")[2] or 1), name.strip().lower().partition("-")[0]
    except ValueError:
        return 0.0, ""


def guideline(language: str) -> str | None:
    """Return the default guideline (Markdown) in another language than English, or None."""
    file = TABLES / f"guideline-{language}.md"
    return file.read_text("utf-8") if language in LANGUAGES and language != ENGLISH else None

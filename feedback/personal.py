"""Personal data in a text: mail addresses, phone and card numbers, addresses of computers. Pure.

What is reserved for examples (example.com, 192.0.2.1, 555-0123) is nobody's and does not count.
Names, postal addresses and what a sentence tells about somebody are not found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

KINDS = ("mail", "phone", "card", "address")
WORDS = {
    "mail": "mail addresses",
    "phone": "phone numbers",
    "card": "card numbers",
    "address": "internet addresses of computers",
}

# What a number needs to be one of those below; quick to see, and most texts have none.
_SEVEN_DIGITS = re.compile(r"\d(?:[ ().-]{0,2}\d){6}")
_THREE_DOTS = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")

_MAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@((?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24})(?![\w-])"
)
# Source: RFC 2606 and RFC 6761, names that belong to nobody.
_NOBODY = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.I)
# International numbers have 8 to 15 digits (ITU-T E.164); North American ones stand in groups.
_PHONE = re.compile(
    r"(?<![\w+.])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)"
    r"|(?<![\w.(+-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[.-]\d{4}(?![\w-])"
)
_FICTION = re.compile(r"55501\d\d$")  # Source: NANPA keeps 555-0100 to 555-0199 for fiction
_CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-])")
# Source: the first digits that the schemes use (ISO/IEC 7812): Visa, Mastercard, American Express,
# Discover.
_ISSUER = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}"
)
_DOTTED = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_COLONS = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:.])")
# Choice: public name servers that every guide names.
_EVERYBODY = {"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"}
_VERSION = re.compile(r"(?:version|release|firmware|v\.?)\s{0,2}$", re.IGNORECASE)


def personal_kinds(text: str) -> dict[str, int]:
    """Return how many of each kind of personal data a text has: KINDS → number.

    Example:
        >>> personal_kinds("Write to ada@lovelace.org or call +44 20 7946 0958.")
        {'mail': 1, 'phone': 1, 'card': 0, 'address': 0}
    """
    long = _SEVEN_DIGITS.search(text) is not None
    return {
        "mail": _mails(text) if "@" in text else 0,
        "phone": _phones(text) if long else 0,
        "card": sum(is_card(found) for found in _CARD.findall(text)) if long else 0,
        "address": _addresses(text),
    }


class PersonalData:
    """How many of the different texts that pass by hold personal data, and of which kind."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._texts = dict.fromkeys(("texts", *KINDS), 0)

    def look_at(self, text: str) -> None:
        """Count a text that was not there before; two of a million are taken for one never."""
        key = hash(text)
        if key in self._seen:
            return
        self._seen.add(key)
        held = [kind for kind, n in personal_kinds(text).items() if n]
        for name in ["texts", *held] if held else []:
            self._texts[name] += 1

    def as_json(self) -> dict[str, int]:
        """Return the number of texts with any ("texts"), and with each of `KINDS`."""
        return dict(self._texts)


def told(found: Mapping[str, int]) -> str:
    """Return what `PersonalData` found as a sentence; "" where it found nothing.

    Example:
        >>> told({"texts": 3, "mail": 2, "phone": 1, "card": 0, "address": 0})
        '3 different texts hold personal data: mail addresses (2), phone numbers (1).'
    """
    if not found["texts"]:
        return ""
    kinds = ", ".join(f"{WORDS[kind]} ({found[kind]:,})" for kind in KINDS if found[kind])
    several = "different texts hold" if found["texts"] > 1 else "text holds"
    return f"{found['texts']:,} {several} personal data: {kinds}."


def is_card(number: str) -> bool:
    """Say whether digits are a payment card's: a known issuer, and the check digit is right.

    Source: Luhn, US patent 2,950,048 (1960): from the right, every second digit is doubled, the
    digits of all are added; the sum is a multiple of ten.

    Example:
        >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
        (True, False)
    """
    digits = [int(sign) for sign in number if sign.isdecimal()]
    if not _ISSUER.fullmatch("".join(map(str, digits))):
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mails(text: str) -> int:
    return sum(not _NOBODY.search(host) for host in _MAIL.findall(text))


def _phones(text: str) -> int:
    found = (re.sub(r"\D", "", number) for number in _PHONE.findall(text))
    return sum(not _FICTION.search(digits) for digits in found)


def _addresses(text: str) -> int:
    found = 0
    dotted = [_DOTTED] if _THREE_DOTS.search(text) else []
    colons = [_COLONS] if "::" in text or text.count(":") >= 7 else []
    for pattern in (*dotted, *colons):
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 12) : match.start()]
            found += _is_public(match.group()) and not _VERSION.search(before)
    return found


def _is_public(address: str) -> bool:
    """Say whether this is the address of a computer that others can reach."""
    try:
        return ip_address(address).is_global and address not in _EVERYBODY
    except ValueError:  # it only looks like one, such as 12:30:45
        return False

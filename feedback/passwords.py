"""Passwords: what one must be, and how it is kept: Argon2id, with the library's parameters.

Source: RFC 9106, the second recommended option (64 MiB, 3 passes), which is argon2-cffi's default.
"""

from __future__ import annotations

import threading
import unicodedata

from storage.errors import BadInput

MIN_CHARS = 10  # Choice: with the pauses of `throttle`, beyond guessing for all but the commonest
MAX_CHARS = 200  # Choice: longer than any passphrase; keeps hashing from being fed megabytes
AT_ONCE = 2  # Choice: hashes computed at the same time, 64 MiB each; others wait


class Hasher:
    """Makes and checks password hashes, a few at a time."""

    def __init__(self) -> None:
        from argon2 import PasswordHasher  # here: a vote after a restart needs none

        self._argon2 = PasswordHasher()
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = self.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """Return the encoded hash of a password, with a salt of its own."""
        with self._free:
            return self._argon2.hash(_normal(password))

    def fits(self, kept: str | None, password: str) -> bool:
        """Say whether a password is the one that was kept; with None it takes as long, and is not.

        Raises:
            argon2.exceptions.InvalidHashError: what was kept is no hash.
        """
        from argon2.exceptions import VerificationError

        given = _normal(password) if len(password) <= 8 * MAX_CHARS else ""
        with self._free:
            try:
                self._argon2.verify(kept or self._nobody, given)
            except VerificationError:
                return False
        return kept is not None


def check_password(password: str, name: str) -> str:
    """Return a new password, if it may be one.

    Raises:
        BadInput: too short, too long, or the person's own name; never says the password.

    Source: NIST SP 800-63B: length counts; no rules on which characters.
    """
    chars = len(_normal(password))
    if not MIN_CHARS <= chars <= MAX_CHARS:
        said = f"The password has {chars} characters: use {MIN_CHARS} to {MAX_CHARS}."
        raise BadInput(said, code="length", chars=chars, least=MIN_CHARS, most=MAX_CHARS)
    if _normal(password).casefold() == name.casefold() or len(set(password)) < 4:
        said = "The password is too easy to guess: use several words, or a longer mix."
        raise BadInput(said, code="easy")
    return password


def _normal(password: str) -> str:
    """Return one form of a password, however a keyboard composes its accents."""
    return unicodedata.normalize("NFC", password)

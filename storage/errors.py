"""What a user can do about it: the one tree of errors that Hone shows as a sentence.

    UserError              a person can mend it: one clear line, exit code 2, HTTP 4xx
    ├── BadInput           a value, a row or a file is not what it has to be          422
    ├── NotFound           a name or an id that is not there                          404
    ├── Conflict           it was done already, by you or by someone else             409
    ├── Busy               not now: the device trains, another run is going           409
    ├── Unsupported        a model, a setting or a machine that this cannot be done with  422
    ├── NotAllowed         a person or a key that may not do this                     403
    ├── WrongPassword      a name and a password that do not fit together             401
    ├── TooMany            too many wrong passwords: wait                             429
    ├── Overloaded         more waits than is stored in a moment: send it again       503
    └── StoreError         the data folder cannot be used as it is                    503
        ├── Locked         another process has the data folder
        ├── DiskFull       no room to write; nothing that was acknowledged is lost    507
        └── Damaged        the database file cannot be read

Every message names the value and the remedy. The edges (command line, REST, screens) turn a
`UserError` into words, each in one place; anything else is a bug and shows its traceback in the
log.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; `str(error)` is the whole sentence to show.

    A `code` names what went wrong for a labeler's page, which has words of its own for it in the
    labeler's language (`error.CODE` or `door.CODE` in screens/words); `values` fill their places.
    """

    status = 400
    retry_after: int | None = None  # seconds until it is worth trying again, where that is known
    code = ""

    def __init__(self, said: str = "", *, code: str = "", **values: object) -> None:
        super().__init__(said)
        self.code = code or self.code
        self.values = values


class BadInput(UserError):
    status = 422


class NotFound(UserError):
    status = 404
    code = "not_found"


class Conflict(UserError):
    status = 409
    code = "conflict"


class Busy(UserError):
    status = 409


class Unsupported(UserError):
    status = 422


class NotAllowed(UserError):
    status = 403


class WrongPassword(UserError):
    status = 401


class TooMany(UserError):
    status = 429


class Overloaded(UserError):
    status = 503
    retry_after = 2  # Choice: what waits at most is stored by then


class StoreError(UserError):
    status = 503
    retry_after = 5  # Choice: a server that restarts is back by then
    code = "store"


class Locked(StoreError):
    pass


class DiskFull(StoreError):
    status = 507
    code = "disk_full"


class Damaged(StoreError):
    pass

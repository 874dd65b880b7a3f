"""The errors of the ledger: who can act on what.

Three kinds, never mixed. A `Refusal` is a value: bad input with its place. A `LedgerError` is an exception from this one
tree: something that a person asked for cannot be done. A bug is an assertion. This module refuses to know any other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an input was not taken: a stable code, what is wrong, what to do next, and where it stood."""

    code: str
    reason: str
    hint: str = ""
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.reason} [{self.code}]{hint}"


class LedgerError(Exception):
    """What, why, and what next; `code` is stable across CLI, files and dead letters."""

    code = "ledger_error"
    exit_code = 1

    def __init__(self, what: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.what} [{self.code}]" + (f"\n  {self.hint}" if self.hint else "")


class Refused(LedgerError):
    """An input was refused; carries the refusal."""

    code = "refused"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason, hint=refusal.hint, code=refusal.code)
        self.refusal = refusal


class NotFound(LedgerError):
    """A partner, event, override or rulebook that was named does not exist at the moment asked."""

    code = "not_found"
    exit_code = 3


class MomentError(LedgerError):
    """A moment that cannot be served exactly; never answered by the nearest one."""

    code = "moment_not_served"
    exit_code = 4


class RulebookError(LedgerError):
    """A rulebook cannot be used: it does not parse, does not lint, or cannot judge a fact."""

    code = "rulebook_error"
    exit_code = 5


class Unpriced(RulebookError):
    """A fact that no row of a table covers: the standing is an error that names the event."""

    code = "unpriced_event"


class LogError(LedgerError):
    """The log cannot be read or written: another schema, a locked or damaged file."""

    code = "log_error"
    exit_code = 6


class Parked(LedgerError):
    """A partner whose next event cannot be applied; its answers say so and the others go on."""

    code = "partner_parked"
    exit_code = 7

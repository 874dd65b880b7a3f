"""The rows of a view at a moment, one after the other; none of them is held.

As known at a position, each row is true of every instant from its `since` to its `until`. The rows answer up to an instant only for what
was known then of a partner (see `clocks`): nothing is told beyond it, and of who is asked about a later one the rows are made from the
events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from typing import Any

from ledger.errors import MomentError
from ledger.instants import BEGINNING, FOREVER, Instant, text
from ledger.projections.clocks import Content
from ledger.projections.reader import Reader, Row
from ledger.projections.store import CLOCKED
from ledger.projections.views import View, quoted

_ANSWERS = (
    "SELECT partner, (SELECT known.until FROM known WHERE known.partner = r.partner AND known.position <= {} "
    "ORDER BY known.position DESC LIMIT 1) FROM partners AS r"
)


@dataclass(frozen=True, slots=True)
class Extract:
    """`as_of`: the rows that hold then; None: all. `known_at`: those that were known at a position; None: as the view has them."""

    view: View
    as_of: Instant | None = None
    known_at: int | None = None
    partner: str | None = None

    def count(self, reader: Reader) -> int:
        """How many rows there are, before what was known at a position is cut to what it answers for."""
        ((count,),) = reader.select(f"SELECT COUNT(*) FROM ({self._statement(reader)}) AS found")[1]
        return int(count)

    def rows(self, reader: Reader, content: Callable[[str], Content]) -> Iterator[Row]:
        """In the order of what tells them apart, with instants as whole numbers. `content` makes a partner's rows at the position.

        Raises MomentError where the rows of a view in both clocks do not answer: what is made has no clock of knowledge.
        """
        statement = f"{self._statement(reader)} ORDER BY {self.view.order}"
        if self.known_at is None:
            return reader.select(statement)[1]
        answers: dict[str, Instant | None] = dict(reader.select(_ANSWERS.format(self.known_at) + self._whose(" WHERE "))[1])
        at = BEGINNING - 1 if self.as_of is None else self.as_of
        others = sorted(partner for partner, until in answers.items() if until is not None and until <= at)
        if others and "known_from" in self._places:
            raise self._unanswered(others)
        made = (row for partner in others for row in self._made(partner, content(partner)))
        left_out = frozenset(others)
        kept = self._kept((row for row in reader.select(statement)[1] if row[0] not in left_out), answers)
        return merge(kept, made, key=itemgetter(0))

    def _statement(self, reader: Reader) -> str:
        view, found = self.view, []
        if self.known_at is not None:
            found.append(f"r.known_from <= {self.known_at:d} AND r.known_until > {self.known_at:d}")
        elif view.where:
            found.append(view.where)
        if self.as_of is not None:
            since, until = (next(column.of for column in view.columns if column.name == name) for name in ("since", "until"))
            found.append(f"{since} <= {self.as_of:d} AND {until} > {self.as_of:d}")
        if self.partner is not None:
            found.append(self._whose())
        return view.where_else(" AND ".join(found), postgres=reader.postgres)

    def _whose(self, before: str = "") -> str:
        return "" if self.partner is None else f"{before}r.partner = {quoted(self.partner)}"

    @property
    def _places(self) -> dict[str, int]:
        return {column.name: i for i, column in enumerate(self.view.columns)}

    def _kept(self, rows: Iterator[Row], answers: Mapping[str, Instant | None]) -> Iterator[Row]:
        """Cut at the instant up to which they answer; by what a row ends there was not kept."""
        places = self._places
        since, until, ended_by = places["since"], places["until"], places.get("ended_by")
        for row in rows:
            end = answers.get(row[0]) or FOREVER
            if row[until] < end or end == FOREVER:
                yield row
            elif row[since] < end:
                cut: list[Any] = list(row)
                cut[until] = end
                if ended_by is not None:
                    cut[ended_by] = None
                yield tuple(cut)

    def _made(self, partner: str, content: Content) -> Iterator[Row]:
        names = CLOCKED[self.view.table].columns.keys()
        at = self.as_of
        assert at is not None
        for identity, (until, payload) in sorted(content.get(self.view.table, {}).items()):
            if identity[-1] <= at < until:
                cells = dict(zip(names, (partner, *identity, until, *payload), strict=False))
                yield tuple(cells[column.of.removeprefix("r.")] for column in self.view.columns)

    def _unanswered(self, partners: list[str]) -> MomentError:
        named = ", ".join(partners[:3]) + (f" and {len(partners) - 3} more" if len(partners) > 3 else "")
        assert self.as_of is not None
        what = f"{self.view.name} does not answer for {text(self.as_of)} as known at position {self.known_at} of {named}"
        return MomentError(what, hint=f"{self.view.name.removesuffix('_known')} does, without the clock of knowledge")

"""What the rows say of an instant, as known at a position, is what the engine says: over random histories, commits and rulebooks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.errors import LedgerError, NotFound
from ledger.events.envelope import Sealed, event
from ledger.history import History
from ledger.instants import BEGINNING, DAY, FOREVER, Instant, day_text
from ledger.intake import Intake
from ledger.log import Log
from ledger.projections.achievements import scored_by
from ledger.projections.questions import Moment, Questions
from ledger.projections.rows import Heads, Partner, advanced, content_of, summed
from ledger.projections.store import Store
from ledger.rules.breakdown import point_measures
from ledger.rules.library import Library
from ledger.rules.life import Life
from tests.laws.histories import PARTNER, examples, told
from tests.laws.programmes import HISTORIES

ALL = Library()
class Recorded:
    """A history with a rulebook in between, in commits of some events each."""

    def __init__(self, name: str, history: Sequence[Sealed], dice: Random) -> None:
        self.name = name
        self.heads = Heads() if dice.random() < 0.7 else None
        self.events = [sealed._replace(position=2 * sealed.position) for sealed in history]
        self.last = self.events[-1].position + 1
        inner = [position for position in range(1, self.last) if dice.random() < 0.7]
        self.ends = sorted({*inner, self.last})
        self.library = Library(self._published(name, dice), [book for book in ALL.books() if book.programme == name])

    def _published(self, name: str, dice: Random) -> list[Sealed]:
        """One of the programme's books again, as if another were published later: it asks less, or is withdrawn at once."""
        books = [book for book in ALL.books() if book.programme == name]
        book = dice.choice(books)
        text = book.text.replace("sourced >= 63", "sourced >= 1").replace("total >= 129.15", "total >= 1") + "\n# again\n"
        at = dice.randrange(len(self.events)) * 2 + 1
        published = event(
            "rulebook.published.v1", effective_at="2020-01-01", id="book", source="test", book=book.name, programme=name,
            effective=day_text(book.effective), hash=sha256(text.encode()).hexdigest(), text=text, author="test",
        )  # fmt: skip
        found = [Sealed(at, f"programme/{name}", 1, 0, b"", b"", published)]
        if dice.random() < 0.5 and at + 2 < self.last:
            back = event(
                "event.reversed.v1", effective_at="2020-01-02", id="back", source="test", reverses={"source": "test", "id": "book"},
                reason="a mistake", author="test",
            )  # fmt: skip
            found.append(Sealed(at + 2, f"programme/{name}", 2, 0, b"", b"", back))
        return found

    def end(self, position: int) -> int:
        return self.ends[bisect_left(self.ends, position)]

    def until(self, position: int) -> list[Sealed]:
        return [sealed for sealed in self.events if sealed.position <= position]

    def life(self, known_at: int) -> Life:
        return Life(self.until(known_at), self.library.force(self.name, known_at))

    def apply(self, store: Store, stops: Sequence[int]) -> None:
        """Commit by commit, or several at once."""
        for stop in stops:
            events = self.until(stop)
            with store.writing() as connection:
                before: Partner | None = store.states(connection, [PARTNER]).get(PARTNER)
                if events and (before is None or before.known < stop):
                    rows = store.rows(connection, [PARTNER])[PARTNER]
                    made = (PARTNER, *advanced(events, self.library, self.end, stop, before, rows, self.heads))
                    (store.change if before is not None else store.write)(connection, [made])


def recorded(name: str, history: Sequence[Sealed], dice: Random) -> tuple[Recorded, Store]:
    known, store = Recorded(name, history, dice), Store(":memory:")
    known.apply(store, [end for end in known.ends if dice.random() < 0.6 or end == known.last])
    return known, store


def law(n: int) -> Any:
    """Over `n` histories of each programme."""

    def made(holds: Any) -> Any:
        @pytest.mark.parametrize("name", list(HISTORIES))
        def test(name: str) -> None:
            @examples(n)
            @given(HISTORIES[name], st.randoms(use_true_random=False))
            def over(history: list[Sealed], dice: Random) -> None:
                if history:
                    holds(name, history, dice)

            over()

        return test

    return made


@law(12)
def test_brought_forward_or_made_anew_the_rows_are_the_same(name: str, history: list[Sealed], dice: Random) -> None:
    known, store = recorded(name, history, dice)
    anew = Store(":memory:")
    with anew.writing() as connection:
        anew.write(connection, [(PARTNER, *advanced(known.events, known.library, known.end, known.last))])
    ours, theirs = store.dump(), anew.dump()
    for table in theirs:
        assert ours[table] == theirs[table], (table, told(history))
    _do_not_overlap(ours["levels"], 3)
    _do_not_overlap(ours["scores"], 2)


def _do_not_overlap(rows: Sequence[tuple[Any, ...]], since: int) -> None:
    """Of what is told apart by its names alone, one row holds at an instant as known at a position."""
    for i, row in enumerate(rows):
        for other in rows[:i]:
            if row[:since] == other[:since]:
                in_time = max(row[since], other[since]) < min(row[since + 1], other[since + 1])
                assert not (in_time and max(row[-2], other[-2]) < min(row[-1], other[-1])), (row, other)


@law(20)
def test_rows_say_what_the_engine_says_at_any_two_dates(name: str, history: list[Sealed], dice: Random) -> None:
    known, store = recorded(name, history, dice)
    edges = sorted({sealed.event.effective_at for sealed in known.events} | {row[3] for row in store.dump()["levels"]} - {BEGINNING})
    first = known.end(known.events[0].position)
    for _ in range(12):
        known_at = dice.choice([end for end in known.ends if end >= first])
        at = dice.choice(edges) + dice.choice((-1, 0, 0, 1, 20 * DAY, 365 * DAY, 700 * DAY))
        life = known.life(known_at)
        unanswered = store.unanswered(at, known_at)
        horizon = max(sealed.event.effective_at for sealed in known.until(known_at))
        if at < horizon or known_at == known.last:
            assert not unanswered, "the rows answer for every instant before the latest that was known"
        if not unanswered:
            _agree(name, store, life, at, known_at, told(history))
        if known_at == known.last:
            _agree(name, store, life, at, None, told(history))


def _agree(name: str, store: Store, life: Life, at: Instant, known_at: int | None, said: str) -> None:
    where = at, known_at, said
    for own in life.ladders():
        try:
            tiers = own.tier(at), own.credited_tier(at)
        except LedgerError:
            assert PARTNER not in store.levels_at(name, at, own.award, known_at), where
            return
        assert store.levels_at(name, at, own.award, known_at).get(PARTNER, (None, None)) == tiers, where
    values, book = life.values(at), life.book(at)
    points = store.points_at(name, at, known_at).get(PARTNER, {})
    for measure in point_measures(book):
        assert points.get(measure.name, 0) == values[measure.name], (measure.name, *where)
    by = scored_by(book)
    if by is not None and (sums := summed(book)) is not None:
        assert sum((points.get(measure, Fraction(0)) for measure in sums), Fraction(0)) == values[by], where
    elif by is not None and at >= life.first:
        assert store.scores_at(name, at, known_at).get(PARTNER, (by, values[by])) == (by, values[by]), where


@law(20)
def test_restatements_are_where_two_commits_differ(name: str, history: list[Sealed], dice: Random) -> None:
    """Of an instant that was past: one commit says another tier than the one before it, and exactly then it is told."""
    known, store = recorded(name, history, dice)
    commits = sorted((row[1], row[3]) for row in store.dump()["known"])
    restated = store.restated(0, known.last)
    assert all(each.since < each.until for each in restated)
    edges = [sealed.event.effective_at for sealed in known.events] + [each.since for each in restated]
    for (before, answers_until), (after, _) in dice.sample(pairs := list(pairwise(commits)), min(4, len(pairs))):
        past = [at for at in [dice.choice(edges) + dice.choice((-1, 0, DAY)) for _ in range(6)] if at < answers_until]
        earlier, later = known.life(before), known.life(after)
        for at in past:
            told_of = {(each.award, each.performance_before, each.performance_after, each.credited_before, each.credited_after)
                       for each in restated if each.position == after and each.since <= at < each.until}  # fmt: skip
            differ = set()
            for own in earlier.ladders():
                other = later.of(own.award)
                tiers = own.tier(at), other.tier(at), own.credited_tier(at), other.credited_tier(at)
                if tiers[0] != tiers[1] or tiers[2] != tiers[3]:
                    differ.add((own.award, *tiers))
            assert told_of == differ, (at, before, after, told(history))


@law(8)
def test_what_was_known_stays_known(name: str, history: list[Sealed], dice: Random) -> None:
    """Later commits change no answer that the rows gave before; they may leave it to the engine."""
    known, store = Recorded(name, history, dice), Store(":memory:")
    asked: list[tuple[Instant, int]] = []
    answers: list[tuple[Any, Any]] = []
    edges = [sealed.event.effective_at for sealed in known.events]
    for stop in sorted(dice.sample(known.ends, min(5, len(known.ends)))):
        known.apply(store, [stop])
        for place, answer in zip(asked, answers, strict=True):
            if not store.unanswered(*place):
                assert _said(name, store, *place) == answer, (place, stop, told(history))
        if known.until(stop):
            place = dice.choice(edges) + dice.choice((-1, 0, 30 * DAY)), stop
            if not store.unanswered(*place):
                asked.append(place)
                answers.append(_said(name, store, *place))


def _said(name: str, store: Store, at: Instant, known_at: int) -> tuple[Any, Any]:
    awards = {"", *(award for book in ALL.books() if book.programme == name for award in book.awards)}
    levels = {award: store.levels_at(name, at, award, known_at).get(PARTNER, (None, None)) for award in awards}
    return levels, store.points_at(name, at, known_at)


def test_the_content_of_a_position_is_what_is_known_now() -> None:
    """The rows without an end of knowledge are those of the last position."""
    dice = Random(7)

    @examples(20)
    @given(HISTORIES["hubspot"])
    def over(history: list[Sealed]) -> None:
        if not history:
            return
        known, store = recorded("hubspot", history, dice)
        content = content_of(known.events, known.library, known.last).content
        for table, rows in content.items():
            now = {row[1:-2] for row in store.dump()[table] if row[-1] == FOREVER}
            assert now == {(*identity, until, *payload) for identity, (until, payload) in rows.items()}, told(history)

    over()


@law(12)
def test_a_ranking_from_rows_is_the_engine_s(name: str, history: list[Sealed], dice: Random) -> None:
    """Of several partners, at any two dates: from the rows where they answer, and the same from the engine alone."""
    with TemporaryDirectory() as folder, Log(f"{folder}/ledger.db") as log:
        times = iter(range(1_900_000_000_000_000, 1_900_000_000_010_000))
        intake = Intake(log, lambda: next(times))
        copies = [_of(s.event.body, partner) for s in history for partner in ("A", "B", "C") if dice.random() < 0.8]
        while copies:
            n = dice.choice((1, 1, 2, 5))
            intake.record(copies[:n])
            copies = copies[n:]
        log_history, store = History(log), Store(":memory:")
        if not log.head():
            return
        Project(InProcessBus(), log_history, store).rebuild()
        edges = [s.event.effective_at for s in history]
        rows, engine = Questions(log_history, store, lambda: FOREVER - 1), Questions(log_history, store, lambda: FOREVER - 1, lambda: 0)
        for _ in range(4):
            at = dice.choice(edges) + dice.choice((-1, 0, 30 * DAY, 400 * DAY))
            moment = Moment(as_of=at, known_at=dice.choice((log.head(), dice.randint(1, log.head()))), programme=name)
            assert rows.ranking(moment) == engine.ranking(moment), (moment, told(history))
            for partner in ("A", "B", "C"):
                assert _brief(rows, partner, moment) == _brief(engine, partner, moment), (partner, moment, told(history))


def _brief(questions: Questions, partner: str, moment: Moment) -> Any:
    try:
        return [replace(brief, parked=None) for brief in questions.brief(partner, moment)]
    except (NotFound, LedgerError) as error:
        return error.code


def _of(body: bytes, partner: str) -> bytes:
    """The same event of another partner, from a source of its own."""
    return body.replace(b'"source":"test"', b'"source":"%s"' % partner.encode()).replace(b'"subject":"P-1"', b'"subject":"%s"' % partner.encode())


def test_months_after_the_last_change_are_one_again_when_what_would_have_changed_is_taken_back() -> None:
    """An override that is revoked at the instant at which it begins leaves nothing, and no months up to it."""
    told_of = [
        event("points.adjusted.v1", effective_at="2024-02-29", id="1", source="test", subject=PARTNER, measure="sold_mrr", points="-30.5"),
        event(
            "override.granted.v1", effective_at="2026-04-16", id="2", source="test", subject=PARTNER, override="O", until="2026-11-01",
            tier="Platinum", reason="agreed", author="admin",
        ),
        event("override.revoked.v1", effective_at="2026-04-16", id="3", source="test", subject=PARTNER, override="O", reason="no", author="admin"),
    ]  # fmt: skip
    history = [Sealed(n, f"partner/{PARTNER}", n, each.effective_at, b"", b"", each) for n, each in enumerate(told_of, start=1)]
    library = Library()
    store = Store(":memory:")
    for stop in (1, 2, 3):
        with store.writing() as connection:
            before, rows = store.states(connection, [PARTNER]).get(PARTNER), store.rows(connection, [PARTNER])[PARTNER]
            made = (PARTNER, *advanced(history[:stop], library, lambda position: position, stop, before, rows, HEADS))
            (store.change if before is not None else store.write)(connection, [made])
    now = {row[1:-2] for row in store.dump()["balances"] if row[-1] == FOREVER}
    content = content_of(history, library, 3).content["balances"]
    assert now == {(*identity, until, *payload) for identity, (until, payload) in content.items()}


HEADS = Heads()

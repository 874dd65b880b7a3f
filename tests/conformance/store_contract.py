"""What every store of read models keeps, whatever database it is on. A backend joins with a subclass that says how one is opened.

The contract speaks through the store's methods alone: which columns its tables have is its own business.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import RulebookError
from ledger.events.envelope import Event, Sealed, event
from ledger.instants import FOREVER, parse
from ledger.projections.rows import advanced
from ledger.projections.store import Made, Store
from ledger.rules import book as books
from ledger.rules.library import Library
from ledger.rules.life import Force, Life

ACME = """
book: acme/points-2026
programme: acme
effective: 2026-01-01
language: 1
tables:
  per: {values: {USD: 100, EUR: 90}}
measures:
  sold: {sum: amount, of: sold, for: 12 months, times: "2 / per[currency]", unit: points}
  assisted: {sum: amount, of: sold, where: "deal_type == 'assisted'", for: 1 month, times: "1", unit: points}
show: [assisted]
tiers:
  Silver: [sold >= 10]
  Gold: [sold >= 50]
status: {continuous: {}}
"""
OTHER = ACME.replace("acme", "other").replace("Silver", "Bronze").replace("2 / per", "4 / per")
LIBRARY = Library(books=[books.load(ACME), books.load(OTHER)])


class Failing(Library):
    """Rulebooks of which one programme's cannot be used."""

    def force(self, programme: str, known_at: int | None = None) -> tuple[Force, ...]:
        if programme == "acme":
            raise RulebookError("its rulebook is damaged", code="damaged_book")
        return super().force(programme, known_at)


FAILING = Failing(books=LIBRARY.books())


def enrolled(on: str = "2026-01-01", programme: str = "acme", id: str = "enrolled") -> Event:
    return event("partner.enrolled.v1", subject="P", effective_at=on, id=f"{id} {programme}", programme=programme)


def sale(on: str, amount: str, currency: str = "USD", **more: Any) -> Event:
    more = {"client": "C", "line": "suite", "deal_type": "sourced"} | more
    return event("points.sold.v1", subject="P", effective_at=on, id=f"{on} {amount}", amount=amount, currency=currency, **more)


def stream(partner: str, *events: Event, first: int = 1) -> list[Sealed]:
    """The events of a partner, at positions from `first` on."""
    return [Sealed(first + n, f"partner/{partner}", n + 1, 0, b"", b"", made) for n, made in enumerate(events)]


def rows_of(partner: str, events: Sequence[Sealed], library: Library = LIBRARY) -> Made:
    """All rows of a partner of which each event was recorded alone."""
    return partner, *advanced(events, library, lambda position: position, events[-1].position)


SALES = stream("P-1", enrolled(), sale("2026-02-01", "600"), sale("2026-03-01", "100", "EUR"), sale("2026-03-01", "2000"), first=4)
"""12 points from 1 February, 20/9 and 40 more from 1 March; each for 12 months."""


class StoreContract(ABC):
    """One contract for every backend."""

    @abstractmethod
    def open_store(self, where: Path | str) -> Store:
        """A store at a place: made the first time, opened again after that."""

    @pytest.fixture
    def where(self, tmp_path: Path) -> Path | str:
        return tmp_path / "ledger.read.db"

    @pytest.fixture
    def store(self, where: Path | str) -> Iterator[Store]:
        store = self.open_store(where)
        yield store
        store.close()

    def apply(self, store: Store, partner: str, events: Sequence[Sealed], library: Library = LIBRARY) -> None:
        with store.writing() as connection:
            store.apply(connection, partner, events, library)

    def test_an_empty_store(self, store: Store) -> None:
        assert store.position() == 0
        assert (store.partners(), store.versions()) == ({}, {})
        assert store.parked("P-1") is None
        assert (store.levels_at("acme", 0), store.points_at("acme", 0)) == ({}, {})
        assert not any(store.dump().values())

    # Rows of a partner --------------------------------------------------------------------------------------

    def test_applying_twice_is_applying_once(self, store: Store) -> None:
        self.apply(store, "P-1", SALES)
        once = store.dump()
        self.apply(store, "P-1", SALES)
        with store.writing() as connection:
            store.apply(connection, "P-1", SALES, LIBRARY)
            store.apply(connection, "P-1", SALES, LIBRARY)
        assert store.dump() == once

    def test_a_partner_is_replaced_whole(self, store: Store, tmp_path: Path) -> None:
        """Whatever was there before, fewer events, more, or others, leaves no trace."""
        rewritten = stream("P-1", enrolled(), sale("2026-05-01", "900", "EUR"), enrolled(programme="other"), first=4)
        for n, events in enumerate((SALES[:2], SALES, SALES[:1], rewritten, SALES[:3])):
            self.apply(store, "P-1", events)
            fresh = self.open_store(tmp_path / f"{n}.db")
            self.apply(fresh, "P-1", events)
            assert store.dump() == fresh.dump()
            fresh.close()

    def test_other_partners_are_left_alone(self, store: Store) -> None:
        self.apply(store, "P-10", SALES)
        before = (store.versions()["P-10"], store.levels_at("acme", parse("2026-04-01")), store.points_at("acme", parse("2026-04-01")))
        self.apply(store, "P-1", SALES[:2])
        self.apply(store, "P-1", SALES[:1])
        after = (store.versions(), store.levels_at("acme", parse("2026-04-01")), store.points_at("acme", parse("2026-04-01")))
        assert (after[0]["P-10"], after[1]["P-10"], after[2]["P-10"]) == (before[0], before[1]["P-10"], before[2]["P-10"])

    def test_writing_many_is_applying_each(self, store: Store, tmp_path: Path) -> None:
        partners = {f"P-{n}": stream(f"P-{n}", *(s.event for s in SALES[: 1 + n % 4]), first=10 * n + 1) for n in range(20)}
        with store.writing() as connection:
            store.write(connection, [rows_of(partner, events, LIBRARY) for partner, events in partners.items()])
            store.write(connection, [])
        other = self.open_store(tmp_path / "other.db")
        for partner, events in partners.items():
            self.apply(other, partner, events)
        assert store.dump() == other.dump()
        other.close()

    def test_versions_say_how_far_each_partner_came(self, store: Store) -> None:
        self.apply(store, "P-1", SALES)
        self.apply(store, "P-2", stream("P-2", enrolled(), first=9))
        assert store.versions() == {"P-1": (4, 7), "P-2": (1, 9)}

    def test_partners_are_in_order_of_code_points(self, store: Store) -> None:
        """Whatever the database holds to be the alphabet."""
        names = ["é", "a", "B", "P-10", "P-2", "P_1", "p-1", "日本", "Z", "ä"]
        for name in names:
            self.apply(store, name, stream(name, enrolled()))
        assert list(store.partners()) == sorted(names)

    @pytest.mark.parametrize("name", ["O'Neil", '"; DROP TABLE lots; --', "%", "a b", "\\", "é" * 100])
    def test_any_name_is_a_name(self, store: Store, name: str) -> None:
        self.apply(store, name, SALES)
        assert store.partners() == {name: None}
        assert store.levels_at("acme", parse("2026-02-01")) == {name: ("Silver", "Silver")}
        self.apply(store, name, SALES[:1])
        assert store.points_at("acme", parse("2026-02-01")) == {}

    # Questions ----------------------------------------------------------------------------------------------

    def test_levels_begin_and_end_at_their_instants(self, store: Store) -> None:
        self.apply(store, "P-1", SALES)
        on = {
            "2026-01-31T23:59:59.999999Z": (None, None),
            "2026-02-01": ("Silver", "Silver"),
            "2026-02-28T23:59:59.999999Z": ("Silver", "Silver"),
            "2026-03-01": ("Gold", "Gold"),
            "2027-01-31T23:59:59.999999Z": ("Gold", "Gold"),
            "2027-02-01": ("Silver", "Silver"),
            "2027-03-01": (None, None),
            "9999-12-31": (None, None),
        }
        assert {at: store.levels_at("acme", parse(at)).get("P-1", (None, None)) for at in on} == on

    def test_levels_are_those_of_a_life(self, store: Store) -> None:
        """At any instant, of any sales."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        dice, lives = random.Random(seed), {}
        for n in range(5):
            made = [sale(f"2026-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}", str(dice.randrange(1, 2500))) for _ in range(6)]
            events = stream(f"P-{n}", enrolled(), *{each.id: each for each in made}.values())
            lives[f"P-{n}"] = Life(events, LIBRARY.force("acme"))
            self.apply(store, f"P-{n}", events)
        for life in lives.values():
            for turn in life.turns(parse("2026-01-01"), FOREVER):
                for at in (turn - 1, turn):
                    levels = store.levels_at("acme", at)
                    assert all(levels.get(name, (None, None)) == (of.tier(at), of.credited_tier(at)) for name, of in lives.items())
                    points = store.points_at("acme", at)
                    assert all(points.get(name, {}).get("sold", 0) == of.values(at)["sold"] for name, of in lives.items())

    def test_points_are_exact_and_by_measure(self, store: Store) -> None:
        assisted = stream("P-2", enrolled(), sale("2026-03-01", "0.07", "EUR", deal_type="assisted"), first=20)
        self.apply(store, "P-1", SALES)
        self.apply(store, "P-2", assisted)
        sevenths = Fraction(7, 100)
        assert store.points_at("acme", parse("2026-03-01")) == {
            "P-1": {"sold": 52 + Fraction(20, 9)},
            "P-2": {"sold": sevenths * 2 / 90, "assisted": sevenths},
        }
        assert store.points_at("acme", parse("2026-04-01"))["P-2"] == {"sold": sevenths * 2 / 90}
        assert store.points_at("acme", parse("2027-02-01"))["P-1"] == {"sold": 40 + Fraction(20, 9)}
        assert store.points_at("acme", parse("2027-03-01")) == {}

    def test_programmes_are_apart(self, store: Store) -> None:
        self.apply(store, "P-1", stream("P-1", enrolled(), enrolled(programme="other"), sale("2026-02-01", "600")))
        self.apply(store, "P-2", stream("P-2", enrolled(programme="other"), sale("2026-02-01", "600"), first=9))
        at = parse("2026-02-01")
        assert store.levels_at("acme", at) == {"P-1": ("Silver", "Silver")}
        assert store.levels_at("other", at) == {"P-1": ("Bronze", "Bronze"), "P-2": ("Bronze", "Bronze")}
        assert store.points_at("other", at) == {"P-1": {"sold": Fraction(24)}, "P-2": {"sold": Fraction(24)}}
        assert store.levels_at("nobody's", at) == {}

    # Parked partners ----------------------------------------------------------------------------------------

    def test_what_cannot_be_applied_parks_its_partner_alone(self, store: Store) -> None:
        self.apply(store, "P-1", SALES)
        with store.writing() as connection:
            store.apply(connection, "P-1", SALES, FAILING)
            store.apply(connection, "P-2", stream("P-2", enrolled(programme="other"), sale("2026-02-01", "600"), first=9), FAILING)
            store.mark(connection, 10)
        why = store.parked("P-1")
        assert why is not None and "damaged_book" in why and "acme" in why
        assert store.partners() == {"P-1": why, "P-2": None}
        assert store.parked("P-2") is None
        assert (store.levels_at("acme", parse("2026-03-01")), store.position()) == ({}, 10)
        assert "P-2" in store.levels_at("other", parse("2026-03-01"))

    def test_a_parked_partner_keeps_what_can_be_applied(self, store: Store) -> None:
        both = stream("P-1", enrolled(), enrolled(programme="other"), sale("2026-02-01", "600"))
        self.apply(store, "P-1", both, FAILING)
        assert store.parked("P-1")
        assert store.levels_at("other", parse("2026-03-01")) == {"P-1": ("Bronze", "Bronze")}

    def test_a_partner_is_parked_no_longer_than_it_must(self, store: Store, tmp_path: Path) -> None:
        self.apply(store, "P-1", SALES, FAILING)
        self.apply(store, "P-1", SALES)
        never = self.open_store(tmp_path / "never.db")
        self.apply(never, "P-1", SALES)
        assert store.parked("P-1") is None
        assert store.dump() == never.dump()
        never.close()

    # How far it has come ------------------------------------------------------------------------------------

    def test_the_mark_is_where_it_was_put(self, store: Store) -> None:
        for position in (5, 5, 9, 2**40):
            with store.writing() as connection:
                store.mark(connection, position)
            assert store.position() == position

    def test_marks_of_several_names_are_apart(self, store: Store) -> None:
        with store.writing() as connection:
            store.mark(connection, 5)
            store.mark(connection, 7, "export")
        assert (store.position(), store.position("export"), store.position("nobody")) == (5, 7, 0)

    # One transaction ----------------------------------------------------------------------------------------

    def test_rows_and_mark_are_there_together_or_not_at_all(self, store: Store) -> None:
        self.apply(store, "P-1", SALES[:2])
        before = store.dump()
        with pytest.raises(ZeroDivisionError), store.writing() as connection:
            store.apply(connection, "P-1", SALES, LIBRARY)
            store.apply(connection, "P-2", SALES, LIBRARY)
            store.mark(connection, 7)
            raise ZeroDivisionError
        assert store.dump() == before

    def test_a_partner_is_written_once(self, store: Store) -> None:
        """`write` is for partners that have no rows: a second time is an error, and leaves nothing of either."""
        rows = rows_of("P-1", SALES, LIBRARY)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"), store.writing() as connection:
            store.write(connection, [rows])
            store.write(connection, [rows])
        assert not any(store.dump().values())

    def test_readers_see_what_was_there_until_it_is_done(self, store: Store, where: Path | str) -> None:
        reader = self.open_store(where)
        self.apply(store, "P-1", SALES[:2])
        before = reader.dump()
        with store.writing() as connection:
            store.apply(connection, "P-1", SALES, LIBRARY)
            store.mark(connection, 7)
            assert (reader.dump(), reader.position()) == (before, 0)
            assert reader.levels_at("acme", parse("2026-03-01")) == {"P-1": ("Silver", "Silver")}
        assert reader.position() == 7
        assert reader.levels_at("acme", parse("2026-03-01")) == {"P-1": ("Gold", "Gold")}
        assert reader.dump() == store.dump()
        reader.close()

    def test_what_was_written_is_there_when_it_is_opened_again(self, where: Path | str) -> None:
        store = self.open_store(where)
        self.apply(store, "P-1", SALES)
        with store.writing() as connection:
            store.mark(connection, 7)
        written = store.dump()
        store.close()
        again = self.open_store(where)
        assert again.dump() == written
        again.close()

    # Dumps --------------------------------------------------------------------------------------------------

    def test_a_dump_does_not_depend_on_the_order_of_writing(self, store: Store, tmp_path: Path) -> None:
        other = self.open_store(tmp_path / "other.db")
        partners = {f"P-{n}": stream(f"P-{n}", *(s.event for s in SALES), first=10 * n + 1) for n in range(6)}
        for each, order in ((store, list(partners)), (other, sorted(partners, reverse=True))):
            for partner in order:
                self.apply(each, partner, partners[partner])
        assert store.dump() == other.dump()
        other.close()

    def test_a_dump_tells_any_difference(self, store: Store) -> None:
        """A sale more, a cent more, another instant, a position later, parked, marked: none goes unseen."""
        dumps = [store.dump()]
        one, cent, later = sale("2026-02-01", "600"), sale("2026-02-01", "600.01"), sale("2026-02-01T00:00:00.000001Z", "600")
        for made in ([enrolled()], [enrolled(), one], [enrolled(), cent], [enrolled(), later], [enrolled(), one, cent]):
            self.apply(store, "P-1", stream("P-1", *made))
            dumps.append(store.dump())
        self.apply(store, "P-1", stream("P-1", enrolled(), one, first=2))
        dumps.append(store.dump())
        self.apply(store, "P-1", stream("P-1", enrolled(), one, first=2), FAILING)
        dumps.append(store.dump())
        with store.writing() as connection:
            store.mark(connection, 3)
        dumps.append(store.dump())
        assert all(one != other for n, one in enumerate(dumps) for other in dumps[:n])

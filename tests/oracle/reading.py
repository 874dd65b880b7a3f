"""One rulebook over the records of one partner, asked at one instant at a time: measures, numbers, tiers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ledger.instants import FOREVER, Instant, Span, parse, plus, to_datetime, wall
from tests.oracle.facts import Record, Records
from tests.oracle.language import Row, Rules, Spec, Unread, Way, can_be_found, names, predicate, presences, several, span, value

Life = tuple[Record, Instant, Instant]


MORE: dict[str, Fraction] = {}
"""What is given on top of numbers: mostly nothing."""


def together(*spans: Span) -> Span:
    return Span(*map(sum, zip(Span(), *spans, strict=True)))


def lasting(spec: Spec) -> Span:
    """How long it counts, by whole months or not."""
    return span(spec["for"].replace("calendar ", ""))


class Reading:
    """`now` makes it a forecast from then on: what is held does not run out."""

    def __init__(self, rules: Rules, records: Records, now: Instant | None = None) -> None:
        self.rules, self.records, self.now = rules, records, now
        self._lives: dict[int, list[Life]] = {}
        self._worths: dict[tuple[str, Record], Fraction] = {}
        self._values: dict[tuple[str, Instant], Any] = {}
        self._times: dict[str, list[tuple[Instant, Instant]]] = {}

    # -- when a record counts ---------------------------------------------------------------------------------------

    def present(self, spec: Spec, at: Instant) -> list[Record]:
        """The records of a presence that count at an instant."""
        return [
            record
            for record, start, end in self.lives(spec)
            if start <= at < end
            and all(self.is_open(gate, record, at) for gate in several(spec.get("while")))
            and all(self._was_open(gate, record, start) for gate in several(spec.get("if")))
        ]

    def _was_open(self, gate: Any, record: Record, start: Instant) -> bool:
        """A gate, or a condition on measures and numbers, when the record entered."""
        if isinstance(gate, str):
            return self._holds(gate, start)
        return self.is_open(gate, record, start)

    def is_open(self, gate: Spec, record: Record, at: Instant) -> bool:
        if "any" in gate:
            return any(self.is_open(option, record, at) for option in gate["any"])
        by = several(gate.get("by"))
        return any(other.key(by) == record.key(by) for other in self.present(gate, at))

    def lives(self, spec: Spec) -> list[Life]:
        """From when until when each record would count if all gates were open."""
        if id(spec) not in self._lives:
            those = self._runs(spec) if "joined" in spec else self.those(spec)
            lives = [(record, *self._life(spec, record)) for record in those]
            self._lives[id(spec)] = self._settled(spec, lives) if "until" in spec else lives
        return self._lives[id(spec)]

    def those(self, spec: Spec) -> list[Record]:
        """The records of which the condition holds, as they were when they began."""
        where = spec.get("where")
        return [r for r in self.records.of(spec["of"]) if where is None or self._says(where, r, r.start)]

    def _runs(self, spec: Spec) -> list[Record]:
        """Records of one key without a gap between them, as one; nothing is there of what ended as it began."""
        by, found = several(spec["joined"]), []
        there = [record for record in self.those(spec) if record.start < record.end]
        for record in there:
            mine = [other for other in there if other.key(by) == record.key(by)]
            before = [other for other in mine if other.place < record.place]
            if any(record.start <= other.end for other in before):
                continue
            end = record.end
            while longer := [other.end for other in mine if other.start <= end < other.end]:
                end = max(longer)
            found.append(Record(record.start, record.position, record.fields, record.sealed, record.planned, end))
        return found

    def _life(self, spec: Spec, record: Record) -> tuple[Instant, Instant]:
        """Delay and length are counted from the record's own day, together; or by whole months, from the end of its own."""
        after = together(*map(span, several(spec.get("after"))))
        by_month = "calendar" in spec.get("for", "")
        start, end = self._whole_months(spec, record, after) if by_month else self._own(spec, record, after)
        if spec.get("hold") == "true" and self.now is not None:
            if start > self.now and (by_month or "after" in spec):
                return FOREVER, FOREVER
            if by_month and end > self.now:
                return start, record.end
        return start, end

    def _own(self, spec: Spec, record: Record, after: Span) -> tuple[Instant, Instant]:
        zone = self.rules.zone
        start, end = plus(record.start, after, zone), plus(record.end, after, zone)
        if "to" in spec:
            end = min(end, next_month(start, int(spec["to"].removeprefix("day ")), zone))
        if "for" in spec:
            runs_out = plus(record.start, together(after, lasting(spec)), zone)
            held = spec.get("hold") == "true" and self.now is not None and runs_out > self.now
            end = end if held else min(end, runs_out)
        return start, end

    def _whole_months(self, spec: Spec, record: Record, after: Span) -> tuple[Instant, Instant]:
        """From the first of the month after that of the record, which it may state; before it is there it does not count."""
        if record.end < FOREVER:
            raise Unread(f"whole months of what ends: {spec}")
        zone = self.rules.zone
        own = to_datetime(record.start, zone)
        year, month = map(int, record.fields["month"].split("-")) if record.fields.get("month") else (own.year, own.month)
        first = next_month(wall(zone, year, month), 1, zone)
        start, end = plus(first, after, zone), plus(first, together(after, lasting(spec)), zone)
        return max(start, record.start), end

    def _settled(self, spec: Spec, lives: list[Life]) -> list[Life]:
        """What takes another back ends with it, in place of its own length; where there is nothing to take, it runs out by itself."""
        if "after" in spec or "to" in spec:
            raise Unread(f"until with after or to: {spec}")
        derived = self.rules.spec["derive"][spec["until"]]
        takers = {record for record, _, _ in lives if self._says(derived["when"], record, record.start)}
        ends = {record: end for record, _, end in lives if record not in takers}
        found = []
        for record, start, end in lives:
            other = self._relative(derived, record) if record in takers else None
            if other is not None:
                end = min(record.end, ends[other] if other in ends else self._life({"for": spec["for"]}, other)[1])
            found.append((record, start, end))
        return found

    # -- what a record says -----------------------------------------------------------------------------------------

    def _says(self, text: str, record: Record, at: Instant) -> Any:
        """An expression about a record: its fields, what is derived for it, and tables as they are at an instant."""

        def ask(name: str) -> Any:
            if name in self.rules.tables:
                on = self.rules.dates[name]
                return Row(self.rules.tables[name], at if on is None else self._date(self.rules.spec["derive"][on], record))
            if name in self.rules.spec.get("derive", {}):
                return self._stated(self.rules.spec["derive"][name], record, at)
            return record.get(name)

        return value(text, ask)

    def _relatives(self, derived: Spec, record: Record) -> list[Record]:
        by = several(derived.get("by"))
        return sorted((r for r in self.those(derived) if r.key(by) == record.key(by)), key=lambda r: r.place)

    def _stated(self, derived: Spec, record: Record, at: Instant) -> str:
        """The value that was last stated by then."""
        if "value" not in derived or "stated" in derived:
            raise Unread(f"the value of {derived}")
        field = derived["value"]
        stated = [r.fields[field] for r in self._relatives(derived, record) if r.start <= at and r.fields[field] is not None]
        return str(stated[-1]) if stated else ""

    def _relative(self, derived: Spec, record: Record) -> Record | None:
        """The one that the record names, else the first or the last up to it."""
        named = record.fields[derived["stated"]] if "stated" in derived else None
        source = record.sealed.event.source
        for other in self.those(derived) if named is not None else ():
            if (other.sealed.event.source, other.sealed.event.id) == (source, named):
                return other
        before = [other for other in self._relatives(derived, record) if other.place <= record.place]
        return (before[0] if "first" in derived else before[-1]) if before else None

    def _date(self, derived: Spec, record: Record) -> Instant:
        """A date that the record states, else that of its first or last relative, else its own."""
        stated = record.fields[derived["stated"]] if "stated" in derived else None
        if stated is not None:
            return parse(stated)
        other = self._relative({name: part for name, part in derived.items() if name != "stated"}, record)
        return record.start if other is None else other.start

    # -- measures and numbers ---------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        roles = self.rules.roles
        measures = [f"{name}.{role}" for name in roles for role in roles[name]]
        return [*(name for name in self.rules.measures if name not in roles), *measures, *self.rules.numbers]

    def value(self, name: str, at: Instant) -> Any:
        """A measure or number; a condition is true or false."""
        if (name, at) not in self._values:
            group, _, role = name.partition(".")
            if name in self.rules.numbers:
                self._values[name, at] = value(self.rules.numbers[name], lambda asked: self._ask(asked, at))
            elif role:
                self._values[name, at] = Fraction(len(self.members(group, role, at)))
            elif name in self.rules.measures:
                self._values[name, at] = self._measure(name, self.rules.measures[name], at)
            else:
                raise Unread(f"{name} of {self.rules.name}")
        return self._values[name, at]

    def _ask(self, name: str, at: Instant) -> Any:
        if name == "team":
            return lambda *asked: self._team(asked, at)
        return Row(self.rules.tables[name], at) if name in self.rules.tables else self.value(name, at)

    def _holds(self, test: str, at: Instant) -> bool:
        return bool(value(test, lambda name: self._ask(name, at)))

    def _measure(self, name: str, spec: Spec, at: Instant) -> Fraction:
        if "reached" in spec:
            return Fraction(any(begin <= at < end for begin, end in self._reached(name)))
        day = self._day(spec, at)
        here = [] if day is None else self.present(spec, day)
        if "count" in spec:
            return Fraction(len(here))
        if "distinct" in spec:
            return Fraction(len({record.key(several(spec["distinct"])) for record in here}))
        if "as_at" in spec:
            raise Unread(f"the aggregate of a day: {spec}")
        if "sum" in spec:
            return sum([*(self._worth(name, spec, record, at) for record in here), *self._outright(name, spec, at)], Fraction(0))
        if "median" in spec:
            return middle(sorted(self._worth(name, spec, record, at) for record in here))
        raise Unread(f"the aggregate of {spec}")

    def _day(self, spec: Spec, at: Instant) -> Instant | None:
        """The last of the days on which it is looked at, if it is not always."""
        return max([day for day in self._days(spec) if day <= at], default=None) if "as_at" in spec else at

    def _days(self, spec: Spec) -> list[Instant]:
        days = [[parse(each)] if each[0].isdigit() else [r.start for r in self.records.of(each)] for each in spec.get("as_at", ())]
        return [day for each in days for day in each]

    def _reached(self, name: str) -> list[tuple[Instant, Instant]]:
        """From each instant at which a number comes to the bar, for so long."""
        if name not in self._times:
            spec = self.rules.measures[name]
            of = self.rules.measures[spec["reached"].split()[0].partition(".")[0]]
            edges = sorted({edge for presence in presences(of) for _, *life in self.lives(presence) for edge in life if edge < FOREVER})
            there = [at for at in edges if self._holds(spec["reached"], at)]
            begun = [at for at in there if at == edges[0] or edges[edges.index(at) - 1] not in there]
            self._times[name] = [(at, plus(at, span(spec["for"]), self.rules.zone)) for at in begun]
        return self._times[name]

    def _worth(self, name: str, spec: Spec, record: Record, at: Instant) -> Fraction:
        clock = {"now": at, "at": record.start}[spec.get("on", "at")]
        known = self._worths.get((name, record)) if clock == record.start else None
        if known is None:
            known = self._says(spec.get("sum") or spec["median"], record, clock) * self._says(spec.get("times", "1"), record, clock)
            if clock == record.start:
                self._worths[name, record] = known
        return known

    def _outright(self, name: str, spec: Spec, at: Instant) -> list[Fraction]:
        """Points that are stated: until they say or for the measure's length, and those of overrides while they last."""
        found = []
        for record in self.records.of("adjusted"):
            runs_out = plus(record.start, lasting(spec), self.rules.zone) if "for" in spec and record.planned == FOREVER else FOREVER
            if record.fields["measure"] == name and record.start <= at < min(record.end, runs_out):
                found.append(record.get("points"))
        return found + [record.get("points") for record in self.overrides("", at) if record.fields["measure"] == name]

    # -- people -----------------------------------------------------------------------------------------------------

    def members(self, group: str, role: str, at: Instant) -> frozenset[tuple[Any, ...]]:
        """Of whom a condition holds, by the codes that each holds at the instant."""
        asked = f"{group} {role}", at
        if asked not in self._values:
            test, lists = self.rules.roles[group][role], self.rules.spec.get("lists", {})
            if "sums" in self.rules.measures[group]:
                those = [who for who, sums in self._summed(group, at).items() if value(test, sums.__getitem__)]
            else:
                those = [who for who, codes in self._held(group, at).items() if predicate(test, codes, lists)]
            self._values[asked] = frozenset(those)
        found: frozenset[tuple[Any, ...]] = self._values[asked]
        return found

    def _held(self, group: str, at: Instant) -> dict[tuple[Any, ...], frozenset[str]]:
        if (group, at) not in self._values:
            spec = self.rules.measures[group]
            held: dict[tuple[Any, ...], set[str]] = {}
            day = self._day(spec, at)
            for record in [] if day is None else self.present(spec, day):
                held.setdefault(record.key(several(spec["each"])), set()).add(record.fields[spec.get("has", "code")])
            self._values[group, at] = {who: frozenset(codes) for who, codes in held.items()}
        found: dict[tuple[Any, ...], frozenset[str]] = self._values[group, at]
        return found

    def _summed(self, group: str, at: Instant) -> dict[tuple[Any, ...], dict[str, Fraction]]:
        """Of each member that anything is there of, what is added up for it."""
        if (group, at) not in self._values:
            spec = self.rules.measures[group]
            sums: dict[tuple[Any, ...], dict[str, Fraction]] = {}
            for name, part in spec["sums"].items():
                for record in self.present(part, at):
                    mine = sums.setdefault(record.key(several(spec["each"])), dict.fromkeys(spec["sums"], Fraction(0)))
                    mine[name] += self._worth(f"{group} {name}", part, record, at)
            self._values[group, at] = sums
        found: dict[tuple[Any, ...], dict[str, Fraction]] = self._values[group, at]
        return found

    def _team(self, asked: tuple[Any, ...], at: Instant) -> bool:
        group, *pairs = asked
        return can_be_found([(int(n), self.members(group, role, at)) for n, role in zip(pairs[::2], pairs[1::2], strict=True)])

    # -- tiers ------------------------------------------------------------------------------------------------------

    def overrides(self, award: str, at: Instant) -> list[Record]:
        """Those that last at the instant, of this programme and of this award or of all; those of any award, where none is asked."""
        return [
            record
            for record in self.records.of("override")
            if record.start <= at < record.end
            and record.fields["programme"] in (None, self.rules.spec["programme"])
            and (not award or record.fields["award"] in (None, award))
        ]

    def unmet(self, way: Way, award: str, at: Instant, more: dict[str, Fraction] = MORE) -> list[str]:
        """The requirements of a way to a tier that are not met, in their order."""
        lifted = self.overrides(award, at)
        if self.rules.spec.get("overrides", {}).get("tier") == "performance" and any(o.fields["tier"] == way.tier for o in lifted):
            return []
        met = {record.fields["requirement"] for record in lifted}

        def ask(name: str) -> Any:
            return self._ask(name, at) + more[name] if name in more else self._ask(name, at)

        return [need.name for need in way.needs if need.name not in met and not value(need.test, ask)]

    def performance(self, award: str, at: Instant) -> str | None:
        asked = f"tier of {award}", at
        if asked not in self._values:
            self._values[asked] = self.performance_with(MORE, award, at)
        found: str | None = self._values[asked]
        return found

    def performance_with(self, more: dict[str, Fraction], award: str, at: Instant) -> str | None:
        """With so much more of some numbers, of which no other number is made."""
        if any(set(more) & names(formula) for formula in self.rules.numbers.values()):
            raise Unread(f"more of {more}, which other numbers are made of")
        met = [way.tier for way in self.rules.ladder(award) if not self.unmet(way, award, at, more)]
        return met[-1] if met else None

    def failing(self, tier: str, award: str, at: Instant) -> list[list[str]]:
        """Of each way to a tier what is not met; nothing where the rulebook does not have the tier."""
        return [self.unmet(way, award, at) for way in self.rules.ladder(award) if way.tier == tier]

    # -- where anything can change ----------------------------------------------------------------------------------

    def edges(self) -> set[Instant]:
        found = {edge for spec in self.rules.presences() for _, *life in self.lives(spec) for edge in life}
        found |= {since for rows in self.rules.tables.values() for since, _ in rows if since is not None}
        for record in (*self.records.of("override"), *self.records.of("adjusted")):
            found |= {record.start, record.end}
        for spec in self.rules.measures.values():
            if "sum" in spec and "for" in spec:
                found |= {plus(record.start, lasting(spec), self.rules.zone) for record in self.records.of("adjusted")}
            found |= set(self._days(spec))
        found |= {edge for name, spec in self.rules.measures.items() if "reached" in spec for life in self._reached(name) for edge in life}
        return found


def middle(ordered: list[Fraction]) -> Fraction:
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 if n else Fraction(0)


def next_month(at: Instant, day: int, zone: str) -> Instant:
    when = to_datetime(at, zone)
    return wall(zone, when.year + 1, 1, day) if when.month == 12 else wall(zone, when.year, when.month + 1, day)



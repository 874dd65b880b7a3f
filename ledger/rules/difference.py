"""What one rulebook says that another does not, in words. It judges no partner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger.instants import BEGINNING, Span, day_text
from ledger.rules.book import NO_RENEWAL, Book, Derived, Gate, Measure, Membership, Moved, Presence, Review, Row, Tier
from ledger.rules.expressions import Expression

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: of which part of the rulebook, and how."""

    part: str
    what: str

    def __str__(self) -> str:
        return f"{self.part}: {self.what}"


def difference(old: Book, new: Book) -> list[Difference]:
    """From one rulebook to another; empty where both say the same of every partner. Labels and sources are left out."""
    before, after = _said(old), _said(new)
    found: list[Difference] = []
    for part in dict.fromkeys([*before, *after]):
        if part not in after:
            found.append(Difference(part, "is dropped"))
        elif part not in before:
            found.append(Difference(part, f"is new: {_together(after[part])}"))
        else:
            found += [Difference(part, what) for what in _changes(before[part], after[part])]
    return found


def _together(words: Words) -> str:
    return "; ".join(f"{name} {value}".strip() for name, value in words.items()) or "nothing is said of it"


def _changes(old: Words, new: Words) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        of = f"{name} " if name else ""
        if was is None:
            yield f"{of}{now} is added" if now else f"{name} is added"
        elif now is None:
            yield f"{of}{was} is dropped" if was else f"{name} is dropped"
        else:
            yield f"{of}{was} becomes {now}"


def _said(book: Book) -> dict[str, Words]:
    """Everything by which a rulebook judges, part by part, each as names with what is said."""
    said: dict[str, Words] = {
        "rulebook": {
            "programme": book.programme, "effective": day_text(book.effective), "zone": book.zone,
            "shown": ", ".join(book.shown) or "nothing",
        }
    }  # fmt: skip
    said |= {f"derived {name}": _derived(each) for name, each in book.derived.items()}
    for name, table in book.tables.items():
        rows = {("from the beginning" if at == BEGINNING else f"from {day_text(at)}"): row for at, row in table.rows}
        cells = {f"{since} {path}": value for since, row in rows.items() for path, value in _cells(row, "")}
        said[f"table {name}"] = {"read on": table.on or "its own clock", **cells}
    said |= {f"measure {name}": _measure(each) for name, each in book.measures.items()}
    said |= {f"number {name}": {"is": each.formula.text} for name, each in book.numbers.items()}
    for each in (book, *book.awards.values()):
        said |= {_tier_name(each, tier): _needs(tier) for tier in each.tiers}
    said["status"] = _status(book)
    said["overrides"] = _stated(book.acts_on | {"for": _span(book.overrides_last)})
    return said


def _cells(row: Row, path: str) -> Iterator[tuple[str, str]]:
    for key, cell in row.items():
        here = f"{path}/{key}" if path else key
        if isinstance(cell, dict):
            yield from _cells(cell, here)
        else:
            yield here, str(cell)


def _tier_name(book: Book, tier: Tier) -> str:
    return " ".join(part for part in (book.award, tier.option, f"tier {tier.name}") if part)


def _needs(tier: Tier) -> Words:
    """A requirement by its left side, so that another threshold is a change of one requirement."""
    needs = {}
    for need in tier.needs:
        parts = need.test.comparison()
        name, what = (parts[0].text, f"{parts[1]} {parts[2].text}") if parts is not None else (need.test.text, "")
        needs[name] = f"{what}{' (assumed)' if need.assumed else ''}".strip()
    return needs


def _derived(derived: Derived) -> Words:
    return _stated(
        {"is the": f"{derived.how} {derived.take}", "of": derived.of, "by": ", ".join(derived.by), "stated": derived.stated or ""}
        | _expressions(where=derived.where, when=derived.when)
    )


def _measure(measure: Measure) -> Words:
    words = {
        "is the": measure.aggregate, "of": measure.presence.of, "key": ", ".join(measure.key), "unit": measure.unit,
        "read": "now" if measure.on_now else "", "mark": "assumed" if measure.assumed else "",
    }  # fmt: skip
    if measure.reached is not None:
        reached = measure.reached
        words |= {"is the": f"reaching of {reached.measure} {reached.op} {reached.bar}", "counts for": _span(reached.span)}
    words |= {"as at": ", ".join(each if isinstance(each, str) else day_text(each) for each in measure.as_at)}
    expressions = _expressions(value=measure.value, times=measure.times, holds=measure.holds)
    if measure.parts:
        return _stated(words | {"of": ""} | expressions | {f"sum {part.name}": _together(_measure(part)) for part in measure.parts})
    return _stated(words | expressions | _presence(measure.presence))


def _presence(presence: Presence) -> dict[str, str]:
    words = {
        "for": _span(presence.span).replace(" month", " calendar month" if presence.calendar else " month"),
        "joined": ", ".join(presence.joined),
        "to": f"day {presence.to_day} of the next month" if presence.to_day else "",
        "after": _span(presence.after), "until": presence.until or "", "hold": "yes" if presence.hold else "",
        "while": " and ".join(map(_gate, presence.whiles)),
        "if": " and ".join([*map(_gate, presence.ifs), *[given.text for given in presence.given]]),
    }  # fmt: skip
    return words | _expressions(where=presence.where)


def _gate(gate: Gate) -> str:
    if gate.presence is None:
        return f"({' or '.join(map(_gate, gate.any_of))})"
    inner = _stated(_presence(gate.presence))
    return f"{gate.presence.of} by {', '.join(gate.by)}" + (f" [{_together(inner)}]" if inner else "")


def _status(book: Book) -> Words:
    status = book.status
    match status:
        case Review():
            return _stated(
                {
                    "": "review", "checkpoints": f"day {status.day}", "window": f"{status.window} checkpoints", "hold": _span(status.hold),
                    "reviews": ", ".join(f"{month:02}-{day:02}" for month, day in status.reviews), "required": status.required or "",
                    "carry": ", ".join(f"{old} to {new}" for old, new in status.carry.items()),
                }
            )  # fmt: skip
        case Membership():
            rows = {
                f"next from {'the beginning' if at == BEGINNING else day_text(at)}": base if base == NO_RENEWAL else f"{base} + {span}"
                for at, base, span in status.next_rows
            }
            rows |= {f"anniversaries from {day_text(moved.since)}": _moved(moved) for moved in status.moved}
            months = f"{status.test_months} months" if status.test_months else ""
            words = {
                "": "membership", "renewal": _span(status.renewal), "test window": _span(status.test_window) or months,
                "reminders": f"{status.remind_before} before, {status.remind_after} after", **rows,
            }  # fmt: skip
            return _stated(words)
        case _:
            return {"": "continuous"}


def _moved(moved: Moved) -> str:
    told = [f"moved by {moved.by} until {day_text(moved.until)}"]
    for award, more in moved.excepted.items():
        told.append(f"{award} tested on the day" + "".join(f", {number} more {name}" for name, number in more.items()))
    return "; ".join(told)


def _span(span: Span | None) -> str:
    return "" if span is None else str(span)


def _expressions(**found: Expression | None) -> dict[str, str]:
    return {name: expression.text for name, expression in found.items() if expression is not None}


def _stated(words: Words) -> Words:
    return {name: value for name, value in words.items() if value}

"""Golden cases: events, a moment, the expected answer, in YAML. A rulebook ships with its cases and is published only if they pass.

case: H1
whose: owner
events:
  - {kind: points.sold.v1, at: 2021-10-01, client: C-1, line: marketing, amount: 1000, currency: USD}
ask: {rulebook: hubspot/points-2022, as_of: 2022-07-18}
expect: {sold: 30}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.errors import LedgerError, NotFound, Refusal, RulebookError
from ledger.events.envelope import Event, Sealed, decode
from ledger.instants import BEGINNING, Instant, parse, text
from ledger.rules.answers import AwardStanding, Standing
from ledger.rules.breakdown import lots
from ledger.rules.library import Library
from ledger.rules.life import Force, Life
from ledger.rules.standing import basis, standing
from ledger.rules.yaml_nodes import Node, Problems, compose, exact

PARTNER = "P-1"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One expectation that was not met."""

    file: str
    case: str
    line: int
    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: case {self.case}: {self.name} is {self.found}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many expectations a file holds, and which were not met."""

    cases: int
    expectations: int
    mismatches: tuple[Mismatch, ...]


def run(source: str | bytes, name: str, library: Library) -> Outcome:
    """Run every case of a golden file. Raises RulebookProblems where the file is no golden file."""
    problems = Problems(name)
    root = compose(source, problems)
    problems.raise_if_any()
    assert root is not None
    root.allow("programme", "events", "cases")
    shared = root.list("events")
    cases = root.list("cases")
    found: list[Mismatch] = []
    checked = 0
    for case in cases:
        case.allow("case", "whose", "note", "events", "ask", "expect", "then")
        events = _events([*shared, *case.list("events")])
        for ask, expect in _questions(case):
            answers = _answers(events, root, ask, library)
            for key, expected in expect.entries():
                checked += 1
                if answers is not None:
                    found += _compare(name, case, key, expected, answers)
    problems.raise_if_any()
    if not checked:
        raise RulebookError(f"{name} expects nothing", hint="a golden file has cases with 'expect'", code="empty_golden")
    return Outcome(len(cases), checked, tuple(found))


def _questions(case: Node) -> Iterator[tuple[Node, Node]]:
    """`ask` and `expect` of the case itself, then those of `then`."""
    then = case.list("then")
    for node in then:
        node.allow("ask", "expect")
    for node in (case, *then):
        ask, expect = node.get("ask"), node.get("expect")
        if ask is not None and expect is not None:
            ask.allow("as_of", "known_at", "rulebook", "goal", "award")
            yield ask, expect
        else:
            node.problem("missing_key", "a question has 'ask' and 'expect'")


def _compare(file: str, case: Node, key: str, expected: Node, answers: _Answers) -> Iterator[Mismatch]:
    wanted = expected.plain()
    if not answers.knows(key):
        expected.problem("unknown_name", f"{key!r} is no measure or number of {answers.book}, and no other answer", hint=_KNOWN)
        return
    try:
        found = answers.get(key)
    except LedgerError as error:
        found = f"error {error.code}"
    if not _equal(wanted, found):
        yield Mismatch(file, case.text("case"), expected.line, key, _shown(wanted), _shown(found))


def _equal(wanted: object, found: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_equal(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_equal, wanted, found))
    if isinstance(found, Fraction):
        return exact(str(wanted)) == found
    return str(wanted) == _shown(found)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


def _events(nodes: Sequence[Node]) -> list[Sealed]:
    """Events in short form: kind, at, and their data; recorded when they are true, unless `recorded` says otherwise."""
    sealed = []
    for position, node in enumerate(nodes, start=1):
        fields: dict[str, Any] = {key: child.plain() for key, child in node.entries()}
        made = _event(fields, position)
        if isinstance(made, Refusal):
            node.problem(made.code, str(made))
            continue
        recorded = _instant(node, "recorded") if "recorded" in fields else made.effective_at
        sealed.append(Sealed(position, f"partner/{PARTNER}", position, recorded, b"", b"", made))
    return sealed


_WHOLE = ("servicing_partners", "apps", "seats", "assigned", "sold", "active", "reassigned", "year")
_FLAGS = ("exclusive", "with_deal", "trial")


def _event(fields: dict[str, Any], position: int) -> Event | Refusal:
    data = {key: value for key, value in fields.items() if key not in ("kind", "at", "id", "recorded", "source")}
    for name in _WHOLE:
        number = exact(str(data[name])) if name in data else None
        if number is not None and number.denominator == 1:
            data[name] = int(number)
    for name in _FLAGS:
        if data.get(name) in ("true", "false"):
            data[name] = data[name] == "true"
    return decode(
        {
            "specversion": "1.0", "id": str(fields.get("id", position)), "source": str(fields.get("source", "golden")),
            "type": str(fields.get("kind", "")), "subject": PARTNER, "time": _time(str(fields.get("at", ""))), "data": data,
        }
    )  # fmt: skip


def _time(written: str) -> str:
    return f"{written}T00:00:00Z" if len(written) == 10 else written


def _instant(node: Node, name: str) -> Instant:
    try:
        return parse(node.text(name))
    except (ValueError, OverflowError) as error:
        (node.get(name) or node).problem("bad_date", f"{name}: {error}")
        return BEGINNING


def _answers(events: list[Sealed], root: Node, ask: Node, library: Library) -> _Answers | None:
    """The answers of one question, or None with what is wrong with it collected."""
    known = ask.get("known_at")
    position = exact(known.scalar()) if known is not None else Fraction(len(events))
    if known is not None and (position is None or position.denominator != 1 or not 0 <= position <= len(events)):
        known.problem("bad_number", f"known_at: {known.scalar()!r} is no position of the {len(events)} events")
        return None
    try:
        as_of = _instant(ask, "as_of")
        force = library.named(ask.text("rulebook")) if ask.get("rulebook") else library.force(root.text("programme"))
        return _Answers(events, as_of, int(position or 0), force, ask.text("goal") or None, ask.text("award"))
    except NotFound as error:
        (ask.get("rulebook") or root.get("programme") or ask).problem(error.code, error.what, hint=error.hint)
        return None


_VALUES = ("lots", "error", "performance", "credited", "missing", "award", "awards", "reminders")
_FUTURE = ("at_risk", "at_risk_since", "at_risk_requirement", "tier_lost_at", "falls_to", "loss_requirement")
_KNOWN = f"beside measures and numbers: {', '.join((*_VALUES, *_FUTURE))}"


class _Answers:
    """What a case may expect, by name: values, tiers, risk, loss, lots."""

    def __init__(self, events: list[Sealed], as_of: Instant, known: int, force: Sequence[Force], goal: str | None, award: str) -> None:
        self.as_of = as_of
        self.goal = goal
        self.life = Life([sealed for sealed in events if sealed.position <= known], force).of(award)
        self.on = basis(self.life, PARTNER, self.as_of, known)

    @property
    def book(self) -> str:
        return self.life.book(self.as_of).name

    def knows(self, key: str) -> bool:
        book = self.life.book(self.as_of)
        return key in _VALUES or key in _FUTURE or key in book.measures or key in book.numbers

    def get(self, key: str) -> object:
        match key:
            case "lots":
                return [_lot_row(lot.value, lot.state) for lot in lots(self.life, self.as_of)]
            case "error":
                return self._error()
            case "performance":
                return self.life.tier(self.as_of)
            case "credited":
                return self.life.credited_tier(self.as_of)
            case _ if key in _FUTURE:
                return self._future(key, standing(self.life, self.on, goal=self.goal))
            case "missing":
                return self._missing()
            case "award":
                award = standing(self.life, self.on, ahead=False).award
                return None if award is None else _award_row(award)
            case "awards":
                return {award.award: _award_row(award) for award in standing(self.life, self.on, ahead=False).awards}
            case "reminders":
                return [text(day.at)[:10] for day in self.life.walked(self.life.settled_at).notices if day.what.startswith("reminder")]
        return self.life.values(self.as_of).get(key)

    def _future(self, key: str, answer: Standing) -> object:
        risk, loss = answer.at_risk, answer.tier_lost_at
        match key:
            case "at_risk":
                return risk is not None
            case "at_risk_since":
                return text(risk.since)[:10] if risk else None
            case "at_risk_requirement":
                return risk.cause.requirement if risk and risk.cause else None
            case "tier_lost_at":
                return text(loss.at) if loss and not text(loss.at).endswith("T00:00:00Z") else loss and text(loss.at)[:10]
            case "falls_to":
                return loss.falls_to if loss else None
            case _:
                return loss.cause.requirement if loss and loss.cause else None

    def _missing(self) -> object:
        answer = standing(self.life, self.on, goal=self.goal, ahead=False)
        track = answer.goal or answer.next
        return {row.requirement: row.missing for row in track.requirements} if track else None

    def _error(self) -> object:
        try:
            self.life.values(self.as_of)
        except LedgerError as error:
            return error.code
        return None


def _award_row(award: AwardStanding) -> dict[str, object]:
    return {
        "credited": award.credited, "performance": award.performance, "status": award.status, "option": award.option,
        "anniversary": text(award.anniversary)[:10] if award.anniversary is not None else None,
    }  # fmt: skip


def _lot_row(value: Fraction, state: str) -> str:
    return f"{value} {state}"

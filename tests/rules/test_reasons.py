"""What a reason says of the rows on which it rests."""

from __future__ import annotations

from ledger.instants import parse
from ledger.rules.standing import basis, why
from tests.rules.written import life

RULES = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
sources: {list: the price list}
tables:
  bar: {rows: {2018-01-01: {core: 2, default: 1}, 2019-01-01: {core: !assumed 3}}, source: list}
measures:
  people: {distinct: person, of: certificate}
numbers:
  wanted: bar['core']
  others: bar['edge']
  half: !assumed people / 2
tiers: {Silver: [people >= wanted], Gold: [half >= others]}
status: {continuous: {}}
"""


def test_a_row_that_a_number_reads_is_named_with_its_key_its_day_its_source_and_its_mark() -> None:
    told = why(asked := life(RULES, "2018-02-01 certification.earned person=A code=D1"), basis(asked, "P-1", parse("2019-06-01"), 1))
    rows = {name: told.reasons[name].children[0] for name in ("wanted", "others")}
    assert [(row.text, row.value, row.assumed, row.source) for row in rows.values()] == [
        ("bar[core] since 2019-01-01", 3, True, "list"),
        ("bar[default] since 2019-01-01", 1, False, "list"),
    ]
    before = why(asked, basis(asked, "P-1", parse("2018-06-01"), 1))
    row = before.reasons["wanted"].children[0]
    assert (row.text, row.value) == ("bar[core] since 2018-01-01", 2)


def test_numbers_that_are_assumed_are_listed() -> None:
    told = why(asked := life(RULES, "2018-02-01 certification.earned person=A code=D1"), basis(asked, "P-1", parse("2019-06-01"), 1))
    assert told.standing.assumed == ("number half",)

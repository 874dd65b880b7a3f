"""The beginning of a rulebook, with its first golden case: small, complete, and there to be changed."""

from __future__ import annotations

from string import Template

_BOOK = Template("""\
book: $programme/$year
programme: $programme
effective: $year-01-01
language: 1
zone: UTC
label: Points of $programme

sources:
  draft: "not published yet"

tables:
  # One point for so many of a currency.
  per:
    source: draft
    values: {USD: !assumed 100, EUR: !assumed 90}

measures:
  sold:
    sum: amount
    of: sold
    for: 12 months
    times: 1 / per[currency]
    unit: points
    source: draft
  certified:
    distinct: person
    of: certificate
    while: {of: link, by: person}
    unit: people
    source: draft

tiers:
  Silver: [!assumed certified >= 1, !assumed sold >= 10]
  Gold: [!assumed certified >= 2, !assumed sold >= 50]

status: {continuous: {}}
""")

_CASES = Template("""\
programme: $programme
cases:
  - case: a sale makes Silver until it has counted its twelve months
    events:
      - {kind: person.linked.v1, at: $year-01-05, person: A}
      - {kind: certification.earned.v1, at: $year-01-05, person: A, code: basics}
      - {kind: points.sold.v1, at: $year-02-01, client: C-1, line: suite, amount: 1200, currency: USD}
    ask: {as_of: $year-02-01, rulebook: $programme/$year}
    expect: {sold: 12, certified: 1, performance: Silver, tier_lost_at: $next-02-01, loss_requirement: sold}
    then:
      - {ask: {as_of: $next-02-01, rulebook: $programme/$year}, expect: {sold: 0, credited: none}}
""")


def rulebook(programme: str, year: int) -> str:
    """A rulebook that passes the linter."""
    return _BOOK.substitute(programme=programme, year=year)


def cases(programme: str, year: int) -> str:
    """Cases that it passes."""
    return _CASES.substitute(programme=programme, year=year, next=year + 1)

"""Importing: the example, and the whole of the real input against an independent computation."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "online-retail"
REAL = ROOT.parent / "shared" / "data" / "online_retail.csv.gz"


def points(path: Path, *words: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, ["--ledger", str(path), *words], catch_exceptions=False)


def test_the_example_accounts_for_every_line(tmp_path: Path) -> None:
    ledger, refused = tmp_path / "x.db", tmp_path / "refused.jsonl"
    words = ("import", str(EXAMPLE / "mapping.yaml"), str(EXAMPLE / "lines.csv"), "--refused", str(refused))
    first = points(ledger, *words)
    assert "8 lines: 6 accepted, 0 duplicates, 2 refused" in first.stderr and first.exit_code == 1
    told = {row["line"]: row["code"] for row in map(json.loads, refused.read_text().splitlines())}
    assert told == {8: "subject_missing", 9: "bad_time"}
    assert "8 lines: 0 accepted, 6 duplicates, 2 refused" in points(ledger, *words).stderr
    answer = points(ledger, "standing", "90001", "--rulebook", "points-2022", "--as-of", "2011-07-01", "-o", "json")
    sold = Fraction(json.loads(answer.stdout)["values"]["sold"])
    assert sold == (Fraction("15.30") + Fraction("27.12") - Fraction("5.10")) * 3 / Fraction("62.50")


BAD_MAPPINGS = [
    ("kind: points.sold.v1\n", "missing_key"),
    ("source: s\nkind: k\ntime: t\nid: nothing\n", "has no column"),
    ("source: s\nkind: k\ntime: invoice_date\ncolour: red\n", "unknown_key"),
    ("source: s\nkind: k\ntime: invoice_date\ndata: {a: {expression: 1 +}}\n", "bad_expression"),
    ("[", "not_yaml"),
]


@pytest.mark.parametrize(("text", "told"), BAD_MAPPINGS)
def test_a_bad_mapping_is_refused(tmp_path: Path, text: str, told: str) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(text)
    result = points(tmp_path / "x.db", "import", str(mapping), str(EXAMPLE / "lines.csv"))
    assert result.exit_code == 2 and told in result.stderr


DATES = ("2011-03-31", "2011-08-15", "2011-12-09", "2012-03-25", "2012-04-02", "2012-10-30")

ORACLE = """
create table lines as
select row_number() over () + 1 as n, customer_id as c, stock_code as s,
       timezone('Europe/London', cast(invoice_date as timestamp)) as sold_at,
       timezone('Europe/London', cast(invoice_date as timestamp) + interval 12 months) as own_end,
       quantity * cast(unit_price as decimal(18,3)) as amount
from read_csv('{file}', header=true, parallel=false, types={'customer_id': 'varchar', 'invoice': 'varchar', 'stock_code': 'varchar',
    'invoice_date': 'varchar', 'unit_price': 'decimal(18,3)'});
create table known as select * from lines where c is not null and c <> '';
create table sales as
select * from known where amount > 0;
create table credits as
select k.*, (select arg_max(p.own_end, (p.sold_at, p.n)) from sales p
             where p.c = k.c and p.s = k.s and (p.sold_at < k.sold_at or (p.sold_at = k.sold_at and p.n < k.n))) as sale_end
from known k where k.amount < 0;
create table ends as
select n, c, sold_at, amount, coalesce(sale_end, own_end) as until_ from credits
union all select n, c, sold_at, amount, own_end from known where amount >= 0;
"""

RISES = """
-- A score rises without an event only where credits leave that follow no sale, or are more than the sale with which they leave.
select e.c, epoch_us(e.until_) from ends e
where not exists (select 1 from known k where k.c = e.c and k.sold_at = e.until_) and e.until_ > e.sold_at
group by e.c, e.until_ having sum(e.amount) < 0
"""


@pytest.mark.skipif(not REAL.exists(), reason="the real input (online_retail.csv.gz) is not beside the checkout")
def test_the_real_input_against_an_independent_computation(tmp_path: Path) -> None:
    import duckdb

    from ledger.history import History
    from ledger.instants import parse
    from ledger.intake import utc_now
    from ledger.log import Log
    from ledger.projections.questions import Moment, Questions
    from ledger.projections.store import Store

    ledger = tmp_path / "retail.db"
    result = points(ledger, "import", str(EXAMPLE / "mapping.yaml"), str(REAL), "--refused", str(tmp_path / "refused.jsonl"))
    assert "541909 lines: 406829 accepted, 0 duplicates, 135080 refused" in result.stderr
    assert "135080 refused: subject_missing" in result.stderr

    oracle = duckdb.connect()
    oracle.execute("set timezone = 'UTC'")
    oracle.execute(ORACLE.replace("{file}", str(REAL)))
    questions = Questions(History(Log(ledger)), Store(ledger.with_suffix(".read.db")), utc_now)
    books = ("points-2022@Europe/London", "points-2024@Europe/London")
    expected = {}
    for day in DATES:
        at = f"timestamptz '{day}T00:00:00Z'"
        query = f"select c, sum(amount) from ends where sold_at <= {at} and until_ > {at} group by c"
        expected[day] = {c: Fraction(total) * 3 / Fraction("62.50") for c, total in oracle.execute(query).fetchall()}
    rises = oracle.execute(RISES).fetchall()
    partners = questions.history.partners()
    assert len(partners) == oracle.execute("select count(distinct c) from known").fetchone()[0]
    for i, partner in enumerate(partners):
        life = questions.life(partner, Moment(rulebook=books[i % 2]))
        for day in DATES:
            sold = life.values(parse(day))["sold"]
            assert sold == expected[day].get(partner, 0), (partner, day)
        assert _rises_without_an_event(life) == {at for c, at in rises if c == partner}, partner


def _rises_without_an_event(life) -> set[int]:  # type: ignore[no-untyped-def]
    effective = {sealed.event.effective_at for sealed in life.events}
    (performance,) = life.performances
    steps = zip(performance.instants[1:], performance.values, performance.values[1:], strict=False)
    return {at for at, before, after in steps if after[0] > before[0] and at not in effective}

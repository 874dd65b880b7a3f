"""The command `points`: composes objects from settings, one function for each verb, no logic.

Data goes to stdout, talk to stderr. Exit codes: 0 done, also where the reader of a pipe had enough; 1 something was refused, differs
or does not pass; 2 a usage, date or file that cannot be used; 3 not found; 4 a moment that cannot be served; 5 a rulebook that cannot
be used; 6 the log cannot be read or written; 7 a partner is parked; 8 Kafka cannot be reached or used; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from consumers import topics as stream_topics
from consumers.bus import InProcessBus
from consumers.expire import Expire
from consumers.project import Project
from consumers.relay import Relay
from ledger import audit, dates, demo, importing
from ledger import terminal as out
from ledger.directory import Directory
from ledger.errors import LedgerError, NotFound, Refusal, Refused, RulebookError
from ledger.events.envelope import decode, event
from ledger.guards import Associations
from ledger.history import History
from ledger.instants import DAY, Instant, day_start, day_text, text, to_datetime, zone_of
from ledger.intake import Accepted, Duplicate, Intake, Receipt, utc_now
from ledger.log import Log
from ledger.projections import dashboard as boards
from ledger.projections import spread
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules import book as books
from ledger.rules import golden, lint, scaffold
from ledger.rules.answers import AwardStanding, Cause, Lot, Progress, Standing, TierProgress
from ledger.rules.difference import difference
from ledger.rules.library import Library
from ledger.rules.reasons import Reason
from ledger.settings import Settings, collect_seldom
from ledger.streams import LEDGER

T = TypeVar("T")

REBUILD_FROM = 10_000
"""A gap of this many events is closed by a rebuild: each partner is then made once."""


class Ledger:
    """The parts of one ledger, put together."""

    def __init__(self, settings: Settings, *, create: bool = False, clock: Callable[[], Instant] = utc_now) -> None:
        self.settings = settings
        self.clock = clock
        self.log = Log(settings.path, create=create)
        since = settings.associations_from
        limits = None if since is None else Associations(day_start(since), settings.associations_at_most)
        self.intake = Intake(self.log, clock, limits)
        self.history = History(self.log)
        self.store = Store(settings.read_path)
        self.directory = Directory(settings.directory_path)
        self.bus = InProcessBus()
        self.project = Project(self.bus, self.history, self.store)

    def close(self) -> None:
        self.log.close()
        self.store.close()
        self.directory.close()

    def catch_up(self) -> None:
        """What is in the log and not yet in the read models, whoever left it there: relay, bus, project."""
        behind = self.log.head() - self.store.position()
        if behind < 0 or behind > REBUILD_FROM:
            with _bar("making the read models") as step:
                self.project.rebuild(step)
            return
        relay = Relay(self.log, self.bus, self.store.position())
        while relay.step():
            pass
        while self.project.step():
            pass

    def questions(self) -> Questions:
        self.catch_up()
        return Questions(self.history, self.store, self.clock)


# -- plumbing ----------------------------------------------------------------------------------------------------------


class Group(click.Group):
    """Errors of the ledger end in their words and their exit code, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except LedgerError as error:
            out.say(f"points: {error}")
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            out.hush()
            ctx.exit(0)
        except OSError as error:
            out.say(f"points: {error.filename or 'the output'}: {error.strerror} [no_access]")
            ctx.exit(2)
        except KeyboardInterrupt:
            out.say("points: stopped; what was recorded so far is safe")
            ctx.exit(130)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--ledger", "path", help="The ledger's file, or a postgresql:// URL (POINTS_LEDGER_PATH; default ledger.db).")
@click.version_option(package_name="points-ledger")
@click.pass_context
def main(ctx: click.Context, path: str | None) -> None:
    """A book of record for partner points that can explain itself.

    \b
    Dates: 2024-03-01, 2024-03, 2024-Q1, 2024, today, -30d, +3m, 2024-03-01T12:00:00Z.
    Exit codes: 0 done, 1 refused or different, 2 usage, 3 not found, 4 moment,
    5 rulebook, 6 log, 7 parked, 8 Kafka, 130 stopped.
    Completion: eval "$(_POINTS_COMPLETE=bash_source points)", or zsh_source, or
    _POINTS_COMPLETE=fish_source points | source
    """
    collect_seldom()
    ctx.obj = _settings(path)


def _settings(path: str | None) -> Settings:
    try:
        settings = Settings() if path is None else Settings(path=path)
    except ValueError as error:
        name, what = str(error).splitlines()[1:3]
        raise click.UsageError(f"POINTS_LEDGER_{name.upper()}: {what.strip()}") from None
    try:
        zone_of(settings.zone)
    except (KeyError, ValueError, OSError):
        raise click.UsageError(f"POINTS_LEDGER_ZONE: {settings.zone!r} is no time zone, such as Europe/London") from None
    return settings


@contextmanager
def _open(settings: Settings, *, create: bool = False) -> Iterator[Ledger]:
    ledger = Ledger(settings, create=create)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, shown only where somebody watches."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def step(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        yield step


def output(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-o", "--output", "form", type=click.Choice(out.FORMATS), default="table", show_default=True)(function)


def asked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every question: its moment and its form. The function gets `questions` and `moment`."""

    @output
    @click.option("--as-of", help="When in business: a date or moment; default now.")
    @click.option("--known-at", help="As known when: a bare number is a position, anything else a date; default all that is known.")
    @click.option("--rulebook", help="A rulebook for the whole history, e.g. points-2024 (or points-2024@Europe/London).")
    @click.option("--programme", help="The programme, where the partner is in several.")
    @click.option("--award", help="One award, where the rulebook has several, e.g. devops.")
    @click.pass_obj
    @wraps(function)
    def wrapped(
        settings: Settings,
        /,
        *args: Any,
        as_of: str | None,
        known_at: str | None,
        rulebook: str | None,
        programme: str | None,
        award: str | None,
        **kwargs: Any,
    ) -> Any:
        with _open(settings) as ledger:
            moment = replace(_moment(settings, ledger.clock(), as_of, known_at), rulebook=rulebook, programme=programme, award=award)
            return function(*args, questions=ledger.questions(), moment=moment, ledger=ledger, **kwargs)

    return wrapped


def _moment(settings: Settings, now: Instant, as_of: str | None, known_at: str | None) -> Moment:
    position = int(known_at) if known_at is not None and known_at.isdecimal() else None
    known_when = None if known_at is None or position is not None else dates.moment(known_at, now, settings.zone)
    when = None if as_of is None else dates.moment(as_of, now, settings.zone)
    return Moment(when, position, known_when)


def _name(ledger: Ledger, kind: str, id: str | None) -> str:
    """A name beside the id, where the directory has one."""
    return out.named(id or "", ledger.directory.get(kind, id).name if id is not None else None)


# -- writing -----------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--migrate", is_flag=True, help="Take recorded times from the events (recordedtime); into an empty ledger only.")
@output
@click.pass_obj
def record(settings: Settings, file: Any, migrate: bool, form: str) -> None:
    """Record events: CloudEvents in JSON, one a line. A receipt for each goes to stdout."""
    with _open(settings, create=True) as ledger:
        if file.isatty():
            out.say("events from here, CloudEvents in JSON, one a line; Ctrl-D ends them")
        lines, receipts = [(n, line) for n, line in enumerate(file.read().split(b"\n"), start=1) if line.strip()], list[Receipt]()
        for begin in range(0, len(lines), settings.batch_size):
            receipts += ledger.intake.record([line for _, line in lines[begin : begin + settings.batch_size]], migrate=migrate)
        ledger.catch_up()
        told = [_receipt(n, receipt) for (n, _), receipt in zip(lines, receipts, strict=True)]
        out.rows(("line", "receipt", "position", "code", "where", "reason", "hint"), told, form)
        _conclude(receipts)


def _receipt(line: int, receipt: Receipt) -> tuple[Any, ...]:
    match receipt:
        case Accepted(position=position):
            return line, "accepted", position, None, None, None, None
        case Duplicate(of=position):
            return line, "duplicate", position, None, None, None, None
        case _:
            refusal = receipt.refusal
            return line, "refused", None, refusal.code, refusal.where, refusal.reason, refusal.hint


def _conclude(receipts: list[Receipt]) -> None:
    accepted = sum(isinstance(receipt, Accepted) for receipt in receipts)
    duplicates = sum(isinstance(receipt, Duplicate) for receipt in receipts)
    refused = len(receipts) - accepted - duplicates
    out.say(f"{len(receipts)} received: {accepted} accepted, {out.many(duplicates, 'duplicate')}, {refused} refused")
    if refused:
        raise click.exceptions.Exit(1)


@main.command("import")
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--refused", "refused_path", type=click.Path(path_type=Path), help="Where refusals go; default FILE.refused.jsonl.")
@click.pass_obj
def import_(settings: Settings, mapping: Path, file: Path, refused_path: Path | None) -> None:
    """Import a CSV file (or .csv.gz) by a mapping. Run it again to go on where it stopped."""
    compiled = importing.load_mapping(mapping)
    if sys.stderr.isatty():
        out.say(f"reading {file}")
    lines = importing.load(compiled, file)
    target = refused_path or file.with_name(file.name + ".refused.jsonl")
    with _open(settings, create=True) as ledger, target.open("w", encoding="utf-8") as refusals:
        with click.progressbar(length=len(lines), label="recording", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def refused(line: importing.Line, refusal: Refusal) -> None:
                refusals.write(importing.refusal_line(line, refusal))

            counts = importing.record(lines, ledger.intake, settings.batch_size, refused, bar.update)
        ledger.catch_up()
    duplicates = out.many(counts.duplicates, "duplicate")
    out.say(f"{out.many(counts.received, 'line')}: {counts.accepted} accepted, {duplicates}, {counts.refused} refused")
    for code, count in sorted(counts.by_code.items()):
        out.say(f"  {count} refused: {code}")
    if not counts.refused and refused_path is None:
        target.unlink()
    if counts.refused:
        out.say(f"the refusals are in {target}")
        raise click.exceptions.Exit(1)


@main.group()
def override() -> None:
    """Grant, revoke and list exceptions. They have a reason and an end."""


def _decided(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--reason", required=True, help="Why.")(function)
    return click.option("--author", required=True, help="Who decides.")(function)


@override.command("grant")
@click.argument("partner")
@click.option("--tier", help="The tier that is granted, e.g. Gold.")
@click.option("--requirement", help="The requirement that counts as met, e.g. certified.")
@click.option("--measure", help="With --points: the measure that they are added to.")
@click.option("--points", help="So many points, e.g. 12.5.")
@click.option("--award", help="Of this award alone, where the rulebook has several.")
@click.option("--from", "since", default="now", show_default=True, help="The first instant at which it holds.")
@click.option("--until", required=True, help="The first instant at which it no longer holds: a date, or +3m.")
@click.option("--id", "identity", help="The override's id; default a new one.")
@click.option("--programme", help="The programme, where the partner is in several.")
@_decided
@click.pass_obj
def grant(settings: Settings, /, partner: str, since: str, until: str, identity: str | None, **data: Any) -> None:
    """Grant PARTNER a tier, a requirement or points, until a date."""
    now = utc_now()
    begin = dates.start(since, now, settings.zone)
    end = text(dates.start(until, begin if until.startswith("+") else now, settings.zone))
    with _open(settings) as ledger:
        _check_override(ledger.questions(), partner, Moment(as_of=begin, programme=data["programme"], award=data["award"]), data)
    identity = identity or f"override-{uuid.uuid4().hex[:12]}"
    made = event(
        "override.granted.v1", subject=partner, effective_at=begin, id=f"{identity}/granted", source="points/override",
        override=identity, until=end, **data,
    )  # fmt: skip
    _record_one(settings, made, f"{identity} granted until {end}")


def _check_override(questions: Questions, partner: str, moment: Moment, data: Mapping[str, str | None]) -> None:
    """The log takes any name, since it knows no rules; who types one here means one that the rulebook has."""
    if (data["points"] is None) != (data["measure"] is None):
        raise click.UsageError("--points and --measure go together: how many, and of what")
    book = questions.life(partner, moment).book(questions.as_of(moment))
    known = {
        "tier": list(book.ranks), "measure": list(book.measures),
        "requirement": sorted({need.name for tier in book.tiers for need in tier.needs}),
    }  # fmt: skip
    for what, names in known.items():
        if data[what] is not None and names and data[what] not in names:
            raise NotFound(f"{book.name} has no {what} {data[what]!r}", hint=f"it has {', '.join(names)}", code=f"unknown_{what}")


@override.command("revoke")
@click.argument("partner")
@click.argument("identity")
@click.option("--from", "since", default="now", show_default=True)
@_decided
@click.pass_obj
def revoke(settings: Settings, partner: str, identity: str, since: str, reason: str, author: str) -> None:
    """End an override of PARTNER before its time."""
    made = event(
        "override.revoked.v1", subject=partner, effective_at=dates.start(since, utc_now(), settings.zone), id=f"{identity}/revoked",
        source="points/override", override=identity, reason=reason, author=author,
    )  # fmt: skip
    _record_one(settings, made, f"{identity} revoked")


@override.command("list")
@click.argument("partner")
@click.option("--all", "every", is_flag=True, help="Also those that have ended or are still to come.")
@asked
def overrides(partner: str, every: bool, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The overrides of PARTNER in force at a moment."""
    begins = sorted({fact.start for fact in questions.life(partner, moment).facts.of("override")}) if every else [questions.as_of(moment)]
    found = list(dict.fromkeys(one for at in begins for one in questions.overrides(partner, replace(moment, as_of=at))))
    lines = [(o.override, o.target, out.when(o.since), out.when(o.until), o.reason, o.author, o.position) for o in found]
    out.rows(("override", "target", "from", "until", "reason", "author", "position"), lines, form, found)


@main.command()
@click.argument("position", type=int)
@_decided
@click.pass_obj
def reverse(settings: Settings, position: int, reason: str, author: str) -> None:
    """Undo the event at POSITION by another one. Nothing is edited or deleted."""
    with _open(settings) as ledger:
        target = ledger.history.get(position).event
        source, identity = target.cause.split(" ", 1) if target.source == "ledger" and target.cause else (target.source, target.id)
    made = event(
        "event.reversed.v1", subject=target.subject, effective_at=utc_now(), id=f"reversal of {source} {identity}"[:200],
        source="points/reverse", reverses={"source": source, "id": identity}, reason=reason, author=author,
    )  # fmt: skip
    _record_one(settings, made, f"{source} {identity} reversed")


def _record_one(settings: Settings, made: Any, done: str, *, create: bool = False) -> None:
    with _open(settings, create=create) as ledger:
        (receipt,) = ledger.intake.record([made])
        if not isinstance(receipt, Accepted | Duplicate):
            out.say(f"points: refused: {receipt.refusal}")
            raise click.exceptions.Exit(1)
        ledger.catch_up()
        at = receipt.position if isinstance(receipt, Accepted) else receipt.of
        out.say(f"{done}: {'accepted' if isinstance(receipt, Accepted) else 'recorded before'} at position {at}")


@main.command()
@click.option("--until", default="now", show_default=True, help="Announce what has ended up to this moment.")
@click.pass_obj
def expire(settings: Settings, until: str) -> None:
    """Announce expired lots and lapsed overrides. One event for each partner and instant; they decide nothing."""
    with _open(settings) as ledger:
        receipts = Expire(ledger.history, ledger.intake).step(dates.moment(until, ledger.clock(), settings.zone))
        ledger.catch_up()
        out.say(f"{out.many(sum(isinstance(receipt, Accepted) for receipt in receipts), 'announcement')} recorded")


# -- one partner -------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("partner")
@click.option("--goal", help="A tier to measure progress against.")
@asked
def standing(partner: str, goal: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Score, tiers, risk and progress of PARTNER at a moment."""
    answer = questions.standing(partner, moment, goal=goal)
    if form == "table":
        _show_standing(ledger, answer)
    else:
        out.emit(answer, form)


def _show_standing(ledger: Ledger, answer: Standing) -> None:
    _show_basis(ledger, answer)
    if answer.awards:
        _show_awards(answer.awards)
    else:
        _show_tiers(answer)
    out.line()
    _show_values(answer)
    tracks = [("to keep", answer.keep), ("next", answer.next), ("goal", answer.goal)]
    if len(answer.options) > 1:
        tracks = [*tracks[:1], *[("next" if answer.goal is None else "goal", option) for option in answer.options]]
    for label, track in tracks:
        if track is not None:
            _show_track(label, track)
    if answer.parked:
        out.say(f"points: parked: {answer.parked}")


def _show_values(answer: Standing) -> None:
    """Of many values those that are not 0."""
    shown = {name: value for name, value in answer.values.items() if value or len(answer.values) <= 24}
    if shown:
        out.table(("measure", "value", "unit"), [(name, value, answer.units.get(name, "")) for name, value in shown.items()])
    if len(shown) < len(answer.values):
        out.line(f"{len(answer.values) - len(shown)}{' others' if shown else ' values'} are 0 (-o json has all)")


def _show_awards(awards: Sequence[AwardStanding]) -> None:
    """Those that have come somewhere; the rest is counted."""
    begun = [award for award in awards if award.status != "none"]
    lines = [
        (a.award, a.group, a.status, a.credited or "none", a.performance or "none", a.option, out.when(a.credited_since),
         out.when(a.anniversary))
        for a in begun
    ]  # fmt: skip
    if lines:
        out.table(("award", "group", "status", "credited", "performance", "option", "since", "anniversary"), lines)
    if len(begun) < len(awards):
        others = out.many(len(awards) - len(begun), "other award" if begun else "award")
        out.line(f"{others}: nothing of what is asked for is there; --award NAME shows one in full")


def _show_tiers(answer: Standing) -> None:
    if answer.award is not None:
        award = answer.award
        coming = f", anniversary {out.when(award.anniversary)}" if award.anniversary is not None else ""
        out.line(f"award             {award.award}: {award.status}{f' by {award.option}' if award.option else ''}{coming}")
    out.line(f"credited tier     {answer.credited or 'none'}{_since(answer)}")
    out.line(f"performance tier  {answer.performance or 'none'}")
    bare = answer.without_overrides
    if answer.overrides or (bare.credited, bare.performance) != (answer.credited, answer.performance):
        out.line(f"without overrides {bare.credited or 'none'} (performance {bare.performance or 'none'})")
    if answer.at_risk is not None:
        risk = answer.at_risk
        out.line(f"at risk           since {out.when(risk.since)}: {risk.why}")
        _show_cause(risk.cause, answer.basis.as_of)
    elif answer.credited is not None:
        out.line("at risk           no")
    if answer.tier_lost_at is not None:
        lost = answer.tier_lost_at
        out.line(f"tier lost at      {out.when(lost.at)}, to {lost.falls_to or 'none'}, if nothing more happens ({_why(lost.how)})")
        _show_cause(lost.cause, answer.basis.as_of, lost.at)
    elif answer.credited is not None:
        out.line("tier lost at      never, by what is known")


def _show_basis(ledger: Ledger, answer: Standing) -> None:
    on = answer.basis
    out.line(f"{_name(ledger, 'partner', on.partner)}  as of {out.when(on.as_of)}, known at position {on.known_at}")
    forecast = f", foreseen from {out.when(on.foreseen_from)}" if on.foreseen_from is not None else ""
    out.line(f"by {on.book} ({on.book_hash[:12]}, language {on.language}){forecast}")
    out.line()


def _since(answer: Standing) -> str:
    return f" since {out.when(answer.credited_since)} ({_why(answer.credited_because)})" if answer.credited_since is not None else ""


def _why(step: str) -> str:
    return {"required": "a required condition is not met", "dropped": "not met at any checkpoint of the window"}.get(step, step)


def _show_cause(cause: Cause | None, as_of: Instant, lost_at: Instant | None = None) -> None:
    """The requirement that fails, from when, how much is missing, and what takes it away."""
    if cause is None:
        return
    fails = f"fails on {out.when(cause.at)}" if cause.at > as_of else "fails" if cause.at == as_of else f"fails since {out.when(cause.at)}"
    by = f" by {out.when(lost_at)}" if lost_at is not None and lost_at != cause.at else ""
    short = f"{out.number(cause.missing)} missing" if cause.missing else "more is needed"
    there = f": {out.number(cause.value)} of {out.number(cause.threshold)}{by}, {short}"
    out.line(f"                  {cause.requirement} {fails}{there if cause.value is not None else ''}")
    for lot in cause.lots[:5]:
        ends = f"{'ends' if lot.until > as_of else 'ended'} {out.when(lot.until)}"
        out.line(f"                    {out.number(lot.value)} of {lot.about} (position {lot.position}) {ends}")
    if len(cause.lots) > 5:
        out.line(f"                    and {len(cause.lots) - 5} more")


def _note(row: Progress) -> str:
    """Where a value has to be above what it is equal to, no number says what is missing."""
    more = not row.met and row.value is not None and row.value == row.threshold
    return "override" if row.overridden else "more is needed" if more else "assumed" if row.assumed else ""


def _show_track(label: str, track: TierProgress) -> None:
    out.line()
    out.table(
        ("requirement", "there", "needed", "missing", "met", "note"),
        [(p.text, p.value, p.threshold, p.missing if p.met or p.missing else None, p.met, _note(p)) for p in track.requirements],
        f"{label}: {track.tier}{f' by {track.option}' if track.option else ''}",
    )


@main.command()
@click.argument("partner")
@click.option("--goal", help="Explain the requirements of this tier.")
@click.option("--number", "name", help="Explain one measure or number only.")
@asked
def why(partner: str, goal: str | None, name: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Why PARTNER stands as it does. Every number down to events and rows of the rulebook."""
    answer = questions.why(partner, moment, goal=goal)
    if name is not None and name not in answer.reasons:
        raise NotFound(f"there is no number {name!r}", hint=f"there are {', '.join(answer.reasons)}", code="unknown_number")
    if form != "table":
        out.emit(answer if name is None else {"basis": answer.standing.basis, "number": name, "reason": answer.reasons[name]}, form)
        return
    _show_basis(ledger, answer.standing)
    if name is not None:
        out.tree(answer.reasons[name], limit=100)
        return
    out.line(f"credited {answer.standing.credited or 'none'}, performance {answer.standing.performance or 'none'}")
    if answer.standing.awards:
        out.line("--award NAME explains an award, --number NAME a number; -o json has all")
    for step in answer.steps:
        out.line(f"  {out.when(step.start)}  credited {step.credited or 'none'}: {_why(step.because)} ({step.book})")
    for seen in answer.checkpoints[-6:]:
        what = "review" if seen.review else "checkpoint"
        out.line(
            f"  {out.when(seen.at)}  {what}: performance {seen.performance or 'none'}, credited {seen.credited or 'none'} {seen.verdict}"
        )
    told, number = set[Reason](), _score(answer.reasons)
    for label, reason in answer.requirements.items():
        out.line()
        out.line(label)
        out.tree(reason, 1, told=told)
    if not answer.requirements and number is not None:
        out.line()
        out.tree(number, limit=100)


@main.command()
@click.argument("partner")
@click.option("--from", "since", help="Begin here; default the partner's first event.")
@click.option("--until", help="End here; default when nothing changes any more.")
@asked
def timeline(partner: str, since: str | None, until: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Tiers and scores of PARTNER in stretches, past and foreseen."""
    zone, now = ledger.settings.zone, ledger.clock()
    begin = None if since is None else dates.start(since, now, zone)
    end = None if until is None else dates.moment(until, now, zone) + 1
    found = questions.timeline(partner, moment, since=begin, until=end)
    names = _main_values(i.values for i in found)
    lines = [
        (out.when(i.start), out.when(i.end), i.credited or "none", i.performance or "none", *[i.values.get(name) for name in names],
         i.book, _why(i.because), "foreseen" if i.foreseen else "")
        for i in found
    ]  # fmt: skip
    columns = ("from", "until", "credited", "performance", *names, "rulebook", "because", "foreseen")
    out.rows(columns, _stretches(lines) if form == "table" else lines, form, found)


def _stretches(lines: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Lines that follow each other and show the same are one."""
    found: list[tuple[Any, ...]] = []
    for begin, end, *shown, because, foreseen in lines:
        if found and not because and found[-1][2:] == (*shown, found[-1][-2], foreseen):
            found[-1] = (found[-1][0], end, *found[-1][2:])
        else:
            found.append((begin, end, *shown, because, foreseen))
    return found


def _main_values(found: Iterable[Mapping[str, Fraction]]) -> list[str]:
    present = set[str]().union(*found)
    return [name for name in ("sold", "sourced", "managed", "total", "score") if name in present]


@main.command()
@click.argument("partner")
@click.option("--from", "since", help="Begin here.")
@asked
def history(partner: str, since: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Every event of PARTNER, with score and tier before and after."""
    begin = None if since is None else dates.start(since, ledger.clock(), ledger.settings.zone)
    found = questions.past(partner, moment) if begin is None else questions.past(partner, moment, since=begin)
    lines = [
        (row.position, out.when(row.effective_at), out.when(row.recorded_at), row.kind, row.about, "reversed" if row.reversed else "",
         _score(row.before), _score(row.after), row.credited_before or "none", row.credited_after or "none")
        for row in found
    ]  # fmt: skip
    columns = ("position", "effective", "recorded", "kind", "about", "reversed", "before", "after", "tier before", "tier after")
    out.rows(columns, lines, form, found)


def _score(values: Mapping[str, T]) -> T | None:
    """The number by which a partner is ranked."""
    return next((values[name] for name in ("total", "score", *values) if name in values), None)


@main.command()
@click.argument("partner")
@click.option("--deal-type", help="Only this deal type, e.g. sourced.")
@click.option("--market", help="Only this market type, e.g. growth or other.")
@click.option("--measure", help="Only this measure, e.g. sold.")
@click.option("--ending", help="Only lots that count now and end by this date, the next one first.")
@click.option("--lots", "show_lots", is_flag=True, help="Each lot with its state.")
@click.option("--months", "by_month", is_flag=True, help="By month instead: six back, three ahead.")
@asked
def breakdown(
    partner: str, deal_type: str | None, market: str | None, measure: str | None, ending: str | None, show_lots: bool, by_month: bool,
    questions: Questions, moment: Moment, ledger: Ledger, form: str,
) -> None:  # fmt: skip
    """Points of PARTNER by client, lot or month. A lot is active, pending, expired, lost or reversed."""
    if by_month:
        _show_months(boards.months_of(questions.months(partner, moment)), form)
        return
    _, found = questions.breakdown(partner, moment, deal_type=deal_type, market=market, measure=measure)
    if ending is not None:
        end = dates.ahead(ending, questions.as_of(moment), ledger.settings.zone)
        _show_lots(ledger, boards.ending(found, end), form)
        return
    if show_lots or form == "csv":
        _show_lots(ledger, [lot for row in found for lot in row.lots], form)
        return
    measures = sorted({name for row in found for name in row.totals})
    lines = [(_name(ledger, "client", row.client), *[row.totals.get(n, Fraction(0)) for n in measures], len(row.lots)) for row in found]
    out.rows(("client", *measures, "lots"), lines, form, found)


def _show_lots(ledger: Ledger, found: Sequence[Lot], form: str) -> None:
    lines = [
        (_name(ledger, "client", lot.client), lot.position, lot.measure, lot.line, lot.deal_type, lot.market, lot.amount, lot.currency,
         lot.value, out.when(lot.start), out.when(lot.end), lot.state, "yes" if lot.assumed else "")
        for lot in found
    ]  # fmt: skip
    columns = (
        "client", "position", "measure", "line", "deal", "market", "amount", "currency", "points", "from", "until", "state", "assumed",
    )  # fmt: skip
    out.rows(columns, lines, form, found)


def _show_months(found: Sequence[boards.Month], form: str, title: str = "") -> None:
    names = _main_values(month.values for month in found)
    lines = [(day_text(m.at)[:7], *[m.values.get(name) for name in names], "foreseen" if m.foreseen else "") for m in found]
    out.rows(("month", *names, "foreseen"), lines, form, found, title)


@main.command()
@click.argument("partner")
@click.argument("period")
@asked
def changes(partner: str, period: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER gained and lost in PERIOD, and why. A period is 2024, 2024-Q1, 2024-03 or 2024-01..2024-03."""
    since, until = dates.period(period, ledger.clock(), ledger.settings.zone)
    found = questions.changes(partner, moment, since, until)
    if form in ("json", "jsonl"):
        out.emit(found, form)
        return
    lines = [(out.when(c.at), c.measure, c.delta, c.cause, _name(ledger, "client", c.client), c.position, c.about) for c in found.changes]
    out.rows(("when", "measure", "change", "cause", "client", "position", "about"), lines, form)
    if form == "table":
        out.line()
        out.table(("measure", "before", "after"), [(name, value, found.after[name]) for name, value in found.before.items()])


@main.command()
@click.argument("partner")
@click.option("--goal", help="A tier to measure progress against.")
@asked
def dashboard(partner: str, goal: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What a partner sees: tier, progress, clients, renewals, team."""
    answer = questions.standing(partner, moment, goal=goal)
    board = boards.dashboard(questions.life(partner, moment), answer, questions.months(partner, moment))
    if form != "table":
        out.emit(board, form)
        return
    _show_standing(ledger, answer)
    out.line()
    alerts = f"{out.many(board.renewals_due, 'renewal decision')} due within 90 days; {'' if board.certified else 'not '}certified"
    out.line(f"{alerts}; median tool usage {out.number(board.median_tool_usage) or 'none'}")
    out.line()
    _show_clients(ledger, board.clients, form)
    out.line()
    _show_renewals(ledger, board.renewals)
    out.line()
    _show_team(ledger, board.team, form)
    if _main_values(month.values for month in board.months):
        out.line()
        _show_months(board.months, form, "points by month")


def _show_renewals(ledger: Ledger, found: Sequence[boards.Renewal]) -> None:
    lines = [
        (r.decision_due_on, r.due, r.renews_on, _name(ledger, "client", r.client), r.subscription, r.line, r.mrr, r.currency, r.owner,
         _name(ledger, "contact", r.manager))
        for r in found
    ]  # fmt: skip
    columns = ("decision due", "due now", "renews", "client", "subscription", "line", "MRR", "currency", "owner", "manager")
    out.table(columns, lines, "renewals")


@main.command()
@click.argument("partner")
@asked
def clients(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The clients of PARTNER: products, relationship, usage, MRR."""
    _show_clients(ledger, boards.clients(questions.life(partner, moment), questions.as_of(moment)), form)


def _show_clients(ledger: Ledger, found: Sequence[boards.Client], form: str) -> None:
    lines = [
        (_name(ledger, "client", c.client), c.association, c.country, c.products, c.usage, c.engagement,
         tuple(f"{out.number(v)} {k}" for k, v in c.mrr.items()), c.managed, out.when(c.since))
        for c in found
    ]  # fmt: skip
    columns = ("client", "relationship", "country", "products", "apps used", "engagement", "MRR", "managed", "since")
    out.rows(columns, lines, form, found, "clients")


@main.command()
@click.argument("partner")
@click.argument("client_id", metavar="CLIENT")
@asked
def client(partner: str, client_id: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """One client of PARTNER in full."""
    found = boards.client_in_full(questions.life(partner, moment), client_id, questions.as_of(moment))
    entry = ledger.directory.get("client", client_id)
    if form != "table":
        out.emit({"directory": entry._asdict(), **out.plain(found)}, form)
        return
    _show_clients(ledger, [found.client], form)
    out.line()
    out.line(f"links: CRM record {entry.crm_record or 'none'}, account {entry.account or 'none'}")
    out.line(f"users: {', '.join(found.users) or 'none'}; usage: {', '.join(f'{k} {v}' for k, v in found.usage.items()) or 'none'}")
    subscriptions = [
        (s.subscription, s.line, s.edition, s.mrr, s.currency, s.contact_tier, s.email_tier, s.apps, out.when(s.since))
        for s in found.subscriptions
    ]
    columns = ("subscription", "line", "edition", "MRR", "currency", "contact tier", "e-mail tier", "apps", "since")
    out.line()
    out.table(columns, subscriptions, "subscriptions")
    out.line()
    _show_renewals(ledger, found.renewals)
    lots = found.points.lots if found.points is not None else ()
    lines = [(lot.measure, lot.line, lot.value, out.when(lot.start), out.when(lot.end), lot.state) for lot in lots]
    out.line()
    out.table(("measure", "line", "points", "from", "until", "state"), lines, "sold and managed points")


@main.command()
@click.argument("partner")
@asked
def team(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The people of PARTNER, and those who look after it."""
    _show_team(ledger, boards.team(questions.life(partner, moment), questions.as_of(moment)), form)


def _show_team(ledger: Ledger, found: boards.Team, form: str) -> None:
    lines = [
        (kind, _name(ledger, kind, m.id), m.role, m.duties, m.certificates, ledger.directory.get(kind, m.id).email, out.when(m.since))
        for kind, members in (("person", found.people), ("contact", found.contacts)) for m in members
    ]  # fmt: skip
    out.rows(("kind", "who", "role", "duties", "certificates", "e-mail", "since"), lines, form, title="team" if form == "table" else "")


@main.command()
@click.argument("partner")
@click.argument("file", type=click.File("rb"))
@click.option("--goal", help="A tier to measure progress against.")
@asked
def simulate(partner: str, file: Any, goal: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """PARTNER's standing if the events of FILE were recorded. CloudEvents in JSON, one a line (- is stdin); nothing is recorded."""
    supposed = []
    for number, line in enumerate(file, start=1):
        made = decode(line) if line.strip() else None
        if isinstance(made, Refusal):
            raise Refused(replace(made, reason=f"line {number}: {made.reason}"))
        if made is not None:
            supposed.append(made)
    before, after = questions.simulate(partner, moment, supposed, goal=goal)
    if form != "table":
        out.emit({"before": before, "after": after}, form)
        return
    _show_basis(ledger, before)
    out.line(f"supposed: {out.many(len(supposed), 'event')}")
    names = [name for name in after.values if before.values.get(name) != after.values[name]]
    lines: list[tuple[Any, ...]] = [
        ("credited", before.credited or "none", after.credited or "none"),
        ("performance", before.performance or "none", after.performance or "none"),
        ("at risk", before.at_risk is not None, after.at_risk is not None),
        ("tier lost at", *[out.when(each.tier_lost_at.at) if each.tier_lost_at else "never" for each in (before, after)]),
        *[(f"{b.award} {what}", getattr(b, what) or "none", getattr(a, what) or "none")
          for b, a in zip(before.awards, after.awards, strict=True) for what in ("credited", "performance", "status")
          if getattr(b, what) != getattr(a, what)],
        *[(name, before.values.get(name), after.values[name]) for name in names],
    ]  # fmt: skip
    out.table(("what", "as it is", "as it would be"), lines)


# -- many partners -----------------------------------------------------------------------------------------------------


@main.command()
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@click.option("--tier", help="Only this credited tier.")
@asked
def ranking(limit: int | None, tier: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """All partners by score; shared places are 1, 2, 2, 4."""
    names = {entry.id: entry.name for entry in ledger.directory.all("partner") if entry.name is not None}
    rows = questions.ranking(moment, names)
    found = [row for row in rows if tier in (None, row.credited)][:limit]
    lines = [
        (r.place, out.named(r.partner, names.get(r.partner)), r.score, r.points.get("sold"), r.points.get("managed"),
         r.credited or "none", r.performance or "none", r.parked or "")
        for r in found
    ]  # fmt: skip
    out.rows(("place", "partner", "score", "sold", "managed", "credited", "performance", "parked"), lines, form, found)
    _say_parked(row.partner for row in rows if row.parked)


def _say_parked(partners: Iterable[str]) -> None:
    """What a list of many leaves open, so that nobody takes it for whole."""
    named = sorted(set(partners))
    if named:
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        out.say(f"points: {len(named)} parked, and not judged: {', '.join(named[:3])}{more}; ask for the standing of each to see why")


@main.command("at-risk")
@click.option("--within", default="180d", show_default=True, help="Also tiers that will be lost within this time, or by this date.")
@click.option("--processes", type=click.IntRange(1), help="How many ask; default one for each core, where there are many partners.")
@asked
def at_risk(within: str, processes: int | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Who is at risk, or loses a tier soon if nothing more happens."""
    until = dates.ahead(within, questions.as_of(moment), ledger.settings.zone)
    partners = ledger.history.partners()
    if processes is None:
        processes = os.cpu_count() or 1 if len(partners) >= spread.WORTH_WHILE else 1
    with _bar("asking every partner") as step:
        if processes > 1:
            fixed = replace(moment, as_of=questions.as_of(moment), known_at=questions.position(moment), known_when=None)
            others = partial(_questions_of, ledger.settings, ledger.clock())
            found = list(spread.at_risk(others, partners, fixed, processes, lambda done: step(done, len(partners))))
        else:
            done = iter(range(1, 1 << 62))
            found = list(questions.at_risk(moment, partners, lambda _: step(next(done), len(partners))))
    found = [e for e in found if e.at_risk is not None or e.parked or (e.tier_lost_at is not None and e.tier_lost_at.at < until)]
    lines = []
    for e in found:
        cause = (e.tier_lost_at.cause if e.tier_lost_at else None) or (e.at_risk.cause if e.at_risk else None)
        lost = e.tier_lost_at
        lines.append(
            (_name(ledger, "partner", e.partner), e.award, e.credited or "none", e.performance or "none",
             out.when(e.at_risk.since) if e.at_risk else "", out.when(lost.at) if lost else "", lost.falls_to or "none" if lost else "",
             cause.requirement if cause else "", out.when(cause.at) if cause else "", cause.missing if cause else None, e.parked or "")
        )  # fmt: skip
    columns = (
        "partner", "award", "credited", "performance", "at risk since", "tier lost at", "falls to", "requirement", "fails from", "missing",
        "parked",
    )  # fmt: skip
    out.rows(columns, lines, form, found)
    _say_parked(e.partner for e in found if e.parked)


def _questions_of(settings: Settings, now: Instant) -> Questions:
    """Those of another process, by the clock of the first; the read models are there already."""
    collect_seldom()
    ledger = Ledger(settings, clock=lambda: now)
    return Questions(ledger.history, ledger.store, ledger.clock)


# -- kafka -------------------------------------------------------------------------------------------------------------


@main.group()
def topics() -> None:
    """Make and check the topics on Kafka."""


def _connection(settings: Settings) -> Any:
    from consumers.kafka_bus import Connection

    if settings.kafka is None:
        raise click.UsageError("no brokers are named: set POINTS_LEDGER_KAFKA to host:port")
    servers = tuple(server.strip() for server in settings.kafka.split(",") if server.strip())
    return Connection(
        servers, settings.kafka_protocol, settings.kafka_mechanism, settings.kafka_username, settings.kafka_password_file,
        settings.kafka_ca_file,
    )  # fmt: skip


@topics.command("create")
@click.pass_obj
def topics_create(settings: Settings) -> None:
    """Make the topics that are not there. One that is there is left as it is, and checked."""
    from consumers.kafka_bus import Admin

    with Admin(_connection(settings)) as admin:
        for topic in stream_topics.wanted(settings.topics, settings.partitions):
            made = admin.create(topic, settings.replicas)
            out.say(f"{topic.name}: {'made' if made else 'is there already'}")
        _check_topics(settings, admin)


@topics.command("check")
@click.pass_obj
def topics_check(settings: Settings) -> None:
    """Whether the topics are as they must be. Exits 1 where a setting would lose events."""
    from consumers.kafka_bus import Admin

    with Admin(_connection(settings)) as admin:
        _check_topics(settings, admin)


def _check_topics(settings: Settings, admin: Any) -> None:
    needed = stream_topics.wanted(settings.topics, settings.partitions)
    there = admin.find([topic.name for topic in needed])
    faults = [fault for topic in needed for fault in stream_topics.faults(topic, there.get(topic.name))]
    for fault in faults:
        click.echo(f"{'' if fault.loses else 'note: '}{fault}")
    losing = sum(fault.loses for fault in faults)
    out.say(f"{out.many(len(needed), 'topic')}: {out.many(losing, 'fault')}, {out.many(len(faults) - losing, 'note')}")
    if losing:
        raise click.exceptions.Exit(1)


# -- rulebooks ---------------------------------------------------------------------------------------------------------


@main.group()
def rules() -> None:
    """Write, compare, test and publish rulebooks."""


def _library(settings: Settings) -> Library:
    """Shipped rulebooks, and published ones where there is a ledger."""
    try:
        with _open(settings) as ledger:
            return Library(ledger.history.published())
    except NotFound:
        return Library()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RulebookError(f"{path} is no text in UTF-8: {error.reason}", hint="rulebooks and cases are YAML", code="not_yaml") from None


@rules.command("list")
@output
@click.pass_obj
def rules_list(settings: Settings, form: str) -> None:
    """Every rulebook at hand, with its date and hash."""
    found = _library(settings).books()
    lines = [(b.name, b.programme, out.when(b.effective), b.language, out.Told(b.hash[:12], b.hash), b.label) for b in found]
    out.rows(("rulebook", "programme", "in force from", "language", "hash", "label"), lines, form)


@rules.command("show")
@click.argument("name")
@click.pass_obj
def rules_show(settings: Settings, name: str) -> None:
    """The text of a rulebook."""
    click.echo(_library(settings).book(name).text, nl=False)


@rules.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def rules_lint(files: tuple[Path, ...]) -> None:
    """Check rulebooks. Errors cannot be right, warnings are odd; exits 1 on errors."""
    problems = [(file, problem) for file in files for problem in lint.lint(file.read_bytes(), file.name)]
    for file, problem in problems:
        click.echo(f"{file}: {problem}")
    errors = sum(problem.severity == "error" for _, problem in problems)
    out.say(f"{out.many(len(files), 'rulebook')}: {out.many(errors, 'error')}, {out.many(len(problems) - errors, 'warning')}")
    if errors:
        raise click.exceptions.Exit(1)


@rules.command("test")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--book", "drafts", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A rulebook to try.")
@click.pass_obj
def rules_test(settings: Settings, paths: tuple[Path, ...], drafts: tuple[Path, ...]) -> None:
    """Run golden cases, in files or folders. Default those that ship; exits 1 with the differences."""
    library = _with(_library(settings), [books.load(_text(draft), name=draft.name) for draft in drafts])
    files = [file for path in paths or (Path(books.__file__).parent / "books",) for file in _golden_files(path)]
    cases = expectations = failed = 0
    for file in files:
        outcome = golden.run(_text(file), str(file), library)
        cases, expectations = cases + outcome.cases, expectations + outcome.expectations
        for mismatch in outcome.mismatches:
            failed += 1
            click.echo(str(mismatch))
    told = [out.many(len(files), "file"), out.many(cases, "case"), out.many(expectations, "expectation")]
    out.say(f"{', '.join(told)}: {failed} not met")
    if failed or not files:
        raise click.exceptions.Exit(1)


def _golden_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    inside = sorted(path.rglob("*.yaml"))
    return [file for file in inside if file.parent.name == "golden"] or inside


def _with(library: Library, drafts: list[books.Book]) -> Library:
    """The rulebooks at hand, and drafts in place of those of the same name."""
    named = {draft.name for draft in drafts}
    return Library(books=[*(book for book in library.books() if book.name not in named), *drafts]) if drafts else library


@rules.command("diff")
@click.argument("old")
@click.argument("new")
@output
@click.pass_obj
def rules_diff(settings: Settings, old: str, new: str, form: str) -> None:
    """What a rulebook says that another does not, in words. OLD and NEW are names or files. Exits 1 if they differ."""
    library = _library(settings)
    found = difference(_book(library, old), _book(library, new))
    out.rows(("part", "what"), [(each.part, each.what) for each in found], form, found)
    if found:
        raise click.exceptions.Exit(1)


def _book(library: Library, name: str) -> books.Book:
    """A rulebook by its name, or in a file."""
    path = Path(name)
    return books.load(_text(path), name=path.name) if path.is_file() else library.book(name)


@rules.command("impact")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@output
@click.pass_obj
def rules_impact(settings: Settings, file: Path, form: str) -> None:
    """Whose credited tier FILE would change, and from when. As if it were published; nothing is recorded."""
    book = books.load(_text(file), name=file.name)
    with _open(settings) as ledger:
        ledger.catch_up()
        with _bar("asking every partner") as step:
            total, done = len(ledger.history.partners()), iter(range(1, 1 << 62))
            found = list(ledger.questions().impact(book, Moment(), lambda _: step(next(done), total)))
        changed = [i for i in found if i.at is not None]
        lines = [
            (_name(ledger, "partner", i.partner), i.award, out.when(i.at) if i.at is not None else "", i.before or "none",
             i.after or "none", i.parked or "")
            for i in found
        ]  # fmt: skip
        out.rows(("partner", "award", "from", "credited", "would be", "parked"), lines, form, found)
        out.say(f"{len({i.partner for i in changed})} of {total} partners would be credited differently by {book.name}")
        _say_parked(i.partner for i in found if i.parked)


@rules.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--programme", required=True, help="The programme that it is for.")
def rules_new(file: Path, programme: str) -> None:
    """Begin a rulebook in FILE, with golden cases beside it. Both pass as they are, and are there to be changed."""
    cases = file.with_name(f"{file.stem}-cases.yaml")
    for path in (file, cases):
        if path.exists():
            raise click.BadParameter(f"{path} is there already")
    year = to_datetime(utc_now()).year
    books.load(scaffold.rulebook(programme, year), name=file.name)
    file.write_text(scaffold.rulebook(programme, year), "utf-8")
    cases.write_text(scaffold.cases(programme, year), "utf-8")
    out.say(f"{file} and {cases} written; go on with: points rules test {cases} --book {file}")


@rules.command("publish")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--author", required=True)
@click.option("--golden", "cases", multiple=True, type=click.Path(exists=True, path_type=Path), help="Golden cases that must pass.")
@click.pass_obj
def rules_publish(settings: Settings, file: Path, author: str, cases: tuple[Path, ...]) -> None:
    """Publish a rulebook as an event in the log. Refused on lint errors, failing golden cases, or none."""
    files = [found for path in cases for found in _golden_files(path)]
    if not files:
        raise RulebookError(
            f"{file} comes without golden cases", hint="name cases that say what must come out: --golden FILE", code="golden_missing"
        )
    written = _text(file)
    errors = [problem for problem in lint.lint(written, file.name) if problem.severity == "error"]
    for problem in errors:
        click.echo(f"{file}: {problem}")
    book = books.load(written, name=file.name)
    known = _with(_library(settings), [book])
    failed = [m for f in files for m in golden.run(_text(f), str(f), known).mismatches]
    for mismatch in failed:
        click.echo(str(mismatch))
    if errors or failed:
        raise click.exceptions.Exit(1)
    made = event(
        "rulebook.published.v1", effective_at=utc_now(), id=f"{book.name} {book.hash[:16]}", source="points/rules", book=book.name,
        programme=book.programme, effective=day_text(book.effective)[:10], hash=book.hash, text=written, author=author,
    )  # fmt: skip
    _record_one(settings, made, f"{book.name} published, hash {book.hash}", create=True)


# -- keeping -----------------------------------------------------------------------------------------------------------


@main.command()
@click.pass_obj
def rebuild(settings: Settings) -> None:
    """Make the read models anew from the log."""
    with _open(settings) as ledger, _bar("rebuilding") as step:
        out.say(f"{ledger.project.rebuild(step)} partners rebuilt at position {ledger.store.position()}")


@main.command()
@click.pass_obj
def verify(settings: Settings) -> None:
    """Check that log and read models are what they should be. Exits 1 and names the first differences."""
    with _open(settings) as ledger:
        ledger.catch_up()
        with _bar("verifying") as step:
            found = list(audit.audit(ledger.log, ledger.store, step))
        for finding in found:
            click.echo(f"{'note: ' if finding.note else ''}{finding.code}: {finding.where}: {finding.found}")
        wrong = sum(not finding.note for finding in found)
        out.say(f"{ledger.log.head()} events, {len(ledger.history.partners())} partners: {wrong} differences")
    if wrong:
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--partner", help="One partner's events only.")
@click.option("--sealed", is_flag=True, help="With position, version, recorded time and hash beside each event.")
@click.option("--inputs", is_flag=True, help="What came in through the door, with its recorded time: for record --migrate.")
@click.pass_obj
def export(settings: Settings, partner: str | None, sealed: bool, inputs: bool) -> None:
    """The events as CloudEvents, one a line. The stored bytes, nothing else, unless --inputs adds when each was recorded."""
    if inputs and (sealed or partner):
        raise click.UsageError("--inputs goes with neither --sealed nor --partner: a migration takes the whole ledger")
    with _open(settings) as ledger:
        for found in _exported(ledger, partner):
            body = found.event.body.decode()
            if inputs:
                if found.event.source == LEDGER:  # a copy, which the door makes anew
                    continue
                body = json.dumps({**json.loads(body), "recordedtime": text(found.recorded_at)}, ensure_ascii=False)
            if sealed:
                seal = f'"hash":"{found.hash.hex()}","position":{found.position},"recorded_at":"{text(found.recorded_at)}"'
                body = f'{{{seal},"stream":"{found.stream}","version":{found.version},"event":{body}}}'
            click.echo(body)


def _exported(ledger: Ledger, partner: str | None) -> Iterator[Any]:
    if partner is not None:
        if not (found := ledger.history.events(partner)):
            raise NotFound(f"no partner {partner!r} is known", hint="points ranking lists them", code="unknown_partner")
        yield from found
        return
    after = 0
    while page := ledger.history.tail(after, 1000):
        yield from page
        after = page[-1].position


@main.command("demo")
@click.option(
    "--at", "path", type=click.Path(path_type=Path), default=Path("demo.db"), show_default=True, help="Where the demo's ledger goes."
)
def demo_(path: Path) -> None:
    """Build a ledger of invented partners, and walk through it."""
    settings = Settings(path=path)
    with _open(settings, create=True) as ledger:
        if ledger.log.head() == 0:
            demo.build(ledger.log, ledger.directory)
        elif not demo.is_whole(ledger.history):
            raise click.BadParameter(f"{path} is there already, and is not a whole demo; name another path with --at")
        else:
            out.say(f"{path} is there already; it is shown as it is")
        walk = Ledger(settings, clock=lambda: demo.TODAY)
        try:
            _walk_through(walk, f"points --ledger {path}")
        finally:
            walk.close()


def _walk_through(ledger: Ledger, command: str) -> None:
    questions, moment, partner, day = ledger.questions(), Moment(as_of=demo.TODAY), demo.AT_RISK, text(demo.TODAY)
    out.line(f"{ledger.log.head()} events of {len(ledger.history.partners())} invented partners, up to {day[:10]}. Seed {demo.SEED}.")
    out.line()
    out.line(f"1. The ranking           {command} ranking --as-of {day} --limit 5")
    rows = [
        (r.place, _name(ledger, "partner", r.partner), r.score, r.credited or "none", r.performance or "none")
        for r in questions.ranking(moment)[:5]
    ]
    out.table(("place", "partner", "score", "credited", "performance"), rows)
    out.line()
    out.line(f"2. A partner at risk     {command} standing {partner} --as-of {day}")
    answer = questions.standing(partner, moment)
    _show_standing(ledger, answer)
    assert answer.tier_lost_at is not None, f"{partner} was to be at risk"
    until = answer.tier_lost_at.at
    out.line()
    out.line(f"   What ends by then     {command} breakdown {partner} --as-of {day} --deal-type sourced --ending {day_text(until)}")
    found = boards.ending(questions.breakdown(partner, moment, deal_type="sourced")[1], until)
    out.table(("ends", "points", "client", "line", "position"), [(out.when(o.end), o.value, o.client, o.line, o.position) for o in found])
    out.line()
    out.line(f"3. Its score explained   {command} why {partner} --number total --as-of {day}")
    out.tree(questions.why(partner, moment).reasons["total"], limit=2)
    out.line()
    _walk_late(questions, command)


def _walk_late(questions: Questions, command: str) -> None:
    """A sale of March, told in May."""
    late = demo.late(questions.history)
    as_of, partner = late.event.effective_at + 20 * DAY, demo.TOLD_LATE
    out.line(f"4. A late fact           {command} standing {partner} --as-of {text(as_of)} --known-at {late.position - 1}")
    out.line(f"   A sale of {day_text(late.event.effective_at)} was recorded on {out.when(late.recorded_at)}, at position {late.position}.")
    rows = []
    for known in (late.position - 1, late.position):
        answer = questions.standing(partner, Moment(as_of=as_of, known_at=known))
        lost = answer.tier_lost_at
        rows.append((f"position {known}", answer.values["total"], answer.performance or "none", answer.credited or "none",
                     out.when(lost.at) if lost else "never"))  # fmt: skip
    out.table((f"{partner} on {day_text(as_of)}, as known at", "total", "performance", "credited", "tier lost at"), rows)
    out.line()
    out.line(f"Go on: {command} dashboard {partner} --as-of {text(demo.TODAY)[:10]}; {command} verify; points --help")


if __name__ == "__main__":
    main()

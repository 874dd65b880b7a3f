"""The command `points`: composes objects from settings, one function for each verb, no logic.

Data goes to stdout, talk to stderr. Exit codes: 0 done, also where the reader of a pipe had enough; 1 something was refused, differs
or does not pass; 2 a usage, date or file that cannot be used; 3 not found; 4 a moment that cannot be served; 5 a rulebook that cannot
be used; 6 the log cannot be read or written; 7 a partner is parked; 8 Kafka cannot be reached or used; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import signal
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from fractions import Fraction
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from consumers import topics as stream_topics
from consumers.bus import InProcessBus
from consumers.expire import Expire
from consumers.project import Project
from consumers.relay import Relay
from ledger import audit, dates, demo, exporting, importing
from ledger import terminal as out
from ledger.directory import Directory
from ledger.errors import LedgerError, NotFound, Parked, Refusal, Refused, RulebookError
from ledger.events.envelope import Sealed, decode, event
from ledger.guards import Associations
from ledger.history import History
from ledger.instants import BEGINNING, DAY, FOREVER, Instant, Span, day_start, day_text, plus, text, to_datetime, zone_of
from ledger.intake import Accepted, Duplicate, Intake, Receipt, utc_now
from ledger.languages import LANGUAGES, speak, spoken, t
from ledger.log import Log, is_url, migrate
from ledger.projections import achievements as achieved
from ledger.projections import dashboard as boards
from ledger.projections import endangered, portfolio, spread, tier_flows, views
from ledger.projections import licences as counts
from ledger.projections import movements as balances
from ledger.projections import partners as where
from ledger.projections.endangered import Judged
from ledger.projections.extract import Extract
from ledger.projections.partners import Filter
from ledger.projections.questions import Brief, Endangered, Moment, Questions, Ranked
from ledger.projections.reader import Reader, plain_rows
from ledger.projections.store import Restated, Store
from ledger.rules import book as books
from ledger.rules import golden, lint, scaffold
from ledger.rules.answers import (
    AwardStanding,
    Basis,
    Cause,
    Considered,
    Lot,
    MeasureCount,
    Progress,
    RequirementCount,
    Standing,
    TierProgress,
)
from ledger.rules.book import Book
from ledger.rules.breakdown import point_measures
from ledger.rules.difference import difference
from ledger.rules.labels import label, requirement
from ledger.rules.library import Library
from ledger.rules.reasons import Reason
from ledger.settings import Settings, collect_seldom
from ledger.streams import LEDGER

T = TypeVar("T")

REBUILD_FROM = 10_000
"""A gap of this many events is closed by a rebuild: each partner is then made once."""


def _limits(settings: Settings) -> Associations | None:
    since = settings.associations_from
    return None if since is None else Associations(day_start(since), settings.associations_at_most)


class Ledger:
    """The parts of one ledger, put together."""

    def __init__(self, settings: Settings, *, create: bool = False, clock: Callable[[], Instant] = utc_now) -> None:
        self.settings = settings
        self.clock = clock
        self.log = Log(settings.path, create=create)
        self.intake = Intake(self.log, clock, _limits(settings))
        self.history = History(self.log)
        self.store = Store(settings.read_path)
        self.directory = Directory(settings.directory_path)
        self.bus = InProcessBus()
        self.project = Project(self.bus, self.history, self.store)
        self.has_stations = settings.kafka is not None and is_url(settings.path)
        """Processes of their own bring the read models up to the log."""

    def close(self) -> None:
        self.log.close()
        self.store.close()
        self.directory.close()

    def catch_up(self) -> None:
        """What is in the log and not yet in the read models, whoever left it there: relay, bus, project."""
        if self.has_stations:
            return
        behind = self.log.head() - self.store.position()
        if behind < 0 or behind > REBUILD_FROM:
            _rebuild(self, t("making the read models"))
            return
        relay = Relay(self.log, self.bus, self.store.position())
        while relay.step():
            pass
        while self.project.step():
            pass

    def questions(self) -> Questions:
        self.catch_up()
        return Questions(self.history, self.store, self.clock, (lambda: _applied(self)) if self.has_stations else None)


# -- plumbing ----------------------------------------------------------------------------------------------------------


SECTIONS = {
    "One partner": ("standing", "why", "counted", "timeline", "history", "changes", "breakdown", "simulate"),
    "What a partner sees": (
        "dashboard",
        "clients",
        "client",
        "team",
        "membership",
        "performance",
        "achievements",
        "quick-wins",
        "licences",
    ),
    "Many partners": (
        "ranking",
        "tiers",
        "flows",
        "at-risk",
        "losses",
        "movements",
        "overrides",
        "nominees",
        "awards",
        "restatements",
        "sql",
        "schema",
    ),
    "Writing": ("record", "import", "override", "reverse", "expire"),
    "Rules and keeping": ("rules", "rebuild", "verify", "export", "migrate", "demo"),
    "On Kafka": ("run", "status", "topics", "refused", "parked", "restore"),
}
"""The commands as the help lists them."""


class Group(click.Group):
    """Errors of the ledger end in their words and their exit code, never in a traceback."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        listed = {name for names in SECTIONS.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in listed]
        for section, names in (*SECTIONS.items(), ("Others", others)):
            shown = [(name.ljust(width), self.commands[name].get_short_help_str(formatter.width - width - 6)) for name in names]
            if shown:
                with formatter.section(section):
                    formatter.write_dl(shown)

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
            out.say(t("points: stopped; what was recorded so far is safe"))
            ctx.exit(130)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--ledger", "path", help="The ledger's file, or a postgresql:// URL (POINTS_LEDGER_PATH; default ledger.db).")
@click.option(
    "--lang", type=click.Choice(LANGUAGES), help="The language of tables and messages (POINTS_LEDGER_LANG; default that of the locale)."
)
@click.version_option(package_name="points-ledger")
@click.pass_context
def main(ctx: click.Context, path: str | None, lang: str | None) -> None:
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
    speak(lang or ctx.obj.language)


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
    """The form of what a command gives, and where it goes. The function gets `form`, and writes to stdout."""
    return _output(out.FORMATS)(function)


def _output(forms: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The first of the forms is the default."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "-o",
            "--output",
            "form",
            type=click.Choice(forms),
            default=forms[0],
            show_default=True,
            help="The form; with --to, as FILE ends.",
        )
        @click.option("--to", "into", metavar="FILE", type=click.Path(path_type=Path), help="Into a file, which is there when it is whole.")
        @wraps(function)
        def wrapped(*args: Any, form: str, into: Path | None, **kwargs: Any) -> Any:
            source = click.get_current_context().get_parameter_source("form")
            if into is not None and source is ParameterSource.DEFAULT:
                form = _form_of(into, forms)
            if form == "parquet":
                exporting.parquet_library()
                if into is None and sys.stdout.isatty():
                    raise click.UsageError("Parquet is not for a terminal; name a file with --to, or send it on")
            if into is None:
                return function(*args, form=form, **kwargs)
            return _into(into, lambda: function(*args, form=form, **kwargs))

        return wrapped

    return decorate


def _form_of(file: Path, forms: Sequence[str]) -> str:
    form = exporting.ENDINGS.get(file.suffix.lower())
    if form is None or form not in forms:
        raise click.UsageError(f"{file} does not say by its ending in which form it is to be; say it with -o {', '.join(forms)}")
    return form


def _into(file: Path, say: Callable[[], Any]) -> Any:
    """What is said on stdout into a file. An exit code that says something of it comes after all of it."""
    ended: click.exceptions.Exit | None = None
    with exporting.beside(file) as stream, redirect_stdout(stream):
        try:
            say()
        except click.exceptions.Exit as found:
            ended = found
    if ended is not None:
        raise ended


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
            questions = ledger.questions()
            if programme is not None:
                questions.library.force(programme, questions.position(moment))  # which no list of many would miss
            return function(*args, questions=questions, moment=moment, ledger=ledger, **kwargs)

    return wrapped


def filtered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which partners are meant. The function gets `wanted`."""

    @click.option("--tier", help="Only this credited tier.")
    @click.option("--country", help="Only partners in this country, e.g. DE.")
    @click.option("--market", help="Only this market, as stated or by the rulebook's table of countries.")
    @click.option("--segment", help="Only this segment.")
    @wraps(function)
    def wrapped(
        *args: Any, tier: str | None, country: str | None, market: str | None, segment: str | None, **kwargs: Any
    ) -> Any:  # fmt: skip
        if tier is not None:
            _check_tier(kwargs["questions"], kwargs["moment"], tier)
        return function(*args, wanted=Filter(tier, country, market, segment), **kwargs)

    return wrapped


def _among(questions: Questions, moment: Moment, at: Instant, wanted: Filter) -> Callable[[str], bool]:
    """Whether a partner is where it is asked for."""
    if not wanted.of_place:
        return lambda _: True
    places = where.places_at(questions, moment, at)
    where.check(places.values(), wanted)
    return lambda partner: wanted.means(places.get(partner, where.NOWHERE))


def _having(questions: Questions, moment: Moment, at: Instant, wanted: Filter) -> Callable[[str], bool]:
    """Whether a partner has the credited tier that is asked for."""
    if wanted.tier is None:
        return lambda _: True
    found = {each.partner for each in where.held_at(questions, moment, at) if each.credited == wanted.tier}
    return lambda partner: partner in found


def _moment(settings: Settings, now: Instant, as_of: str | None, known_at: str | None) -> Moment:
    position = int(known_at) if known_at is not None and known_at.isdecimal() else None
    known_when = None if known_at is None or position is not None else dates.moment(known_at, now, settings.zone)
    when = None if as_of is None else dates.moment(as_of, now, settings.zone)
    return Moment(when, position, known_when)


def _called(programme: str) -> Callable[[str | None], str]:
    """What the names of a programme are called in the language that is spoken; where there is no tier, `none`. Programs get the names."""
    return lambda name: out.word("none") if name is None else out.Told(label(programme, name, spoken()), name)


def _award(called: Callable[[str | None], str], name: str) -> str:
    """An award by the name that `--award` takes, with its label."""
    shown = called(name)
    return out.named(name, str(shown) if shown.casefold() != name.casefold() else None)


def _tiers(questions: Questions, partner: str, moment: Moment) -> Callable[[str | None], str]:
    """As `_called`; of rulebooks that have no tiers nothing is said."""
    life = questions.life(partner, moment)
    called = _called(life.book(questions.as_of(moment)).programme)
    return called if any(performance.book.ranks for performance in life.performances) else lambda _: ""


def _programme(questions: Questions, partner: str, moment: Moment) -> str:
    return questions.life(partner, moment).book(questions.as_of(moment)).programme


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
            out.say(t("events from here, CloudEvents in JSON, one a line; Ctrl-D ends them"))
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
            return line, out.word("accepted"), position, None, None, None, None
        case Duplicate(of=position):
            return line, out.word("duplicate"), position, None, None, None, None
        case _:
            refusal = receipt.refusal
            return line, out.word("refused"), None, refusal.code, refusal.where, refusal.reason, refusal.hint


def _conclude(receipts: list[Receipt]) -> None:
    accepted = sum(isinstance(receipt, Accepted) for receipt in receipts)
    duplicates = sum(isinstance(receipt, Duplicate) for receipt in receipts)
    refused = len(receipts) - accepted - duplicates
    counted = {"accepted": accepted, "duplicates": out.many(duplicates, "duplicate"), "refused": refused}
    out.say(t("{received} received: {accepted} accepted, {duplicates}, {refused} refused", received=len(receipts), **counted))
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
        out.say(t("reading {file}", file=file))
    lines = importing.load(compiled, file)
    target = refused_path or file.with_name(file.name + ".refused.jsonl")
    with _open(settings, create=True) as ledger, target.open("w", encoding="utf-8") as refusals:
        with click.progressbar(length=len(lines), label=t("recording"), file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def refused(line: importing.Line, refusal: Refusal) -> None:
                refusals.write(importing.refusal_line(line, refusal))

            counts = importing.record(lines, ledger.intake, settings.batch_size, refused, bar.update)
        ledger.catch_up()
    counted = {"accepted": counts.accepted, "duplicates": out.many(counts.duplicates, "duplicate"), "refused": counts.refused}
    out.say(t("{lines}: {accepted} accepted, {duplicates}, {refused} refused", lines=out.many(counts.received, "line"), **counted))
    for code, count in sorted(counts.by_code.items()):
        out.say(t("  {count} refused: {code}", count=count, code=code))
    if not counts.refused and refused_path is None:
        target.unlink()
    if counts.refused:
        out.say(t("the refusals are in {file}", file=target))
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
@click.option("--until", help="The first instant at which it no longer holds: a date, or +3m; default as long as the rulebook says.")
@click.option("--id", "identity", help="The override's id; default a new one.")
@click.option("--programme", help="The programme, where the partner is in several.")
@_decided
@click.pass_obj
def grant(settings: Settings, /, partner: str, since: str, until: str | None, identity: str | None, **data: Any) -> None:
    """Grant PARTNER a tier, a requirement or points, until a date."""
    now = utc_now()
    begin = dates.start(since, now, settings.zone)
    with _open(settings) as ledger:
        book = _check_override(ledger.questions(), partner, Moment(as_of=begin, programme=data["programme"], award=data["award"]), data)
    if until is None and book.overrides_last is None:
        raise click.UsageError(f"--until is missing, and {book.name} does not say how long an override holds")
    ends = plus(begin, book.overrides_last or Span(), book.zone)
    end = text(ends if until is None else dates.start(until, begin if until.startswith("+") else now, settings.zone))
    identity = identity or f"override-{uuid.uuid4().hex[:12]}"
    made = event(
        "override.granted.v1", subject=partner, effective_at=begin, id=f"{identity}/granted", source="points/override",
        override=identity, until=end, **data,
    )  # fmt: skip
    _record_one(settings, made, t("{override} granted until {end}", override=identity, end=end))


def _check_override(questions: Questions, partner: str, moment: Moment, data: Mapping[str, str | None]) -> Book:
    """The log takes any name, since it knows no rules; who types one here means one that the rulebook has, which is returned."""
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
    return book


@override.command("revoke")
@click.argument("partner")
@click.argument("identity", metavar="ID")
@click.option("--from", "since", default="now", show_default=True, help="The first instant at which it no longer holds.")
@_decided
@click.pass_obj
def revoke(settings: Settings, partner: str, identity: str, since: str, reason: str, author: str) -> None:
    """End an override of PARTNER before its time."""
    end = dates.start(since, utc_now(), settings.zone)
    made = event(
        "override.revoked.v1", subject=partner, effective_at=end, id=f"{identity[:150]}/revoked at {text(end)}", source="points/override",
        override=identity, reason=reason, author=author,
    )  # fmt: skip
    _record_one(settings, made, t("{override} revoked", override=identity))


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
    now = utc_now()
    made = event(
        "event.reversed.v1", subject=target.subject, effective_at=now, id=f"reversal of {source} {identity}"[:160] + f" at {text(now)}",
        source="points/reverse", reverses={"source": source, "id": identity}, reason=reason, author=author,
    )  # fmt: skip
    _record_one(settings, made, t("{event} reversed", event=f"{source} {identity}"))


def _record_one(settings: Settings, made: Any, done: str, *, create: bool = False) -> None:
    with _open(settings, create=create) as ledger:
        (receipt,) = ledger.intake.record([made])
        if not isinstance(receipt, Accepted | Duplicate):
            out.say(t("points: refused: {refusal}", refusal=receipt.refusal))
            raise click.exceptions.Exit(1)
        ledger.catch_up()
        if isinstance(receipt, Accepted):
            out.say(t("{done}: accepted at position {position}", done=done, position=receipt.position))
        else:
            out.say(t("{done}: recorded before at position {position}", done=done, position=receipt.of))


@main.command()
@click.option("--until", default="now", show_default=True, help="Announce what has ended up to this moment.")
@click.pass_obj
def expire(settings: Settings, until: str) -> None:
    """Announce expired lots and lapsed overrides. One event for each partner and instant; they decide nothing."""
    with _open(settings) as ledger:
        receipts = Expire(ledger.history, ledger.intake).step(dates.moment(until, ledger.clock(), settings.zone))
        ledger.catch_up()
        announced = sum(isinstance(receipt, Accepted) for receipt in receipts)
        out.say(t("{announcements} recorded", announcements=out.many(announced, "announcement")))


# -- one partner -------------------------------------------------------------------------------------------------------


@main.command()
@click.argument("partner")
@click.option("--goal", help="A tier to measure progress against.")
@click.option("--brief", is_flag=True, help="Tiers and points alone, of a moment that is past: read from the read models.")
@asked
def standing(partner: str, goal: str | None, brief: bool, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Score, tiers, risk and progress of PARTNER at a moment."""
    if brief:
        _show_brief(questions.brief(partner, moment), form)
        return
    answer = questions.standing(partner, moment, goal=goal)
    if form == "table":
        _show_standing(ledger, answer)
    else:
        out.emit(answer, form)


def _show_brief(found: Sequence[Brief], form: str) -> None:
    lines = []
    for each in found:
        called = _called(each.programme)
        tiers = called(each.credited), called(each.performance)
        points = ", ".join(f"{called(name)} {out.number(value)}" for name, value in each.points.items())
        enrolled = "" if each.enrolled else out.word("left")
        lines.append((each.programme, each.award, each.rulebook, *tiers, each.score, points, enrolled, each.parked or ""))
    out.rows(("programme", "award", "rulebook", "credited", "performance", "score", "points", "enrolled", "parked"), lines, form, found)


FACTS = ("award", "credited tier", "performance tier", "without overrides", "at risk", "tier lost at")
"""What a standing begins with, one below the other."""


def _show_fact(name: str, said: str) -> None:
    out.line(f"{t(name).ljust(_facts_width())}{said}")


def _facts_width() -> int:
    return max(len(t(name)) for name in FACTS) + 1


def _show_standing(ledger: Ledger, answer: Standing) -> None:
    called = _called(answer.basis.programme)
    _show_basis(ledger, answer.basis)
    if answer.awards:
        _show_awards(answer.awards, called)
    elif _has_tiers(answer):
        _show_tiers(answer, called)
    elif "score" in answer.values:
        out.line(f"{called('score')}  {out.number(answer.values['score'])}")
    out.line()
    _show_values(answer, called)
    tracks = [("to keep: {tier}", answer.keep), ("next: {tier}", answer.next), ("goal: {tier}", answer.goal)]
    if len(answer.options) > 1:
        tracks = [*tracks[:1], *[("next: {tier}" if answer.goal is None else "goal: {tier}", option) for option in answer.options]]
    for title, track in tracks:
        if track is not None:
            _show_track(title, track, answer.basis.programme)
    if answer.parked:
        out.say(t("points: parked: {why}", why=answer.parked))


def _has_tiers(answer: Standing) -> bool:
    """Whether there is anything to be credited with: of several tiers one is always held or the next."""
    return (answer.credited or answer.performance or answer.next) is not None


def _show_values(answer: Standing, called: Callable[[str | None], str]) -> None:
    """Of many values those that are not 0."""
    shown = {name: value for name, value in answer.values.items() if value or len(answer.values) <= 24}
    if shown:
        out.table(
            ("measure", "value", "unit"), [(called(name), value, called(answer.units.get(name, ""))) for name, value in shown.items()]
        )
    if len(shown) < len(answer.values):
        others = len(answer.values) - len(shown)
        told = "{count} others are 0 (-o json has all)" if shown else "{count} values are 0 (-o json has all)"
        out.line(t(told, count=others))


def _show_awards(awards: Sequence[AwardStanding], called: Callable[[str | None], str]) -> None:
    """Those that have come somewhere; the rest is counted."""
    begun = [award for award in awards if award.status != "none"]
    lines = [
        (_award(called, a.award), called(a.group), out.word(f"{a.status}, at risk" if a.at_risk else a.status), called(a.credited),
         called(a.performance), called(a.option),
         out.when(a.credited_since), out.when(a.anniversary))
        for a in begun
    ]  # fmt: skip
    if lines:
        out.table(("award", "group", "status", "credited", "performance", "option", "since", "anniversary"), lines)
    if len(begun) < len(awards):
        others = out.many(len(awards) - len(begun), "other award" if begun else "award")
        out.line(t("{awards}: nothing of what is asked for is there; --award NAME shows one in full", awards=others))


def _show_tiers(answer: Standing, called: Callable[[str | None], str]) -> None:
    if answer.award is not None:
        award = answer.award
        coming = t(", anniversary {when}", when=out.when(award.anniversary)) if award.anniversary is not None else ""
        by = t(" by {option}", option=called(award.option)) if award.option else ""
        _show_fact("award", f"{_award(called, award.award)}: {t(award.status)}{by}{coming}")
    _show_fact("credited tier", f"{called(answer.credited)}{_since(answer)}")
    _show_fact("performance tier", called(answer.performance))
    bare = answer.without_overrides
    if answer.overrides or (bare.credited, bare.performance) != (answer.credited, answer.performance):
        without = t("{credited} (performance {performance})", credited=called(bare.credited), performance=called(bare.performance))
        _show_fact("without overrides", without)
    if answer.at_risk is not None:
        risk = answer.at_risk
        _show_fact("at risk", t("since {when}: {why}", when=out.when(risk.since), why=t(risk.why)))
        _show_cause(risk.cause, called, answer.basis.as_of)
    elif answer.credited is not None:
        _show_fact("at risk", t("no"))
    if answer.tier_lost_at is not None:
        lost = answer.tier_lost_at
        fields = {"when": out.when(lost.at), "tier": called(lost.falls_to), "why": _why(lost.how)}
        _show_fact("tier lost at", t("{when}, to {tier}, if nothing more happens ({why})", **fields))
        _show_cause(lost.cause, called, answer.basis.as_of, lost.at)
    elif answer.credited is not None:
        _show_fact("tier lost at", t("never, by what is known"))


def _show_basis(ledger: Ledger, on: Basis) -> None:
    partner = _name(ledger, "partner", on.partner)
    out.line(t("{partner}  as of {when}, known at position {position}", partner=partner, when=out.when(on.as_of), position=on.known_at))
    forecast = t(", foreseen from {when}", when=out.when(on.foreseen_from)) if on.foreseen_from is not None else ""
    out.line(t("by {book} ({hash}, language {language})", book=on.book, hash=on.book_hash[:12], language=on.language) + forecast)
    out.line()


def _since(answer: Standing) -> str:
    if answer.credited_since is None:
        return ""
    return t(" since {when} ({why})", when=out.when(answer.credited_since), why=_why(answer.credited_because))


def _why(step: str) -> str:
    """What made a credited tier so."""
    return out.word({"required": "a required condition is not met", "dropped": "not met at any checkpoint of the window"}.get(step, step))


def _show_cause(cause: Cause | None, called: Callable[[str | None], str], as_of: Instant, lost_at: Instant | None = None) -> None:
    """The requirement that fails, from when, how much is missing, and what takes it away."""
    if cause is None:
        return
    indent = " " * _facts_width()
    fails = (
        "{requirement} fails on {when}"
        if cause.at > as_of
        else "{requirement} fails since {when}"
        if cause.at < as_of
        else "{requirement} fails"
    )
    said = t(fails, requirement=called(cause.requirement), when=out.when(cause.at))
    if cause.value is not None:
        by = t(" by {when}", when=out.when(lost_at)) if lost_at is not None and lost_at != cause.at else ""
        numbers = {"value": out.number(cause.value), "threshold": out.number(cause.threshold), "missing": out.number(cause.missing)}
        short = ": {value} of {threshold}{by}, {missing} missing" if cause.missing else ": {value} of {threshold}{by}, more is needed"
        said += t(short, by=by, **numbers)
    out.line(f"{indent}{said}")
    for lot in cause.lots[:5]:
        ends = (
            "{value} of {what} (position {position}) ends {when}"
            if lot.until > as_of
            else "{value} of {what} (position {position}) ended {when}"
        )
        fields = {"value": out.number(lot.value), "what": lot.about, "position": lot.position, "when": out.when(lot.until)}
        out.line(f"{indent}  {t(ends, **fields)}")
    if len(cause.lots) > 5:
        out.line(f"{indent}  {t('and {count} more', count=len(cause.lots) - 5)}")


def _note(row: Progress) -> str:
    """Where a value has to be above what it is equal to, no number says what is missing."""
    more = not row.met and row.value is not None and row.value == row.threshold
    return "override" if row.overridden else "more is needed" if more else "assumed" if row.assumed else ""


def _show_track(title: str, track: TierProgress, programme: str) -> None:
    called = _called(programme)
    by = t(" by {option}", option=called(track.option)) if track.option else ""
    out.line()
    out.table(
        ("requirement", "there", "needed", "missing", "met", "note"),
        [
            (requirement(programme, p.requirement, p.text, spoken()), p.value, p.threshold,
             p.missing if p.met or p.missing else None, p.met, out.word(_note(p)))
            for p in track.requirements
        ],
        t(title, tier=called(track.tier)) + by,
    )  # fmt: skip


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
    _show_basis(ledger, answer.standing.basis)
    called = _called(answer.standing.basis.programme)
    if name is not None:
        out.tree(answer.reasons[name], limit=100)
        return
    if _has_tiers(answer.standing):
        tiers = {"credited": called(answer.standing.credited), "performance": called(answer.standing.performance)}
        out.line(t("credited {credited}, performance {performance}", **tiers))
    if answer.standing.awards:
        out.line(t("--award NAME explains an award, --number NAME a number; -o json has all"))
    for step in answer.steps:
        fields = {"when": out.when(step.start), "tier": called(step.credited), "why": _why(step.because), "book": step.book}
        out.line(t("  {when}  credited {tier}: {why} ({book})", **fields))
    for seen in answer.checkpoints[-6:]:
        said = "  {when}  checkpoint: performance {performance}, credited {credited} {verdict}"
        if seen.review:
            said = "  {when}  review: performance {performance}, credited {credited} {verdict}"
        fields = {"when": out.when(seen.at), "performance": called(seen.performance), "credited": called(seen.credited)}
        out.line(t(said, verdict=t(seen.verdict), **fields))
    told, number = set[Reason](), _score(answer.reasons)
    for heading, reason in answer.requirements.items():
        out.line()
        out.line(heading)
        out.tree(reason, 1, told=told)
    if not answer.requirements and number is not None:
        out.line()
        out.tree(number, limit=100)


@main.command()
@click.argument("partner")
@click.argument("name", metavar="[NUMBER]", required=False)
@click.option("--goal", help="For the ways to this tier; default the next one.")
@asked
def counted(
    partner: str, name: str | None, goal: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """What counts for PARTNER, what does not, and why not.

    Each person, certificate, client and sale: for one measure or NUMBER, else for each requirement of the ways to the next tier.
    """
    on, found = questions.counted(partner, moment, name=name, goal=goal)
    if form in ("json", "jsonl"):
        out.emit({"basis": on, "requirements": found}, form)
        return
    if form == "csv":
        lines = [
            (r.award, r.option, r.tier, r.requirement, m.measure, *_considered(ledger, row))
            for r in found
            for m in r.measures
            for row in m.rows
        ]
        out.rows(("award", "option", "tier", "requirement", "measure", *CONSIDERED), lines, form)
        return
    who = _name(ledger, "partner", on.partner)
    out.line(t("{partner}  as of {when}, by {book}", partner=who, when=out.when(on.as_of), book=on.book))
    told, awards = set[MeasureCount](), dict.fromkeys(each.award for each in found)
    begun = {each.award for each in found if len(awards) == 1 or any(row.counts for measure in each.measures for row in measure.rows)}
    called = _called(on.programme)
    for each in found:
        if each.award in begun:
            _show_counted(ledger, each, told, called)
    if len(begun) < len(awards):
        out.line()
        others = out.many(len(awards) - len(begun), "other award" if begun else "award")
        out.line(t("{others}: nothing counts for what is asked; --award NAME shows one in full, -o json has all", others=others))


CONSIDERED = ("counts", "who", "what", "value", "from", "until", "because", "position")
SHOWN_MAX = 40
"""How many facts that do not count a table tells one by one."""


def _considered(ledger: Ledger, row: Considered) -> tuple[Any, ...]:
    kind = "person" if row.kind in ("certificate", "link", "leaver") else "client"
    who = _name(ledger, kind, row.key) if row.key else ""
    return row.counts, who, f"{row.kind} {row.about}", row.value, out.when(row.since), out.when(row.until), row.because, row.position


def _show_counted(ledger: Ledger, found: RequirementCount, told: set[MeasureCount], called: Callable[[str | None], str]) -> None:
    """The requirement, then its measures; what was told before is told once."""
    out.line()
    way = " ".join(part for part in (found.award, found.option, f"{found.tier}:" if found.tier else "") if part)
    there = ""
    if found.threshold is not None:
        there = t(", {value} of {threshold}", value=out.number(found.value), threshold=out.number(found.threshold))
    verdict = ""
    if found.met is not None:
        verdict = t(": met by an override") if found.overridden else t(": met{there}" if found.met else ": not met{there}", there=there)
    out.line(f"{way} {found.requirement}{verdict}".strip())
    for measure in found.measures:
        counts_to = f"{called(measure.measure)}: {out.number(measure.value)} {called(measure.unit)}".rstrip()
        out.line(counts_to + (t(" (see above)") if measure in told else ""))
        if measure in told:
            continue
        told.add(measure)
        without = [row for row in measure.rows if not row.counts]
        shown = [row for row in measure.rows if row.counts] + without[:SHOWN_MAX]
        if shown:
            out.table(CONSIDERED, [_considered(ledger, row) for row in shown])
        else:
            out.line(t("there is no fact of the kind"))
        if len(without) > SHOWN_MAX:
            out.line(t("and {count} more that do not count (-o json has all)", count=len(without) - SHOWN_MAX))


@main.command()
@click.argument("partner")
@asked
def membership(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER holds, held and bought, award by award.

    With the days that come, and what each level brings. CSV has what is and was held.
    """
    on, found = questions.membership(partner, moment)
    if form in ("json", "jsonl"):
        out.emit({"basis": on, "membership": found}, form)
        return
    lines = [(s.award, s.level, s.status, out.when(s.start), out.when(s.end)) for s in found.stretches]
    out.rows(("CompetencyName", "CompetencyLevel", "CompetencyStatus", "StartDate", "EndDate"), lines, form, title=t("held|membership"))
    if form == "table":
        bought = [(out.when(p.at), p.level, p.offer, p.effect, out.when(p.since), p.position) for p in found.purchases]
        out.line()
        out.table(("bought", "level", "offer", "effect", "since", "position"), bought, t("purchases"))
        out.line()
        out.table(("day", "what"), [(out.when(day.at), out.word(day.what)) for day in found.coming], t("coming"))
        for level, brings in found.benefits.items():
            out.line(t("{level} brings {what}", level=level, what="; ".join(brings)))


@main.command()
@click.argument("partner")
@click.option("--months", default=12, show_default=True, type=click.IntRange(1, 120), help="So many, the last one that of the moment.")
@asked
def performance(partner: str, months: int, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER performed by month, and what tiers ask."""
    _, found = questions.performance(partner, moment, months)
    levels = list(dict.fromkeys(level for row in reversed(found) for level in reversed(row.thresholds)))
    lines = [
        (m.award, m.option, m.month, m.metric, m.contribution, m.twelve_months, m.anniversary_year, *[m.thresholds.get(n) for n in levels])
        for m in found
    ]  # fmt: skip
    columns = (
        "CompetencyName",
        "AttainmentOption",
        "Month",
        "MetricName",
        "MetricMonthlyContribution",
        "TTMAggregate",
        "AnniversaryYearAggregate",
    )
    out.rows((*columns, *[f"{level}Threshold" for level in levels]), lines, form)


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
    names, called = _main_values(i.values for i in found), _called(_programme(questions, partner, moment))
    tier = _tiers(questions, partner, moment)
    lines = [
        (out.when(i.start), out.when(i.end), tier(i.credited), tier(i.performance), *[i.values.get(name) for name in names],
         i.book, _why(i.because), out.word("foreseen" if i.foreseen else ""),
         tuple(f"{out.word(day.what)} {out.when(day.at)}" for day in i.notices))
        for i in found
    ]  # fmt: skip
    headings = ("from", "until", "credited", "performance", *map(called, names), "rulebook", "because", "foreseen", "notices")
    out.rows(headings, _stretches(lines) if form == "table" else lines, form, found)


def _stretches(lines: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Lines that follow each other and show the same are one."""
    found: list[tuple[Any, ...]] = []
    for begin, end, *shown, because, foreseen, notices in lines:
        if found and not because and found[-1][2:] == (*shown, found[-1][-3], foreseen, notices):
            found[-1] = (found[-1][0], end, *found[-1][2:])
        else:
            found.append((begin, end, *shown, because, foreseen, notices))
    return found


def _main_values(found: Iterable[Mapping[str, Fraction]]) -> list[str]:
    present = set[str]().union(*found)
    return [name for name in ("sold", "sourced", "managed", "total", "score") if name in present]


@main.command()
@click.argument("partner")
@click.option("--from", "since", help="Begin here.")
@asked
def history(partner: str, since: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Every event of PARTNER with score and tier before and after."""
    begin = None if since is None else dates.start(since, ledger.clock(), ledger.settings.zone)
    found = questions.past(partner, moment) if begin is None else questions.past(partner, moment, since=begin)
    tier = _tiers(questions, partner, moment)
    lines = [
        (row.position, out.when(row.effective_at), out.when(row.recorded_at), row.kind, row.about,
         out.word("reversed" if row.reversed else ""), _score(row.before), _score(row.after), tier(row.credited_before),
         tier(row.credited_after))
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
        _show_months(boards.months_of(questions.months(partner, moment)), _called(_programme(questions, partner, moment)), form)
        return
    on, found = questions.breakdown(partner, moment, deal_type=deal_type, market=market, measure=measure)
    book, called = questions.life(partner, moment).book(on.as_of), _called(on.programme)
    if measure is not None and measure not in book.measures:
        raise NotFound(f"{book.name} has no measure {measure!r}", hint=f"it has {', '.join(book.measures)}", code="unknown_number")
    if not found and not point_measures(book):
        _say_no_lots(book)
        if form == "table":
            return
    if ending is not None:
        end = dates.ahead(ending, questions.as_of(moment), ledger.settings.zone)
        _show_lots(ledger, boards.ending(found, end), called, form)
        return
    if show_lots or form == "csv":
        _show_lots(ledger, [lot for row in found for lot in row.lots], called, form)
        return
    measures = sorted({name for row in found for name in row.totals})
    lines = [(_name(ledger, "client", row.client), *[row.totals.get(n, Fraction(0)) for n in measures], len(row.lots)) for row in found]
    out.rows(("client", *map(called, measures), "lots"), lines, form, found)


def _say_no_lots(book: books.Book) -> None:
    """What to ask where no lot brings points."""
    instead = "points why"
    if achieved.score_of(book) is not None and achieved.conditions(book):
        instead = "points achievements"
    elif counts.is_about(book):
        instead = "points licences show"
    said = "points: {book} counts no lots of points, so that there are none by client; ask {instead}, or points changes"
    out.say(t(said, book=book.name, instead=instead))


def _show_lots(ledger: Ledger, found: Sequence[Lot], called: Callable[[str | None], str], form: str) -> None:
    lines = [
        (_name(ledger, "client", lot.client), lot.position, called(lot.measure), lot.line, lot.deal_type, lot.market, lot.amount,
         lot.currency, lot.value, out.when(lot.start), out.when(lot.end), out.word(lot.state), out.word("yes" if lot.assumed else ""))
        for lot in found
    ]  # fmt: skip
    columns = (
        "client", "position", "measure", "line|product", "deal", "market", "amount", "currency", "points", "from", "until", "state",
        "assumed",
    )  # fmt: skip
    out.rows(columns, lines, form, found)


def _show_months(found: Sequence[boards.Month], called: Callable[[str | None], str], form: str, title: str = "") -> None:
    names = _main_values(month.values for month in found)
    lines = [(day_text(m.at)[:7], *[m.values.get(name) for name in names], out.word("foreseen" if m.foreseen else "")) for m in found]
    out.rows(("month", *map(called, names), "foreseen"), lines, form, found, title)


@main.command()
@click.argument("partner")
@click.argument("period")
@asked
def changes(partner: str, period: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER gained and lost in PERIOD, and why. A period is 2024, 2024-Q1, 2024-03 or 2024-01..2024-03."""
    since, until = dates.period(period, ledger.clock(), ledger.settings.zone)
    found = questions.changes(partner, moment, since, until)
    if not found.before:
        out.say(t("points: {book} has neither points nor a score that could change; ask points history", book=found.basis.book))
    if form in ("json", "jsonl"):
        out.emit(found, form)
        return
    called = _called(found.basis.programme)
    lines = [
        (out.when(c.at), called(c.measure), c.delta, out.word(c.cause), _name(ledger, "client", c.client), c.position, c.about)
        for c in found.changes
    ]
    out.rows(("when", "measure", "change", "cause", "client", "position", "about"), lines, form)
    if form == "table":
        out.line()
        out.table(("measure", "before", "after"), [(called(name), value, found.after[name]) for name, value in found.before.items()])


@main.command()
@click.argument("partner")
@click.option("--goal", help="A tier to measure progress against.")
@asked
def dashboard(partner: str, goal: str | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """PARTNER's own page: tier, progress, clients, renewals, team."""
    answer = questions.standing(partner, moment, goal=goal)
    board = boards.dashboard(questions.life(partner, moment), answer, questions.months(partner, moment))
    if form != "table":
        out.emit(board, form)
        return
    _show_standing(ledger, answer)
    out.line()
    due = t("{decisions} due within 90 days", decisions=out.many(board.renewals_due, "renewal decision"))
    usage = t("median tool usage {value}", value=out.number(board.median_tool_usage) or t("none"))
    out.line(f"{due}; {t('certified') if board.certified else t('not certified')}; {usage}")
    out.line()
    _show_clients(ledger, board.clients, form)
    out.line()
    _show_renewals(ledger, board.renewals)
    out.line()
    _show_team(ledger, board.team, form)
    if _main_values(month.values for month in board.months):
        out.line()
        _show_months(board.months, _called(answer.basis.programme), form, t("points by month"))


def _show_renewals(ledger: Ledger, found: Sequence[boards.Renewal]) -> None:
    lines = [
        (r.decision_due_on, r.due, r.renews_on, _name(ledger, "client", r.client), r.subscription, r.line, r.mrr, r.currency, r.owner,
         _name(ledger, "contact", r.manager))
        for r in found
    ]  # fmt: skip
    columns = ("decision due", "due now", "renews", "client", "subscription", "line|product", "MRR", "currency", "owner", "manager")
    out.table(columns, lines, t("renewals"))


@main.command()
@click.argument("partner")
@asked
def clients(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The clients of PARTNER: products, relationship, usage, MRR."""
    _show_clients(ledger, boards.clients(questions.life(partner, moment), questions.as_of(moment)), form)


def _revenue(client: boards.Client, form: str) -> tuple[str, ...]:
    """By currency; for programs without marks between thousands."""
    return tuple(f"{out.number(value).replace(',', '' if form == 'csv' else ',')} {currency}" for currency, value in client.mrr.items())


def _show_clients(ledger: Ledger, found: Sequence[boards.Client], form: str) -> None:
    lines = [
        (_name(ledger, "client", c.client), c.association, c.country, c.products, c.usage, c.engagement,
         _revenue(c, form), c.managed, out.when(c.since))
        for c in found
    ]  # fmt: skip
    columns = ("client", "relationship", "country", "products", "apps used", "engagement", "MRR", "managed", "since")
    out.rows(columns, lines, form, found, t("clients"))


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
    links = {"record": entry.crm_record or t("none"), "account": entry.account or t("none")}
    used = {"users": ", ".join(found.users) or t("none"), "usage": ", ".join(f"{k} {v}" for k, v in found.usage.items()) or t("none")}
    out.line(t("links: CRM record {record}, account {account}", **links))
    out.line(t("users: {users}; usage: {usage}", **used))
    subscriptions = [
        (s.subscription, s.line, s.edition, s.mrr, s.currency, s.contact_tier, s.email_tier, s.apps, out.when(s.since))
        for s in found.subscriptions
    ]
    columns = ("subscription", "line|product", "edition", "MRR", "currency", "contact tier", "e-mail tier", "apps", "since")
    out.line()
    out.table(columns, subscriptions, t("subscriptions"))
    out.line()
    _show_renewals(ledger, found.renewals)
    lots, called = found.points.lots if found.points is not None else (), _called(_programme(questions, partner, moment))
    lines = [(called(lot.measure), lot.line, lot.value, out.when(lot.start), out.when(lot.end), out.word(lot.state)) for lot in lots]
    out.line()
    out.table(("measure", "line|product", "points", "from", "until", "state"), lines, t("sold and managed points"))


@main.command()
@click.argument("partner")
@asked
def team(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The people of PARTNER, and those who look after it."""
    _show_team(ledger, boards.team(questions.life(partner, moment), questions.as_of(moment)), form)


def _show_team(ledger: Ledger, found: boards.Team, form: str) -> None:
    lines = [
        (out.word(kind), _name(ledger, kind, m.id), m.role, m.duties, m.certificates, ledger.directory.get(kind, m.id).email,
         out.when(m.since))
        for kind, members in (("person", found.people), ("contact", found.contacts)) for m in members
    ]  # fmt: skip
    out.rows(("kind", "who", "role", "duties", "certificates", "e-mail", "since"), lines, form, title=t("team") if form == "table" else "")


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
    _show_basis(ledger, before.basis)
    out.line(t("supposed: {events}", events=out.many(len(supposed), "event")))
    called = _called(before.basis.programme)
    names = [name for name in after.values if before.values.get(name) != after.values[name]]
    lines: list[tuple[Any, ...]] = [
        *([
            (t("credited"), called(before.credited), called(after.credited)),
            (t("performance"), called(before.performance), called(after.performance)),
            (t("at risk"), before.at_risk is not None, after.at_risk is not None),
            (t("tier lost at"), *[out.when(each.tier_lost_at.at) if each.tier_lost_at else t("never") for each in (before, after)]),
        ] if _has_tiers(before) or _has_tiers(after) else []),
        *[(f"{called(b.award)} {t(what)}", *[say(getattr(award, what)) for award in (b, a)])
          for b, a in zip(before.awards, after.awards, strict=True)
          for what, say in (("credited", called), ("performance", called), ("status", out.word))
          if getattr(b, what) != getattr(a, what)],
        *[(called(name), before.values.get(name), after.values[name]) for name in names],
    ]  # fmt: skip
    out.table(("what", "as it is", "as it would be"), lines)


@main.command()
@click.argument("partner")
@asked
def achievements(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER has reached and what is open.

    Each achievement with its value, its bar, and what it would bring.
    """
    on, found = questions.achievements(partner, moment)
    _show_achievements(ledger, on, found, form)


@main.command("quick-wins")
@click.argument("partner")
@asked
def quick_wins(partner: str, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """What PARTNER could reach next, the most points first."""
    on, found = questions.quick_wins(partner, moment)
    _show_achievements(ledger, on, found, form, title=t("quick wins"))


def _show_achievements(ledger: Ledger, on: Basis, found: Sequence[achieved.Achievement], form: str, title: str = "") -> None:
    if form == "table":
        _show_basis(ledger, on)
    called = _called(on.programme)
    lines = [
        (called(a.name), a.reached, a.value, a.bar, a.missing, None if a.reached else a.brings,
         out.Told(requirement(on.programme, a.name, a.test, spoken()), a.test), out.word("assumed" if a.assumed else ""))
        for a in found
    ]  # fmt: skip
    out.rows(("achievement", "reached", "value", "bar", "missing", "brings", "test", "mark"), lines, form, found, title)


@main.group()
def licences() -> None:
    """Deployment and usage of licences: groups, buckets, export."""


GROUPED_BY = {**{field: field for field in counts.KEY}, "customer": "client", "portfolio": ""}
"""What `--by` takes: a client is also a customer, and the portfolio is all of them together."""


def _scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--scope", type=click.Choice((counts.ALL, counts.OWN)), default=counts.ALL, show_default=True,
        help="All licences of a client, or only those through its own subscriptions with PARTNER.",
    )(function)  # fmt: skip


def _reported(function: Callable[..., Any]) -> Callable[..., Any]:
    reports = click.Choice((counts.DEPLOYMENT, counts.USAGE))
    words = "Assigned of sold licences, or active of entitled ones."
    return click.option("--of", "report", type=reports, default=counts.DEPLOYMENT, show_default=True, help=words)(function)


@licences.command("show")
@click.argument("partner")
@click.option("--by", multiple=True, type=click.Choice(tuple(GROUPED_BY)), default=("client",), show_default=True, help="One or several.")
@_scoped
@asked
def licences_show(
    partner: str, by: tuple[str, ...], scope: str, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """Deployment and usage of PARTNER's clients, why usage is above 100 %, and what to do.

    By default as of the latest count. Percentages of a group are weighted by seats.
    """
    life, on = questions.licences(partner, moment)
    asked_by = {GROUPED_BY[name] for name in by}
    fields = [field for field in counts.KEY if field in asked_by]
    found = counts.rows(life, on.as_of, fields, scope=scope)
    if form == "table":
        _show_basis(ledger, on)
    shares = ("assigned", "sold", "deployment percent", "used", "entitled", "usage percent", "causes", "advice", "channels")
    lines = [(*_keys(ledger, fields, row.key), *_shares(row)) for row in found]
    out.rows((*fields, *shares), lines, form, found, t("portfolio") if not fields else "" if found else t("licences"))
    if form == "table":
        if fields and found:
            out.line()
            out.table(shares, [_shares(counts.portfolio(life, on.as_of, scope=scope))], t("portfolio"))
        _show_words(found, on.programme)


def _keys(ledger: Ledger, fields: Sequence[str], key: Sequence[str]) -> list[str]:
    named = ("client", "partner")
    return [_name(ledger, field, part) if field in named else part for field, part in zip(fields, key, strict=True)]


def _shares(row: counts.Row) -> list[Any]:
    shares = [
        part for share in (row.deployment, row.usage)
        for part in ((share.part, share.whole, _percent(share)) if share is not None else (None, None, None))
    ]  # fmt: skip
    causes, advice = (tuple(told.name.partition("_")[2] for told in each) for each in (row.causes, row.advice))
    return [*shares, causes, advice, row.channels]


def _percent(share: counts.Share) -> Fraction | str:
    return out.Told(t(counts.NO_ENTITLEMENTS), "") if share.percent is None else share.percent


def _show_words(found: Sequence[counts.Row], programme: str) -> None:
    """What the causes and the advice of a table mean, each once: by its label, else in the rulebook's own words."""
    for title, each in ((t("above 100 %"), [row.causes for row in found]), (t("advice"), [row.advice for row in found])):
        told = {one.name: one.words for row in each for one in row}
        if told:
            out.line()
            out.line(title)
        for name, words in told.items():
            said = label(programme, name, spoken())
            out.line(f"  {name.partition('_')[2]}: {words if said == name else said}")


@licences.command("buckets")
@click.argument("partner")
@_reported
@_scoped
@asked
def licences_buckets(
    partner: str, report: str, scope: str, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """PARTNER's clients in buckets of 20 % of deployment or usage; above 100 % is one of its own."""
    life, on = questions.licences(partner, moment)
    found = counts.buckets(life, on.as_of, report, scope=scope)
    if form == "table":
        _show_basis(ledger, on)
    lines = [(out.word(name), len(each), tuple(_name(ledger, "client", client) for client in each)) for name, each in found.items()]
    out.rows((report, "clients", "who"), lines, form)


@licences.command("export")
@click.argument("partner")
@_reported
@_scoped
@asked
def licences_export(
    partner: str, report: str, scope: str, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """The rows of PARTNER's report with the columns of the published export.

    --as-of is its processedDateTime, by default that of the latest count.
    """
    life, on = questions.licences(partner, moment)
    names = {entry.id: entry.name for entry in ledger.directory.all("client") if entry.name is not None}
    columns = counts.DEPLOYMENT_COLUMNS if report == counts.DEPLOYMENT else counts.USAGE_COLUMNS
    lines = [tuple(row.values()) for row in counts.export(life, on.as_of, report, names, scope=scope)]
    out.rows(columns, lines, form)


@licences.command("portfolio")
@click.option(
    "--by", multiple=True, type=click.Choice((portfolio.PARTNER, *GROUPED_BY)), default=("client",), show_default=True, help="Or several."
)
@_scoped
@asked
@filtered
def licences_portfolio(
    by: tuple[str, ...], scope: str, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """Deployment and usage over all partners.

    A client of several partners counts once in a group that is not by partner. --country, --market and --segment are the clients',
    --tier the partner's. By default as of the latest count.
    """
    asked_by = {GROUPED_BY.get(name, name) for name in by}
    fields = [field for field in portfolio.BY if field in asked_by]
    with _bar(t("asking every partner")) as step:
        total, done = len(ledger.history.partners()), iter(range(1, 1 << 62))
        found = portfolio.licences(questions, moment, fields, wanted, scope=scope, progress=lambda _: step(next(done), total))
    if form == "table":
        out.line(t("as of {when}, {programme}", when=out.when(found.as_of), programme=found.programme))
        out.line()
    shares = ("assigned", "sold", "deployment percent", "used", "entitled", "usage percent", "causes", "advice", "channels")
    lines = [(*_keys(ledger, fields, row.key), *_shares(row)) for row in found.rows]
    out.rows((*fields, *shares), lines, form, found.rows, t("portfolio") if not fields else "" if found.rows else t("licences"))
    if form == "table":
        if fields and found.rows:
            out.line()
            out.table(shares, [_shares(found.total)], t("portfolio"))
        _show_words(found.rows, found.programme)
    _say_parked(found.parked)


# -- many partners -----------------------------------------------------------------------------------------------------


@main.command()
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@asked
@filtered
def ranking(limit: int | None, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """All partners by score; shared places are 1, 2, 2, 4.

    A filter leaves the places as they are among all.
    """
    names = _partners(ledger)
    is_there = _among(questions, moment, questions.as_of(moment), wanted)
    rows = [row for row in questions.ranking(moment, names) if is_there(row.partner)]
    found = [row for row in rows if wanted.tier in (None, row.credited)][:limit]
    lines = [
        (r.place, out.named(r.partner, names.get(r.partner)), r.score, _tier(r, r.credited), _tier(r, r.performance), r.parked or "")
        for r in found
    ]
    out.rows(("place", "partner", "score", "credited", "performance", "parked"), lines, form, found)
    _say_parked([row.partner for row in rows if row.parked], ledger.store)


def _check_tier(questions: Questions, moment: Moment, tier: str) -> None:
    """That some rulebook has such a tier: nobody in it is an answer, a wrong name is none."""
    ranks = [rank for book in questions.library.books(questions.position(moment)) for rank in book.ranks]
    if tier not in ranks:
        raise NotFound(f"no rulebook has a tier {tier!r}", hint=f"there are {', '.join(dict.fromkeys(ranks))}", code="unknown_tier")


def _partners(ledger: Ledger) -> dict[str, str]:
    return {entry.id: entry.name for entry in ledger.directory.all("partner") if entry.name is not None}


def _tier(row: Ranked, tier: str | None) -> str:
    """Nothing where there are no tiers to have."""
    return _called(row.programme)(tier) if row.tiered or row.score is None else ""


PERFORMANCE = click.option("--performance", is_flag=True, help="By performance tier; default by credited tier.")


@main.command()
@click.argument("period", required=False)
@PERFORMANCE
@asked
@filtered
def tiers(
    period: str | None, performance: bool, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """How many partners have which tier, now and before.

    PERIOD is 2024, 2024-Q1, 2024-03 or 2024-01..2024-03: just before it, who came and went, and at its end, or at --as-of within it.
    """
    found = _moved(period, performance, wanted, questions, moment, ledger)
    ranks = {programme: _ranks(questions, moment, programme) for programme in {each.programme for each in found}}
    sized = tier_flows.sizes(found, ranks)
    lines = [
        (*_ladder(s.programme, s.award), _called(s.programme)(s.tier), *((s.before, s.came, s.went) if period is not None else ()), s.after)
        for s in sized
    ]
    columns = ("programme", "award", "tier", *(("before", "came", "went", "after") if period is not None else ("partners",)))
    out.rows(columns, lines, form)
    _say_parked(e.partner for e in found if e.parked)


@main.command()
@click.argument("period")
@PERFORMANCE
@click.option("--partners", "named", is_flag=True, help="A line for each partner.")
@click.option("--all", "every", is_flag=True, help="Also those whose tier is the same at both ends.")
@asked
@filtered
def flows(
    period: str, performance: bool, named: bool, every: bool, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger,
    form: str,
) -> None:  # fmt: skip
    """Who went from which tier to which in PERIOD.

    From just before PERIOD (2024, 2024-Q1, 2024-03 or 2024-01..2024-03) to its end, or to --as-of within it.
    """
    found = _moved(period, performance, wanted, questions, moment, ledger)
    shown = [each for each in found if every or each.changed or each.parked]
    if named:
        lines = [
            (_name(ledger, "partner", e.partner), *_ladder(e.programme, e.award), *_ends(e), e.country, e.market, e.segment, e.parked)
            for e in shown
        ]
        out.rows(("partner", "programme", "award", "from tier", "to tier", "country", "market", "segment", "parked"), lines, form, shown)
    else:
        grouped = tier_flows.flows(shown)
        counted_ = [(*_ladder(flow.programme, flow.award), *_ends(flow), len(flow.partners)) for flow in grouped]
        out.rows(("programme", "award", "from tier", "to tier", "partners"), counted_, form, grouped)
    _say_parked(e.partner for e in found if e.parked)


def _moved(
    period: str | None, performance: bool, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger
) -> list[tier_flows.Moved]:  # fmt: skip
    """At the two ends of a period; without one, twice the moment."""
    as_of = questions.as_of(moment)
    ends = as_of, as_of
    if period is not None:
        ends = tier_flows.ends_of(*dates.period(period, ledger.clock(), ledger.settings.zone), as_of)
    return tier_flows.moved(questions, moment, ends, wanted, performance=performance)


def _ranks(questions: Questions, moment: Moment, programme: str) -> list[str]:
    """The tiers of the rulebook in force, the lowest first."""
    force = questions.force(replace(moment, programme=programme), (), questions.position(moment))
    book = next(each.book for each in force if questions.as_of(moment) < each.until)
    return list(book.ranks)


def _ladder(programme: str, award: str) -> tuple[str, str]:
    return programme, _award(_called(programme), award) if award else ""


def _ends(found: tier_flows.Moved | tier_flows.Flow) -> tuple[str, str]:
    """From which tier to which, as people call them."""
    called, outside = _called(found.programme), out.word("not enrolled")
    return called(found.before) if found.enrolled_before else outside, called(found.after) if found.enrolled_after else outside


@main.command()
@click.option("--year", type=click.IntRange(1, 9998), help="Of this year; default the latest whose 30 June lies before --as-of.")
@click.option("--best", type=click.IntRange(min=1), default=achieved.NOMINEES, show_default=True, help="So many places.")
@asked
@filtered
def nominees(
    year: int | None, best: int, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """The best by score at the end of 30 June of a year.

    All those on the last place are included. A filter leaves the places as they are among all.
    """
    names = _partners(ledger)
    found = questions.nominees(moment, year, best, names)
    places = found.nominees if found is not None else ()
    if found is not None and (wanted.of_place or wanted.tier is not None):
        meant = {each.partner for each in where.those(where.held_at(questions, moment, found.at), wanted)}
        places = tuple(place for place in places if place.partner in meant)
    if form == "table" and found is not None:
        out.line(t("nominees of {year}, as of {when}", year=found.year, when=out.when(found.at)))
        out.line()
    lines = [(p.place, out.named(p.partner, names.get(p.partner)), p.score) for p in places]
    out.rows(("place", "partner", "score"), lines, form, places, "" if places else t("nominees"))
    _say_parked(found.parked if found is not None else (), ledger.store)


@main.command()
@click.option("--year", type=int, help="Of this year only.")
@asked
def awards(year: int | None, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """Nominations and awards by year, as they were recorded."""
    names = _partners(ledger)
    found = [honour for of, honours in questions.awards(moment, names).items() if year in (None, of) for honour in honours]
    lines = [(h.year, h.award, out.word(h.what), out.named(h.partner, names.get(h.partner)), out.when(h.at), h.position) for h in found]
    out.rows(("year", "award", "what", "partner", "on", "position"), lines, form, found, "" if found else t("awards"))
    _say_parked((), ledger.store)


def _say_parked(partners: Iterable[str], store: Store | None = None) -> None:
    """What a list of many leaves open, so that nobody takes it for whole: who was not judged, and who else is parked."""
    judged_not = set(partners)
    _name_some("points: {count} parked, and not judged: {partners}{more}; ask for the standing of each to see why", judged_not)
    if store is not None:
        _name_some("points: {count} parked: {partners}{more}; points parked list says why", store.all_parked().keys() - judged_not)


def _name_some(said: str, partners: Collection[str]) -> None:
    if partners:
        more = t(" and {count} more", count=len(partners) - 3) if len(partners) > 3 else ""
        out.say(t(said, count=len(partners), partners=", ".join(sorted(partners)[:3]), more=more))


@main.command()
@click.argument("period", required=False)
@click.option("--partner", help="Of one partner only.")
@output
@click.pass_obj
def restatements(settings: Settings, period: str | None, partner: str | None, form: str) -> None:
    """Past tiers that late or reversing events changed.

    Those that were recorded in PERIOD (2024, 2024-Q1, 2024-03 or 2024-01..2024-03); default all.
    """
    with _open(settings) as ledger:
        if partner is not None:
            _check_partner(ledger, partner)
        since, until = (BEGINNING, FOREVER) if period is None else dates.period(period, ledger.clock(), settings.zone)
        found = [each for each in ledger.questions().restatements(since, until) if partner in (None, each.partner)]
        names = _partners(ledger)
        lines = [(out.named(r.partner, names.get(r.partner)), *_restated(r), r.position, out.when(r.recorded_at)) for r in found]
        tiers = ("credited before", "credited after", "performance before", "performance after")
        columns = ("partner", "award", "since", "until", *tiers, "position", "recorded")
        out.rows(columns, lines, form, found)
        _say_parked((), ledger.store)


def _check_partner(ledger: Ledger, partner: str) -> None:
    if not ledger.history.events(partner):
        raise NotFound(f"no partner {partner!r} is known", hint="points ranking lists them", code="unknown_partner")


def _restated(found: Restated) -> tuple[str, ...]:
    """The award, from when until when, and the tiers before and after as people call them."""
    called = _called(found.programme)
    award = _award(called, found.award) if found.award else ""
    tiers = (found.credited_before, found.credited_after, found.performance_before, found.performance_after)
    return award, out.when(found.since), out.when(found.until), *map(called, tiers)


@main.command()
@click.argument("period")
@click.option("--by", multiple=True, type=click.Choice(balances.BY), default=("client", "cause"), show_default=True, help="Or several.")
@click.option("--partner", help="Of one partner only.")
@click.option("--limit", type=click.IntRange(min=1), help="The largest so many.")
@click.option("--steps", is_flag=True, help="Each step, in order of time; without this they are added up.")
@asked
@filtered
def movements(
    period: str, by: tuple[str, ...], partner: str | None, limit: int | None, steps: bool, wanted: Filter, questions: Questions,
    moment: Moment, ledger: Ledger, form: str,
) -> None:  # fmt: skip
    """Points gained and lost in PERIOD, by client and cause.

    PERIOD is 2024, 2024-Q1, 2024-03 or 2024-01..2024-03, up to --as-of. --country, --market and --segment are the clients', --tier the
    partner's at the end.
    """
    if partner is not None:
        _check_partner(ledger, partner)
    ends = tier_flows.ends_of(*dates.period(period, ledger.clock(), ledger.settings.zone), questions.as_of(moment))
    found = balances.movements(questions, moment, ends, wanted, partner=partner)
    if steps:
        _show_steps(ledger, found.steps[:limit], form)
    else:
        _show_balances(ledger, found.steps, [field for field in balances.BY if field in by], limit, form)
    _say_parked(found.parked)


def _show_steps(ledger: Ledger, found: Sequence[balances.Movement], form: str) -> None:
    lines = [
        (out.when(s.at), _name(ledger, "partner", s.partner), _called(s.programme)(s.measure), s.delta, out.word(s.cause),
         _name(ledger, "client", s.client), s.place.country, s.place.market, s.place.segment, s.position)
        for s in found
    ]  # fmt: skip
    columns = ("when", "partner", "measure", "change", "cause", "client", "country", "market", "segment", "position")
    out.rows(columns, lines, form, found)


def _show_balances(ledger: Ledger, steps: Sequence[balances.Movement], by: Sequence[str], limit: int | None, form: str) -> None:
    found = balances.balances(steps, by)[:limit]
    lines = [
        (*_balance_key(ledger, by, b.key), b.programme, _called(b.programme)(b.measure), b.gained, b.lost, b.net)
        for b in found
    ]  # fmt: skip
    sums = ("programme", "measure", "gained", "lost", "net")
    told = [
        dict(
            zip(
                (*by, *("programme", "measure", "gained", "lost", "net")),
                (*b.key, b.programme, b.measure, b.gained, b.lost, b.net),
                strict=True,
            )
        )
        for b in found
    ]
    out.rows((*by, *sums), lines, form, told)
    if form == "table" and by:
        out.line()
        total = [(b.programme, _called(b.programme)(b.measure), b.gained, b.lost, b.net) for b in balances.balances(steps, ())]
        out.table(sums, total, t("together"))


def _balance_key(ledger: Ledger, by: Sequence[str], key: Sequence[str]) -> list[str]:
    return [out.word(part) if field == "cause" else _name(ledger, field, part or None) for field, part in zip(by, key, strict=True)]


@main.command("overrides")
@click.option("--within", help="Only those that lapse within this time (30d), or by this date.")
@asked
@filtered
def overrides_in_force(within: str | None, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str) -> None:
    """The exceptions in force, the next to lapse first."""
    at = questions.as_of(moment)
    until = None if within is None else dates.ahead(within, at, ledger.settings.zone)
    is_there = _among(questions, moment, at, wanted)
    has_tier = _having(questions, moment, at, wanted)
    found = [each for each in portfolio.overrides(questions, moment, until) if is_there(each.partner) and has_tier(each.partner)]
    lines = [
        (_name(ledger, "partner", g.partner), g.programme, g.award, g.override.override, g.override.target, out.when(g.override.since),
         out.when(g.override.until), g.override.reason, g.override.author, g.override.position)
        for g in found
    ]  # fmt: skip
    columns = ("partner", "programme", "award", "override", "target", "from", "until", "reason", "author", "position")
    out.rows(columns, lines, form, found, "" if found else t("overrides"))


@main.command("sql")
@click.argument("query")
@output
@click.pass_obj
def sql(settings: Settings, query: str, form: str) -> None:
    """Ask the read models in SQL.

    QUERY is one statement that only reads, or - for stdin. `points schema` lists the views.
    """
    statement = sys.stdin.read() if query == "-" else query
    with _open(settings) as ledger:
        ledger.catch_up()
        with ledger.store.reading() as reader:
            columns, found = reader.select(statement)
            names, lines = out.names(columns), plain_rows(found)
            if form != "parquet":
                out.answer(names, lines, form)
                _say_parked((), ledger.store)
                return
            fields = exporting.Shape(names).see(lines).fields()  # by all that is there: SQLite has no types to ask for
            exporting.write_parquet(fields, plain_rows(reader.select(statement)[1]), sys.stdout.buffer)
        _say_parked((), ledger.store)


@main.command()
@click.argument("view", metavar="[VIEW]", required=False, type=click.Choice([view.name for view in views.VIEWS]))
@click.option("--grant", "role", metavar="ROLE", help="The statements that let a role of PostgreSQL read the views, and nothing else.")
@output
@click.pass_obj
def schema(settings: Settings, view: str | None, role: str | None, form: str) -> None:
    """The views for sql and export, or one VIEW's columns."""
    if role is not None:
        _show_grants(settings, view, role)
        return
    if view is None:
        found = [{"view": each.name, "what_it_tells": each.comment, "columns": list(map(_column, each.columns))} for each in views.VIEWS]
        out.rows(("view", "what it tells"), [(each.name, each.comment) for each in views.VIEWS], form, found)
        return
    columns = _view(view).columns
    out.rows(("column", "type", "what it tells"), [tuple(_column(column).values()) for column in columns], form)


def _view(name: str) -> views.View:
    return next(view for view in views.VIEWS if view.name == name)


def _column(column: views.Column) -> dict[str, str]:
    return {"column": column.name, "type": column.type, "what_it_tells": column.comment}


def _show_grants(settings: Settings, view: str | None, role: str) -> None:
    if not role:
        raise click.UsageError("--grant needs the name of a role")
    if not is_url(settings.path):
        raise click.UsageError(f"{settings.path} is a file: who may read it reads all of it; roles are of a ledger on PostgreSQL")
    with _open(settings) as ledger:
        for statement in ledger.store.grants(role, [view] if view is not None else None):
            click.echo(f"{statement};")


def _within(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of who is in danger, and how it is found out."""
    said = "How many ask; default one for each core, where there are many partners."
    function = click.option("--processes", type=click.IntRange(1), help=said)(function)
    help = "Also tiers that will be lost within this time, or by this date."
    return click.option("--within", default="180d", show_default=True, help=help)(function)


@main.command("at-risk")
@_within
@asked
@filtered
def at_risk(
    within: str, processes: int | None, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """Who is at risk, or loses a tier if nothing more happens."""
    until = dates.ahead(within, questions.as_of(moment), ledger.settings.zone)
    found = _endangered(questions, moment, ledger, wanted, processes)
    found = [e for e in found if e.at_risk is not None or e.parked or (e.tier_lost_at is not None and e.tier_lost_at.at < until)]
    lines = []
    for e in found:
        cause = (e.tier_lost_at.cause if e.tier_lost_at else None) or (e.at_risk.cause if e.at_risk else None)
        lost, called = e.tier_lost_at, _called(e.programme)
        lines.append(
            (_name(ledger, "partner", e.partner), _award(called, e.award), called(e.credited), called(e.performance),
             out.when(e.at_risk.since) if e.at_risk else "", out.when(lost.at) if lost else "", called(lost.falls_to) if lost else "",
             called(cause.requirement) if cause else "", out.when(cause.at) if cause else "", cause.missing if cause else None,
             e.parked or "")
        )  # fmt: skip
    columns = (
        "partner", "award", "credited", "performance", "at risk since", "tier lost at", "falls to", "requirement", "fails from", "missing",
        "parked",
    )  # fmt: skip
    out.rows(columns, lines, form, found)
    _say_parked([e.partner for e in found if e.parked], ledger.store)


@main.command()
@_within
@asked
@filtered
def losses(
    within: str, processes: int | None, wanted: Filter, questions: Questions, moment: Moment, ledger: Ledger, form: str
) -> None:  # fmt: skip
    """The tiers that will be lost, by date, with the cause."""
    until = dates.ahead(within, questions.as_of(moment), ledger.settings.zone)
    told = _endangered(questions, moment, ledger, wanted, processes)
    found = [(e.tier_lost_at, e) for e in told if e.tier_lost_at is not None and e.tier_lost_at.at < until]
    found.sort(key=lambda each: (each[0].at, each[1].partner, each[1].programme, each[1].award))
    lines = []
    for lost, e in found:
        cause, called = lost.cause, _called(e.programme)
        lines.append(
            (out.when(lost.at), _name(ledger, "partner", e.partner), _award(called, e.award), called(lost.tier), called(lost.falls_to),
             lost.how,
             called(cause.requirement) if cause else "", out.when(cause.at) if cause else "", cause.missing if cause else None)
        )  # fmt: skip
    columns = ("tier lost at", "partner", "award", "tier", "falls to", "why", "requirement", "fails from", "missing")
    out.rows(columns, lines, form, [e for _, e in found])
    _say_parked([e.partner for e in told if e.parked], ledger.store)


def _endangered(questions: Questions, moment: Moment, ledger: Ledger, wanted: Filter, processes: int | None) -> list[Endangered]:
    """By what is known now from what was judged, where that still holds; of another moment everybody is asked."""
    at = questions.as_of(moment)
    is_there = _among(questions, moment, at, wanted)
    partners = ledger.history.partners()
    processes = spread.how_many(processes, len(partners))
    others = partial(_questions_of, ledger.settings, ledger.clock())
    with _bar(t("asking every partner")) as step:
        if (moment.known_at, moment.known_when, moment.rulebook, moment.award) == (None,) * 4:

            def judge(todo: Sequence[str]) -> Iterator[list[Judged]]:
                done, many = 0, spread.how_many(processes if len(todo) > spread.WORTH_WHILE or processes == 1 else 1, len(todo))
                for page in spread.judged(others if many > 1 else lambda: questions, todo, at, many):
                    done += len(page)
                    step(done, len(todo))
                    yield page

            found = [e for e in endangered.now(questions, at, judge) if moment.programme in (None, e.programme)]
        elif processes > 1:
            fixed = replace(moment, as_of=at, known_at=questions.position(moment), known_when=None)
            found = list(spread.at_risk(others, partners, fixed, processes, lambda done: step(done, len(partners))))
        else:
            asked = iter(range(1, 1 << 62))
            found = list(questions.at_risk(moment, partners, lambda _: step(next(asked), len(partners))))
    return [e for e in found if is_there(e.partner) and wanted.tier in (None, e.credited)]


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
    return Connection.of(settings)


@topics.command("create")
@click.pass_obj
def topics_create(settings: Settings) -> None:
    """Make the topics that are not there. One that is there is left as it is, and checked."""
    from consumers.kafka_bus import Admin

    with _session(settings) as session, Admin(_connection(settings)) as admin:
        for topic in _wanted(settings, session):
            made = admin.create(topic, settings.replicas)
            out.say(f"{topic.name}: {t('made') if made else t('is there already')}")
        _check_topics(settings, admin, session)


@topics.command("check")
@click.pass_obj
def topics_check(settings: Settings) -> None:
    """Whether the topics are as they must be. Exits 1 where a setting would lose events."""
    from consumers.kafka_bus import Admin

    with _session(settings) as session, Admin(_connection(settings)) as admin:
        _check_topics(settings, admin, session)


def _wanted(settings: Settings, session: Any = None) -> tuple[stream_topics.Topic, ...]:
    """The topics as they must be: as the ledger works with them, where it does."""
    from consumers.production import in_use

    found = stream_topics.wanted(settings.topics, settings.partitions)
    return found if session is None else in_use(found, session)


@contextmanager
def _session(settings: Settings) -> Iterator[Any]:
    """A session of the ledger's database; None where the ledger is a file, or not there."""
    if not is_url(settings.path):
        yield None
        return
    try:
        log = Log(settings.path, create=False)
    except NotFound:
        yield None
        return
    with log, log.database.session(60) as session:
        yield session


def _check_topics(settings: Settings, admin: Any, session: Any) -> None:
    from consumers.production import topic_faults

    needed = _wanted(settings, session)
    faults = topic_faults(needed, admin.find([topic.name for topic in needed]), session)
    if admin.auto_creates():
        faults.append(stream_topics.AUTO_CREATED)
    for fault in faults:
        click.echo(f"{'' if fault.loses else 'note: '}{fault}")
    losing = sum(fault.loses for fault in faults)
    out.say(f"{out.many(len(needed), 'topic')}: {out.many(losing, 'fault')}, {out.many(len(faults) - losing, 'note')}")
    if losing:
        raise click.exceptions.Exit(1)


@topics.command("move")
@click.argument("role", type=click.Choice((stream_topics.EVENTS, stream_topics.INBOX)))
@click.argument("name")
@click.option("--partitions", type=click.IntRange(1, 1000), help="Of the new topic; default POINTS_LEDGER_PARTITIONS.")
@click.pass_obj
def topics_move(settings: Settings, role: str, name: str, partitions: int | None) -> None:
    """Go on in another topic NAME, with more partitions. The stream of events is published again there, from the first."""
    from consumers import production

    parts = _parts(settings, checked=False)
    try:
        production.move(parts, role, name, partitions or settings.partitions, settings.replicas)
    finally:
        parts.close()
    out.say(t("{role}: the ledger goes on in {topic}", role=role, topic=name))


# -- stations ----------------------------------------------------------------------------------------------------------


def _parts(settings: Settings, go_on: Callable[[], None] = lambda: None, *, checked: bool = True) -> Any:
    """What a station is made of."""
    from consumers.production import Parts, Place

    topics = stream_topics.wanted(settings.topics, settings.partitions)
    return Parts(Place(str(settings.path), _connection(settings), topics), go_on, checked=checked)


def _applied(ledger: Ledger) -> int:
    from consumers.production import applied_position

    with ledger.log.database.session(60) as session:
        return applied_position(session)


@main.command("run")
@click.argument("station", type=click.Choice(("ingest", "relay", "project", "expire")))
@click.option("--member", help="The name of this process, which keeps its partitions over a restart; no two run under one name.")
@click.option("--listen", metavar="HOST:PORT", help="Where /health and /metrics are; default nowhere.")
@click.option("--every", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds between two looks of expire.")
@click.option("--patience", default=120.0, show_default=True, type=click.FloatRange(0), help="Seconds of failing after which it gives up.")
@click.pass_obj
def run_(settings: Settings, station: str, member: str | None, listen: str | None, every: float, patience: float) -> None:
    """Run STATION (ingest, relay, project, expire) until stopped.

    It logs lines of JSON to stderr.
    """
    from consumers import production
    from consumers.running import Journal, Runner, Station, Watch

    journal = Journal(station)
    journal.take_in()

    def make() -> Station:
        parts = _parts(settings, runner.go_on)
        intake = Intake(parts.log, utc_now, _limits(settings))
        try:
            match station:
                case "ingest":
                    return production.IngestStation(parts, intake, utc_now, member)
                case "relay":
                    return production.RelayStation(parts)
                case "project":
                    return production.ProjectStation(parts, utc_now, member)
                case _:
                    return production.ExpireStation(parts, intake, utc_now, every)
        except BaseException:
            parts.close()
            raise

    runner = Runner(station, make, journal, patience_seconds=patience)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, runner.stop)
    watch = None
    if listen is not None:
        host, _, port = listen.rpartition(":")
        if not port.isdecimal():
            raise click.UsageError("--listen is HOST:PORT")
        watch = Watch(runner, host or "127.0.0.1", int(port))
        journal("listens", host=host or "127.0.0.1", port=watch.port)
    collect_seldom()
    try:
        runner.run()
    finally:
        if watch is not None:
            watch.close()


@main.command()
@output
@click.pass_obj
def status(settings: Settings, form: str) -> None:
    """How far each station has come, and what waits.

    Positions of the log, and the inbox by partition.
    """
    from consumers.production import status as found

    with _open(settings) as ledger, ledger.log.database.session(60) as session:
        lines = found(session)
    out.rows(("what", "partition", "value"), lines, form)


@main.group()
def refused() -> None:
    """What came in and was refused: look, mend, send again."""


@refused.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are settled too.")
@output
@click.pass_obj
def refused_list(settings: Settings, everything: bool, form: str) -> None:
    """What was refused and is not settled, the oldest first."""
    from consumers import refused as refusals

    with _open(settings) as ledger, ledger.log.database.session(60) as session:
        found = refusals.listed(session, everything)
    lines = [(r.id, out.when(r.refused_at), r.code, r.record["message"], f"{r.partition}/{r.offset}", r.settled) for r in found]
    out.rows(("id", "refused", "code", "reason", "partition/offset", "settled"), lines, form)


@refused.command("show")
@click.argument("id", type=int)
@click.option("--raw", is_flag=True, help="The bytes as they came, and nothing else: to mend them in a file.")
@click.pass_obj
def refused_show(settings: Settings, id: int, raw: bool) -> None:
    """One refusal in full: why, what next, where it came from, and what was sent."""
    from consumers import refused as refusals

    with _open(settings) as ledger, ledger.log.database.session(60) as session:
        found = refusals.get(session, id)
    if raw:
        sys.stdout.buffer.write(found.raw or b"")
    else:
        out.emit(found.record, "json")


@refused.command("retry")
@click.argument("ids", type=int, nargs=-1, required=True)
@click.option("--file", type=click.File("rb"), help="The mended bytes of the one ID, a CloudEvent in JSON.")
@click.option("--dismiss", help="Do not send it again: the reason why it is settled.")
@output
@click.pass_obj
def refused_retry(settings: Settings, ids: tuple[int, ...], file: Any, dismiss: str | None, form: str) -> None:
    """Send refused inputs again, as they came or mended. What is accepted now, or was meanwhile, is settled."""
    from consumers import refused as refusals

    if file is not None and len(ids) > 1:
        raise click.UsageError("--file mends one refusal")
    mended = None if file is None else file.read()
    with _open(settings) as ledger, ledger.log.database.session(60) as session:
        told = []
        for id in ids:
            if dismiss is not None:
                refusals.settle(session, refusals.get(session, id), dismiss, utc_now())
                told.append((id, "dismissed", None, None, dismiss))
                continue
            receipt = refusals.retry(session, ledger.intake, refusals.get(session, id), mended, utc_now())
            told.append((id, *_receipt(0, receipt)[1:4], _receipt(0, receipt)[5]))
        ledger.catch_up()
    out.rows(("id", "receipt", "position", "code", "reason"), told, form)
    if any(row[1] == "refused" for row in told):
        raise click.exceptions.Exit(1)


@main.group()
def parked() -> None:
    """Partners that cannot be applied to the read models."""


@parked.command("list")
@output
@click.pass_obj
def parked_list(settings: Settings, form: str) -> None:
    """Every parked partner, with why."""
    with _open(settings) as ledger:
        ledger.catch_up()
        found = list(ledger.store.all_parked().items())
    out.rows(("partner", "parked"), found, form)


@parked.command("retry")
@click.argument("partners", nargs=-1)
@click.pass_obj
def parked_retry(settings: Settings, partners: tuple[str, ...]) -> None:
    """Apply parked PARTNERS again, or all of them: after a rulebook was published, or the program mended."""
    with _open(settings) as ledger:
        ledger.catch_up()
        found = set(ledger.store.all_parked())
        if strangers := sorted(set(partners) - found):
            raise NotFound(f"{', '.join(strangers)}: not parked", hint="parked list has those that are", code="not_parked")
        ledger.project.retry(sorted(partners or found))
        left = len(ledger.store.all_parked())
    out.say(t("{tried} tried again, {left} still parked", tried=out.many(len(partners or found), "partner"), left=left))
    if left:
        raise click.exceptions.Exit(Parked.exit_code)


@main.command()
@click.option("--from-kafka", is_flag=True, required=True, help="From the stream of events.")
@click.pass_obj
def restore(settings: Settings, from_kafka: bool) -> None:
    """Make the ledger anew, byte for byte, from the stream.

    In an empty database, from the stream of events alone.
    """
    from consumers import production

    parts = _parts(settings)
    try:
        with _bar(t("restoring")) as step:
            done = production.restored(parts, step)
        Project(InProcessBus(), parts.history, parts.store).rebuild()
        production.restored_rows(parts, done)
    finally:
        parts.close()
    out.say(t("{events} events restored, {duplicates} duplicates dropped", events=done.events, duplicates=done.duplicates))
    if done.beyond:
        out.say(t("{beyond} events of an insert that was not published whole: go on with topics move events NAME", beyond=done.beyond))
        raise click.exceptions.Exit(1)


def _verify_stream(settings: Settings, ledger: Ledger) -> list[audit.Finding]:
    from consumers import production

    parts = _parts(settings)
    try:
        with _bar(t("reading the stream")) as step:
            found = production.compared(parts, step)
    finally:
        parts.close()
    out.say(t("{messages} messages in the stream, {duplicates} of them twice", messages=found.messages, duplicates=found.duplicates))
    return [] if found.difference is None else [audit.Finding(found.code, "stream", found.difference)]


# -- rulebooks ---------------------------------------------------------------------------------------------------------


@main.group()
def rules() -> None:
    """Write, compare, test and publish rulebooks."""


def _library(settings: Settings) -> Library:
    """Shipped rulebooks, and published ones where there is a ledger."""
    return Library(_published(settings))


def _published(settings: Settings) -> Sequence[Sealed]:
    try:
        with _open(settings) as ledger:
            return ledger.history.published()
    except NotFound:
        return ()


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
    out.say(t("{told}: {failed} not met", told=", ".join(told), failed=failed))
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
        with _bar(t("asking every partner")) as step:
            total, done = len(ledger.history.partners()), iter(range(1, 1 << 62))
            found = list(ledger.questions().impact(book, Moment(), lambda _: step(next(done), total)))
        changed, called = [i for i in found if i.at is not None], _called(book.programme)
        lines = [
            (_name(ledger, "partner", i.partner), _award(called, i.award), out.when(i.at) if i.at is not None else "", called(i.before),
             called(i.after), i.parked or "")
            for i in found
        ]  # fmt: skip
        out.rows(("partner", "award", "from", "credited", "would be", "parked"), lines, form, found)
        said = "{count} of {total} partners would be credited differently by {book}"
        out.say(t(said, count=len({i.partner for i in changed}), total=total, book=book.name))
        _say_parked([i.partner for i in found if i.parked], ledger.store)


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
    out.say(t("{file} and {cases} written; go on with: points rules test {cases} --book {file}", file=file, cases=cases))


@rules.command("publish")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--author", required=True, help="Who decides.")
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
    book = books.load(written, name=file.name)
    errors = [problem for problem in lint.lint(written, file.name) if problem.severity == "error"]
    for problem in errors:
        click.echo(f"{file}: {problem}")
    published = _published(settings)
    library = Library(published)
    before = [sealed.position for sealed in published if getattr(sealed.event.data, "hash", None) == book.hash]
    if not errors and before and any(each.hash == book.hash for each in library.books()):
        out.say(t("{book} is published already, at position {position}", book=book.name, position=before[-1]))
        return
    known = _with(library, [book])
    failed = [m for f in files for m in golden.run(_text(f), str(f), known).mismatches]
    for mismatch in failed:
        click.echo(str(mismatch))
    if errors or failed:
        raise click.exceptions.Exit(1)
    again = f" {len(before) + 1}" if before else ""
    made = event(
        "rulebook.published.v1", effective_at=utc_now(), id=f"{book.name} {book.hash[:16]}{again}", source="points/rules", book=book.name,
        programme=book.programme, effective=day_text(book.effective)[:10], hash=book.hash, text=written, author=author,
    )  # fmt: skip
    _record_one(settings, made, t("{book} published, hash {hash}", book=book.name, hash=book.hash), create=True)


# -- keeping -----------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--fresh", is_flag=True, help="Begin anew, where an earlier one was stopped.")
@click.option("--processes", type=click.IntRange(1), help="How many make rows; default one for each core, where there are many partners.")
@click.pass_obj
def rebuild(settings: Settings, fresh: bool, processes: int | None) -> None:
    """Make the read models anew from the log.

    Beside those that are read: everybody goes on meanwhile. It goes on where one was stopped, and says what the old rows had wrong.
    """
    with _open(settings) as ledger:
        _rebuild(ledger, t("rebuilding"), fresh=fresh, processes=processes, tell=True)


def _rebuild(ledger: Ledger, label: str, *, fresh: bool = False, processes: int | None = None, tell: bool = False) -> None:
    applied = _applied(ledger) if ledger.has_stations else None
    with _bar(label) as step:
        done = ledger.project.rebuild(step, applied=applied, fresh=fresh, processes=processes, open_parts=partial(_kept, ledger.settings))
    if done.before and tell:
        out.say(t("{partners} had been made by a rebuild that was stopped", partners=out.many(done.before, "partner")))
    if tell:
        out.say(t("{partners} rebuilt at position {position}", partners=out.many(done.partners, "partner"), position=done.position))
    if done.differing:
        said = "points: the read models were wrong of {partners}; first: {difference}"
        out.say(t(said, partners=out.many(done.differing, "partner"), difference=done.first))


def _kept(settings: Settings) -> tuple[History, Store]:
    """The log and the read models, for another process."""
    collect_seldom()
    return History(Log(settings.path, create=False)), Store(settings.read_path)


@main.command("migrate")
@click.pass_obj
def migrate_(settings: Settings) -> None:
    """Bring the schema of a ledger on PostgreSQL to this version. Stop the stations first."""
    migrate(settings.path)
    out.say(t("the schema is of this version"))


@main.command()
@click.option("--whole", is_flag=True, help="Of everything, also what was altered in the past.")
@click.option("--kafka", is_flag=True, help="Also hold the stream of events on Kafka against the log, both ways.")
@click.option("--processes", type=click.IntRange(1), help="How many make rows; default one for each core, where there are many partners.")
@click.pass_obj
def verify(settings: Settings, whole: bool, kafka: bool, processes: int | None) -> None:
    """Check that log and read models are what they should be.

    Exits 1 and names what differs, of each partner the first row. The log: order, hashes, receipts, times. The read models: every row
    that the log makes, and no other. By default of what came since the last verify without a difference.
    """
    with _open(settings) as ledger:
        log, store, partners = ledger.log, ledger.store, 0
        after, head = 0 if whole else audit.verified(log, store), log.head()
        found = audit.walked(log, after)
        if not found:
            ledger.catch_up()
            applied = _applied(ledger) if ledger.has_stations else store.position()
            with _bar(t("verifying")) as step:

                def count(done: int, of: int) -> None:
                    nonlocal partners
                    partners = done
                    step(done, of)

                open_parts = partial(_kept, settings)
                found += audit.against_rows(log, store, applied, count, after=after, processes=processes, open_parts=open_parts)
            if all(finding.note for finding in found):
                audit.remember(store, log.insert_end(min(applied, head)))
        if kafka:
            found += _verify_stream(settings, ledger)
        wrong = sum(not finding.note for finding in found)
        for finding in found:
            click.echo(f"{'note: ' if finding.note else ''}{finding.code}: {finding.where}: {finding.found}")
        size = f"{out.many(head - after, 'event')}, {out.many(partners, 'partner')}"
        if after:
            size = t("since position {position}: {size}", position=after, size=size)
        out.say(f"{size}: {out.many(wrong, 'difference')}")
    if wrong:
        raise click.exceptions.Exit(1)


EXPORTED = ("jsonl", "csv", "json", "parquet")


@main.command()
@click.argument("view", metavar="[VIEW]", required=False, type=click.Choice([view.name for view in views.VIEWS]))
@click.option("--partner", help="Of one partner only.")
@click.option("--as-of", help="Of a VIEW: only the rows that hold at a date or moment.")
@click.option("--known-at", help="Of a VIEW: as known when, at a position or a date; default all that is known.")
@click.option("--sealed", is_flag=True, help="Events with position, version, recorded time and hash beside each.")
@click.option("--inputs", is_flag=True, help="What came in through the door, with its recorded time: for record --migrate.")
@_output(EXPORTED)
@click.pass_obj
def export(
    settings: Settings, /, view: str | None, partner: str | None, as_of: str | None, known_at: str | None, form: str, **of: bool
) -> None:  # fmt: skip
    """The events as CloudEvents, or the rows of a VIEW.

    Of events, one a line, the stored bytes and nothing else, unless --inputs adds when each was recorded. Of a VIEW all rows, or those of
    a moment; points schema lists the views. What other commands answer, they export themselves: points ranking --to ranking.parquet.
    """
    if view is not None:
        if any(of.values()):
            raise click.UsageError("--sealed and --inputs are of events, not of a view")
        _export_view(settings, _view(view), partner, (as_of, known_at), form)
        return
    if as_of is not None or known_at is not None:
        raise click.UsageError("--as-of and --known-at go with a VIEW; points schema lists them")
    if form != "jsonl":
        raise click.UsageError("events are CloudEvents, one a line: -o jsonl, or name a VIEW")
    _export_events(settings, partner, **of)


def _export_events(settings: Settings, partner: str | None, *, sealed: bool, inputs: bool) -> None:
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


def _export_view(settings: Settings, view: views.View, partner: str | None, when: tuple[str | None, str | None], form: str) -> None:
    as_of, known_at = when
    if as_of is not None and not view.has_instants:
        raise click.UsageError(f"{view.name} has no since and until, for which --as-of could ask")
    if known_at is not None and not view.table:
        raise click.UsageError(f"{view.name} has one clock; --known-at is for {', '.join(each.name for each in views.VIEWS if each.table)}")
    with _open(settings) as ledger:
        if partner is not None and not ledger.history.events(partner):
            raise NotFound(f"no partner {partner!r} is known", hint="points ranking lists them", code="unknown_partner")
        questions = ledger.questions()
        extract = questions.extract(view, _moment(settings, ledger.clock(), as_of, known_at), partner)
        with ledger.store.reading() as reader, _watched(extract, reader) as step:
            rows = Counted(questions.rows(extract, reader), step)
            _write_rows(extract, rows, form)
            parked = [name for (name,) in reader.select("SELECT partner FROM partners WHERE parked IS NOT NULL ORDER BY partner")[1]]
        _say_extract(extract, rows.count, questions, ledger.clock())
        _say_parked(parked if partner is None else {partner}.intersection(parked))


class Counted:
    """Rows, counted as they go by."""

    def __init__(self, rows: Iterable[tuple[Any, ...]], step: Callable[[int], None]) -> None:
        self.count = 0
        self._rows, self._step = rows, step

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self._rows:
            self.count += 1
            if self.count % exporting.PAGE == 0:
                self._step(self.count)
            yield row
        self._step(self.count)


@contextmanager
def _watched(extract: Extract, reader: Reader) -> Iterator[Callable[[int], None]]:
    """A bar where somebody watches and the rows go elsewhere; only then are they counted first."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda _: None
        return
    total = extract.count(reader)
    with _bar(t("reading {view}", view=extract.view.name)) as step:
        yield lambda done: step(min(done, total), total)


_KINDS = {views.TIME: exporting.Kind.TIME, views.TEXT: exporting.Kind.TEXT, views.WHOLE: exporting.Kind.WHOLE}


def _write_rows(extract: Extract, rows: Iterable[tuple[Any, ...]], form: str) -> None:
    columns = extract.view.columns
    if form == "parquet":
        at = "" if extract.as_of is None else text(extract.as_of)
        about = {"view": extract.view.name, "as_of": at, "known_at": "" if extract.known_at is None else str(extract.known_at)}
        fields = [exporting.Field(column.name, _KINDS[column.type]) for column in columns]
        exporting.write_parquet(fields, rows, sys.stdout.buffer, about)
        return
    is_time = [column.type == views.TIME for column in columns]
    lines = ([exporting.time_text(cell) if timed else cell for cell, timed in zip(row, is_time, strict=True)] for row in rows)
    out.answer([column.name for column in columns], lines, form)


def _say_extract(extract: Extract, count: int, questions: Questions, now: Instant) -> None:
    position = questions.applied() if extract.known_at is None else extract.known_at
    said = t("{view}: {rows}, as known at position {position}", view=extract.view.name, rows=out.many(count, "row"), position=position)
    if extract.as_of is not None:
        said += t(", as of {when}", when=out.when(extract.as_of))
    out.say(said)
    if extract.as_of is not None and extract.as_of > now:
        out.say(t("that lies ahead: what ends by then is known, and nothing else is foreseen"))
    if extract.known_at is not None and extract.as_of is None and extract.known_at < questions.applied():
        out.say(t("what was known then of instants beyond answers_until of knowledge is left out; --as-of asks for one"))


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
            out.say(t("{file} is there already; it is shown as it is", file=path))
        walk = Ledger(settings, clock=lambda: demo.TODAY)
        try:
            _walk_through(walk, f"points --ledger {path}")
        finally:
            walk.close()


def _walk_through(ledger: Ledger, command: str) -> None:
    questions, moment, partner, day = ledger.questions(), Moment(as_of=demo.TODAY), demo.AT_RISK, text(demo.TODAY)
    size = {"events": ledger.log.head(), "partners": len(ledger.history.partners()), "day": day[:10], "seed": demo.SEED}
    out.line(t("{events} events of {partners} invented partners, up to {day}. Seed {seed}.", **size))
    out.line()
    out.line(f"{_step('1. The ranking')}{command} ranking --as-of {day} --limit 5")
    rows = [
        (r.place, _name(ledger, "partner", r.partner), r.score, _tier(r, r.credited), _tier(r, r.performance))
        for r in questions.ranking(moment)[:5]
    ]
    out.table(("place", "partner", "score", "credited", "performance"), rows)
    out.line()
    out.line(f"{_step('2. A partner at risk')}{command} standing {partner} --as-of {day}")
    answer = questions.standing(partner, moment)
    _show_standing(ledger, answer)
    assert answer.tier_lost_at is not None, f"{partner} was to be at risk"
    until = answer.tier_lost_at.at
    out.line()
    out.line(f"{_step('   What ends by then')}{command} breakdown {partner} --as-of {day} --deal-type sourced --ending {day_text(until)}")
    found = boards.ending(questions.breakdown(partner, moment, deal_type="sourced")[1], until)
    out.table(
        ("ends", "points", "client", "line|product", "position"), [(out.when(o.end), o.value, o.client, o.line, o.position) for o in found]
    )
    out.line()
    out.line(f"{_step('3. Its score explained')}{command} why {partner} --number total --as-of {day}")
    out.tree(questions.why(partner, moment).reasons["total"], limit=2)
    out.line()
    _walk_late(questions, command)


def _step(name: str) -> str:
    """What a step of the demo is, before its command."""
    names = ("1. The ranking", "2. A partner at risk", "   What ends by then", "3. Its score explained", "4. A late fact")
    return t(name).ljust(max(len(t(each)) for each in names) + 3)


def _walk_late(questions: Questions, command: str) -> None:
    """A sale of March, told in May."""
    late = demo.late(questions.history)
    as_of, partner = late.event.effective_at + 20 * DAY, demo.TOLD_LATE
    out.line(f"{_step('4. A late fact')}{command} standing {partner} --as-of {text(as_of)} --known-at {late.position - 1}")
    told = {"day": day_text(late.event.effective_at), "when": out.when(late.recorded_at), "position": late.position}
    out.line(t("   A sale of {day} was recorded on {when}, at position {position}.", **told))
    rows = []
    for known in (late.position - 1, late.position):
        answer = questions.standing(partner, Moment(as_of=as_of, known_at=known))
        lost = answer.tier_lost_at
        called = _called(answer.basis.programme)
        rows.append((t("position {position}", position=known), answer.values["total"], called(answer.performance), called(answer.credited),
                     out.when(lost.at) if lost else t("never")))  # fmt: skip
    first = t("{partner} on {day}, as known at", partner=partner, day=day_text(as_of))
    out.table((first, called("total"), "performance", "credited", "tier lost at"), rows)
    out.line()
    out.line(f"{t('Go on:')} {command} dashboard {partner} --as-of {text(demo.TODAY)[:10]}; {command} verify; points --help")


if __name__ == "__main__":
    main()

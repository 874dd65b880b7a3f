"""The catalogue: every kind of event that the ledger takes, each a frozen model with a dotted, versioned name.

It is closed: what is not here is refused. All scalars are texts, whole numbers or flags; amounts and points are decimal strings,
so that no reader ever makes a float of them. A model says what an event states, never what it is worth.

This is the one definition. The fast decoder, the texts of refusals and the tables of `docs/events.md` are generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, create_model
from pydantic import Field as Bounded

from ledger.instants import BEGINNING, FOREVER, parse


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: the name of the form, what it looks like, and the code by which anything else is refused."""

    name: str
    looks: str
    code: str = "wrong_type"


def exists(written: str) -> str:
    """The text, if it names a day or time of the years 1 to 9999 in UTC. Raises ValueError."""
    if not BEGINNING <= parse(written) < FOREVER:
        raise ValueError(f"{written!r} is not within the years 1 to 9999")
    return written


_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
TIME_PATTERN = f"^{_DAY}{_CLOCK}$"

# The forms of values. A pattern begins with ^, ends with $ and leaves out what JSON must escape only by [^...]; `codec` counts on it.
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Form("id", "1 to 200 characters, none of them a control character"),
]
Source = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+$"),
    Form("source", "1 to 200 characters, none of them a space or a control character"),
]
Code = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+/-]{0,99}$"),
    Form("code", "1 to 100 of A-Z a-z 0-9 _ . + / -, beginning with a letter or digit"),
]
Decimal = Annotated[
    str,
    StringConstraints(pattern=r"^-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,9})?$"),
    Form("amount", 'a decimal string such as "12.50" or "-3", with at most 18 digits before the point and 9 after it', "bad_amount"),
]
Day = Annotated[
    str, StringConstraints(pattern=f"^{_DAY}$"), AfterValidator(exists), Form("day", "a day of the calendar such as 2024-02-29", "bad_time")
]
Time = Annotated[
    str,
    StringConstraints(pattern=TIME_PATTERN),
    AfterValidator(exists),
    Form("time", "RFC 3339 with an offset and at most microseconds, such as 2024-03-01T00:00:00Z", "bad_time"),
]
DayOrTime = Annotated[
    str,
    StringConstraints(pattern=f"^{_DAY}(?:{_CLOCK})?$"),
    AfterValidator(exists),
    Form("day or time", "a day such as 2024-02-29 (its 00:00 UTC) or a time such as 2024-03-01T00:00:00Z", "bad_time"),
]
Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(?:0[1-9]|1[0-2])$"), Form("month", "a month such as 2024-02", "bad_time")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), Form("currency", "three capital letters of ISO 4217, such as EUR")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), Form("country", "two capital letters of ISO 3166, such as NL")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000), Form("text", "1 to 2,000 characters")]
Document = Annotated[str, StringConstraints(min_length=1, max_length=500_000), Form("document", "1 to 500,000 characters")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Form("hash", "SHA-256 as 64 of 0-9 a-f")]
Count = Annotated[int, Bounded(ge=0, le=1_000_000_000), Form("count", "a whole number from 0 to 1,000,000,000, without quotes")]
Share = Annotated[int, Bounded(ge=-1_000_000, le=1_000_000), Form("number", "a whole number from -1,000,000 to 1,000,000, without quotes")]
Year = Annotated[int, Bounded(ge=1990, le=2199), Form("year", "a whole number from 1990 to 2199, without quotes")]
Flag = Annotated[bool, Form("flag", "true or false, without quotes")]
Version = Annotated[str, StringConstraints(pattern=r"^1\.0$"), Form("version", 'the ledger reads CloudEvents "1.0"', "wrong_specversion")]
ContentType = Annotated[
    str, StringConstraints(pattern=r"^application/json$"), Form("content type", "send application/json", "wrong_content_type")
]
KindName = Annotated[str, Form("kind", "a dotted name of the catalogue such as points.sold.v1", "unknown_kind")]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Attributes(Model):
    """The attributes of CloudEvents 1.0 that the ledger takes, in the order in which they are judged."""

    specversion: Version
    datacontenttype: ContentType | None = None
    id: Id
    source: Source
    subject: Id | None = None
    type: KindName
    time: Time
    recordedtime: Time | None = None
    cause: Text | None = None
    dataschema: Text | None = None
    traceparent: Text | None = None
    tracestate: Text | None = None
    data: Annotated[Any, Form("data", "a JSON object with the fields of the kind")]


class Kind(Model):
    """What the `data` of one kind of event states."""

    kind: ClassVar[str]


class EventRef(Model):
    """An event by its source and id."""

    source: Id
    id: Id


Ref = Annotated[EventRef, Form("event", 'an object {"source": ..., "id": ...} that names an event')]
Refs = Annotated[tuple[EventRef, ...], Form("events", 'a list of objects {"source": ..., "id": ...}, each of which names an event')]


class PartnerEnrolled(Kind):
    """A partner joins a programme (all programmes of the ledger where none is named)."""

    kind = "partner.enrolled.v1"
    programme: Code | None = None
    country: Country | None = None
    market: Code | None = None
    segment: Code | None = None


class PartnerChanged(Kind):
    """What is stated replaces what was stated before."""

    kind = "partner.changed.v1"
    country: Country | None = None
    market: Code | None = None
    segment: Code | None = None


class PartnerLeft(Kind):
    """A partner leaves a programme, or all of them."""

    kind = "partner.left.v1"
    programme: Code | None = None


class PersonLinked(Kind):
    """A person's certificates count for this partner from now on; a link elsewhere ends at the same instant."""

    kind = "person.linked.v1"
    person: Id
    role: Code | None = None


class PersonUnlinked(Kind):
    """The person ends the link."""

    kind = "person.unlinked.v1"
    person: Id


class PersonLeft(Kind):
    """The person has left the partner's organisation."""

    kind = "person.left.v1"
    person: Id


class ClientAssigned(Kind):
    """A client is associated with the partner; `person` is the partner's user who looks after it. An exclusive client
    has one partner at a time."""

    kind = "client.assigned.v1"
    client: Id
    country: Country | None = None
    segment: Code | None = None
    association: Code = "standard"
    exclusive: Flag = False
    person: Id | None = None


class ClientChanged(Kind):
    """What is stated replaces what was stated before."""

    kind = "client.changed.v1"
    client: Id
    country: Country | None = None
    segment: Code | None = None
    association: Code | None = None


class ClientReleased(Kind):
    """Services end; with `person`, that user no longer looks after the client and the rest stays."""

    kind = "client.released.v1"
    client: Id
    person: Id | None = None


class SubscriptionStarted(Kind):
    """A client's subscription begins. `mrr` is a month's recurring revenue."""

    kind = "client.subscription_started.v1"
    client: Id
    subscription: Id
    line: Id
    mrr: Decimal
    currency: Currency
    edition: Code | None = None
    contact_tier: Code | None = None
    email_tier: Code | None = None
    apps: Count | None = None
    seats: Count | None = None
    state: Code | None = None


class SubscriptionChanged(Kind):
    """What is stated replaces what was stated before."""

    kind = "client.subscription_changed.v1"
    client: Id
    subscription: Id
    line: Id | None = None
    mrr: Decimal | None = None
    currency: Currency | None = None
    edition: Code | None = None
    contact_tier: Code | None = None
    email_tier: Code | None = None
    apps: Count | None = None
    seats: Count | None = None
    state: Code | None = None


class SubscriptionEnded(Kind):
    """A client's subscription ends."""

    kind = "client.subscription_ended.v1"
    client: Id
    subscription: Id


class UserAdded(Kind):
    """A partner's user gets access to the client's account."""

    kind = "client.user_added.v1"
    client: Id
    person: Id


class UserRemoved(Kind):
    """A partner's user no longer has access to the client's account."""

    kind = "client.user_removed.v1"
    client: Id
    person: Id


class WorkedOn(Kind):
    """Qualifying activity of a partner's user in a client's account; logging in is none."""

    kind = "client.worked_on.v1"
    client: Id
    person: Id
    activity: Code | None = None


class RenewalScheduled(Kind):
    """A subscription comes up for renewal; `owner` says who owns the communication."""

    kind = "renewal.scheduled.v1"
    client: Id
    subscription: Id
    renews_on: Day
    decision_due_on: Day
    owner: Code
    manager: Id | None = None
    line: Id | None = None
    edition: Code | None = None
    mrr: Decimal | None = None
    currency: Currency | None = None


class ContactAssigned(Kind):
    """One of the programme's people looks after the partner, e.g. as channel_account_manager."""

    kind = "contact.assigned.v1"
    contact: Id
    role: Code
    duties: Text | None = None


class PointsSold(Kind):
    """A sale: `amount` is the added MRR (negative for a downgrade or credit note, which may name the sale it `credits`)."""

    kind = "points.sold.v1"
    client: Id
    line: Id
    amount: Decimal
    currency: Currency
    revenue: Code = "subscription"
    deal_type: Code = "sourced"
    deal: Id | None = None
    line_first_sold_on: Day | None = None
    credits: Id | None = None
    with_deal: Flag = True


class PointsManaged(Kind):
    """The client's whole subscription MRR that this partner services; a later statement replaces it."""

    kind = "points.managed.v1"
    client: Id
    mrr: Decimal
    currency: Currency
    servicing_partners: Share = 1


class PointsAdjusted(Kind):
    """Points stated outright, of one measure."""

    kind = "points.adjusted.v1"
    measure: Code
    points: Decimal
    until: DayOrTime | None = None
    client: Id | None = None
    note: Text | None = None


class PointsExpired(Kind):
    """An announcement: these lots have left the measure. It decides nothing."""

    kind = "points.expired.v1"
    measure: Code
    lots: Refs
    points: Decimal | None = None


class PointsLost(Kind):
    """A subscription is lost: its lots end. Either one lot, or all lots of the client (and line)."""

    kind = "points.lost.v1"
    client: Id | None = None
    line: Id | None = None
    lot: Ref | None = None
    reason: Text | None = None


class ActivityClaimed(Kind):
    """The partner says that it did something that the programme counts."""

    kind = "activity.claimed.v1"
    activity: Code
    by: Id | None = None
    note: Text | None = None


class ActivityConfirmed(ActivityClaimed):
    """The claim is confirmed: it counts."""

    kind = "activity.confirmed.v1"


class ActivityRejected(ActivityClaimed):
    """The claim is rejected: it does not count."""

    kind = "activity.rejected.v1"


class ActivityWithdrawn(ActivityClaimed):
    """The partner takes the claim back."""

    kind = "activity.withdrawn.v1"


class CertificationEarned(Kind):
    """A person earns a certificate; it counts for the partner while the person is linked."""

    kind = "certification.earned.v1"
    person: Id
    code: Code
    certificate: Id | None = None
    valid_until: DayOrTime | None = None


class CertificationExpired(Kind):
    """A certificate ends before (or without) its planned end."""

    kind = "certification.expired.v1"
    person: Id
    code: Code
    certificate: Id | None = None


class MembershipPurchased(Kind):
    """The partner buys a membership."""

    kind = "membership.purchased.v1"
    level: Code
    offer: Code | None = None


class MembershipRenewed(Kind):
    """The partner renews its membership, at the same level where none is named."""

    kind = "membership.renewed.v1"
    level: Code | None = None


class InvitationGranted(Kind):
    """A tier that is reached by invitation only; includes the manual review."""

    kind = "invitation.granted.v1"
    tier: Code
    by: Id | None = None


class AwardNominated(Kind):
    """The partner is nominated for an award."""

    kind = "award.nominated.v1"
    award: Code
    year: Year


class AwardWon(AwardNominated):
    """The partner wins an award."""

    kind = "award.won.v1"


class MetricMeasured(Kind):
    """A number that the source measured: consumption, active users, seats, tool usage, support calls."""

    kind = "metric.measured.v1"
    metric: Code
    value: Decimal
    client: Id | None = None
    area: Code | None = None
    service: Code | None = None
    workload: Code | None = None
    month: Month | None = None
    unit: Code | None = None


class LicencesCounted(Kind):
    """Licences of one subscription of a client: sold, assigned, active; its state, trial or not, reassigned seats."""

    kind = "licences.counted.v1"
    client: Id
    product: Code
    service: Code | None = None
    workload: Code | None = None
    subscription: Id | None = None
    assigned: Count | None = None
    sold: Count | None = None
    active: Count | None = None
    state: Code = "active"
    trial: Flag = False
    reassigned: Count | None = None
    channel: Code | None = None


class OverrideGranted(Kind):
    """A granted exception with a reason, an author and an end: a tier, a requirement, or points of a measure; of one award or of all."""

    kind = "override.granted.v1"
    override: Id
    until: DayOrTime
    reason: Text
    author: Id
    tier: Code | None = None
    requirement: Text | None = None
    measure: Code | None = None
    points: Decimal | None = None
    programme: Code | None = None
    award: Code | None = None


class OverrideRevoked(Kind):
    """The exception ends before its time."""

    kind = "override.revoked.v1"
    override: Id
    reason: Text
    author: Id


class OverrideLapsed(Kind):
    """An announcement: the override has reached its end. It decides nothing."""

    kind = "override.lapsed.v1"
    override: Id


class EventReversed(Kind):
    """The named event is undone as if it had never been; nothing is edited or deleted."""

    kind = "event.reversed.v1"
    reverses: Ref
    reason: Text
    author: Id


class ScoreAsserted(Kind):
    """What another system says the score was; held against the ledger's own, never counted."""

    kind = "score.asserted.v1"
    measure: Code
    value: Decimal
    programme: Code | None = None


class RulebookPublished(Kind):
    """A rulebook with its bytes' hash; it is in force from its effective date, and known from this event on."""

    kind = "rulebook.published.v1"
    book: Id
    programme: Code
    effective: Day
    hash: Hash
    text: Document
    author: Id | None = None


def _kinds(of: type[Kind]) -> list[type[Kind]]:
    found = []
    for kind in of.__subclasses__():
        found += [kind, *_kinds(kind)]
    return found


CATALOGUE: dict[str, type[Kind]] = {kind.kind: kind for kind in _kinds(Kind)}
"""Every kind by its dotted name."""

EVENTS: dict[str, type[Attributes]] = {
    name: create_model(f"{kind.__name__}Event", __base__=Attributes, data=(kind, ...)) for name, kind in CATALOGUE.items()
}
"""The whole event of each kind: the attributes, with the data of the kind."""

MEANINGS: dict[str, str] = {
    # of the envelope
    "specversion": "The version of CloudEvents.",
    "datacontenttype": "The media type of the data; left out of the canonical form, since it is always the same.",
    "type": "The kind of event.",
    "time": "The effective time: when it is true in business.",
    "recordedtime": "When a former system recorded it; only a migration carries it.",
    "subject": "The partner that it is about; left out where it is about a person, a client or a programme.",
    "cause": "The source and id of the event that this one copies or follows from.",
    "dataschema": "The source's own schema; kept, never read.",
    "traceparent": "The trace that it belongs to (W3C Trace Context); kept, never read.",
    "tracestate": "The state of that trace; kept, never read.",
    "data": "What the event states: the fields of its kind.",
    "source": "The system that says so.",
    "id": "Which event of the source; together they are unique for ever.",
    # of whom and of what
    "programme": "The partner programme.",
    "country": "The country of the partner or client.",
    "market": "The market of the partner, as the programme divides the world.",
    "segment": "The segment of the partner or client, as the programme names it.",
    "person": "The person, by an opaque id.",
    "role": "What the person does for the partner.",
    "client": "The client, by an opaque id.",
    "association": "The kind of association between partner and client.",
    "exclusive": "Whether the client has one partner at a time in this association.",
    "contact": "The programme's employee, by an opaque id.",
    "duties": "What that employee does for the partner, in words.",
    "by": "Who did it.",
    "author": "Who decided it.",
    "reason": "Why, in words.",
    "note": "Anything else that a reader should know.",
    # of subscriptions and sales
    "subscription": "The client's subscription.",
    "line": "The product line.",
    "mrr": "Recurring revenue of a month.",
    "currency": "The currency of the amount.",
    "edition": "The edition of the product.",
    "contact_tier": "The tier of the number of contacts.",
    "email_tier": "The tier of the number of e-mails.",
    "apps": "The number of apps connected.",
    "seats": "The number of seats.",
    "state": "The state of the subscription, as its source names it.",
    "renews_on": "The day on which it renews.",
    "decision_due_on": "The day by which the client decides.",
    "owner": "Who owns the communication about the renewal.",
    "manager": "The person who manages the renewal.",
    "amount": "Added recurring revenue of a month; negative for a downgrade or credit note.",
    "revenue": "The kind of revenue.",
    "deal_type": "How the partner took part in the deal.",
    "deal": "The deal that it was part of.",
    "line_first_sold_on": "The day on which the line was first sold to the client, where another partner sold it first.",
    "credits": "The id of the sale, of the same source, that this one takes back.",
    "with_deal": "Whether the sale was registered with a deal.",
    "servicing_partners": "The number of partners that service the client and share the credit.",
    # of points
    "measure": "The measure of the rulebook.",
    "points": "A number of points.",
    "until": "When it ends; from that instant on it does not count.",
    "lots": "The lots, by the events that brought them.",
    "lot": "The lot, by the event that brought it.",
    # of achievements
    "activity": "The activity, as the programme names it.",
    "code": "The certificate, as the programme names it.",
    "certificate": "The number of this very certificate.",
    "valid_until": "When it runs out by itself; it does not where this is left out.",
    "level": "The level of membership.",
    "offer": "The offer under which it was bought.",
    "tier": "The tier.",
    "award": "The award or competency.",
    "year": "The year of the award.",
    # of what was measured
    "metric": "What was measured.",
    "value": "The number.",
    "area": "The solution area.",
    "service": "The service.",
    "workload": "The workload.",
    "month": "The month that was measured; the instant of the event where it is left out.",
    "unit": "The unit of the number.",
    "product": "The product.",
    "assigned": "Licences that are assigned to users.",
    "sold": "Licences that were sold.",
    "active": "Licences that are in use.",
    "trial": "Whether they are on trial.",
    "reassigned": "Licences that were taken from one user and given to another.",
    "channel": "The channel through which they were sold.",
    # of decisions
    "override": "The exception, by its id.",
    "requirement": "The requirement that is taken as met.",
    "reverses": "The event that is undone.",
    "book": "The name of the rulebook.",
    "effective": "The day from which it is in force.",
    "hash": "SHA-256 of the text.",
    "text": "The rulebook itself, in YAML.",
}
"""What each name means. A name means the same in every kind that has it."""

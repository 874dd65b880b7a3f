"""The catalogue: every kind of event that the ledger takes, each a frozen model with a dotted, versioned name.

It is closed: what is not here is refused. All scalars are texts, whole numbers or flags; amounts and points are decimal strings,
so that no reader ever makes a float of them. A model says what an event states, never what it is worth.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Bounded

_DECIMAL = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?$"
_DAY = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
_CLOCK = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
TIME_PATTERN = _DAY[:-1] + _CLOCK + "$"
_DAY_OR_TIME = _DAY[:-1] + f"({_CLOCK})?$"

Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+/-]{0,99}$")]
Decimal = Annotated[str, StringConstraints(pattern=_DECIMAL)]
Day = Annotated[str, StringConstraints(pattern=_DAY)]
DayOrTime = Annotated[str, StringConstraints(pattern=_DAY_OR_TIME)]
Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Document = Annotated[str, StringConstraints(min_length=1, max_length=500_000)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Bounded(ge=0, le=1_000_000_000)]
Share = Annotated[int, Bounded(ge=-1_000_000, le=1_000_000)]
Year = Annotated[int, Bounded(ge=1990, le=2199)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Kind(Model):
    """What the `data` of one kind of event states."""

    kind: ClassVar[str]


class EventRef(Model):
    """An event by its source and id."""

    source: Id
    id: Id


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
    exclusive: bool = False
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
    kind = "client.subscription_ended.v1"
    client: Id
    subscription: Id


class UserAdded(Kind):
    """A partner's user gets access to the client's account."""

    kind = "client.user_added.v1"
    client: Id
    person: Id


class UserRemoved(Kind):
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
    with_deal: bool = True


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
    lots: tuple[EventRef, ...]
    points: Decimal | None = None


class PointsLost(Kind):
    """A subscription is lost: its lots end. Either one lot, or all lots of the client (and line)."""

    kind = "points.lost.v1"
    client: Id | None = None
    line: Id | None = None
    lot: EventRef | None = None
    reason: Text | None = None


class ActivityClaimed(Kind):
    kind = "activity.claimed.v1"
    activity: Code
    by: Id | None = None
    note: Text | None = None


class ActivityConfirmed(ActivityClaimed):
    kind = "activity.confirmed.v1"


class ActivityRejected(ActivityClaimed):
    kind = "activity.rejected.v1"


class ActivityWithdrawn(ActivityClaimed):
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
    kind = "membership.purchased.v1"
    level: Code
    offer: Code | None = None


class MembershipRenewed(Kind):
    kind = "membership.renewed.v1"
    level: Code | None = None


class InvitationGranted(Kind):
    """A tier that is reached by invitation only; includes the manual review."""

    kind = "invitation.granted.v1"
    tier: Code
    by: Id | None = None


class AwardNominated(Kind):
    kind = "award.nominated.v1"
    award: Code
    year: Year


class AwardWon(AwardNominated):
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
    trial: bool = False
    reassigned: Count | None = None
    channel: Code | None = None


class OverrideGranted(Kind):
    """A granted exception with a reason, an author and an end: a tier, a requirement, or points of a measure."""

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


class OverrideRevoked(Kind):
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
    reverses: EventRef
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

"""modification-request: a party asks for an order to be changed, replaced, suspended or resumed; the other answers.

Needs a Task with the code `change`, `replace`, `suspend` or `resume` in focus, which has an identifier of its own and
whose focus is the order's Task (or its Request). Does at once what needs no answer, else keeps the question until it is
answered; the answer is the same Task with another status. Answers with the outcome, one of
`gateway.fhir.task.modification.ModificationOutcome`, in `OperationOutcome.issue.details`. How to add a handler is
written in `handlers/__init__.py`; what each code does is in `rules/modifying.py` and `rules/replacing.py`.
"""

from dataclasses import replace

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role
from gateway.fhir.references import unresolved_references
from gateway.fhir.task.elements import REQUESTS, dicts, only_task, request_code, status_of
from gateway.fhir.task.merging import merged, replaced
from gateway.fhir.task.modification import ModificationOutcome, replaced_references
from handlers.rules import asking, requests, succession
from handlers.rules.asking import PARTIES, Kind
from handlers.rules.modifying import (
    Way,
    Wish,
    bring_change,
    bring_nothing,
    look_at_change,
    look_at_status,
    set_status,
    take_over,
)
from handlers.rules.open_requests import OPEN, WORDS, carried_out, close_request, find_open, named, open_request
from handlers.rules.replacing import REPLACE, apply_held, give_up
from handlers.rules.request_parties import asked_by_fulfiller, asked_by_placer

_WAYS = {
    "change": Way(look_at_change, bring_change, take_over),
    "replace": REPLACE,
    "suspend": Way(look_at_status, bring_nothing, set_status),
    "resume": Way(look_at_status, bring_nothing, set_status),
}
_ASKED = ("code", "focus", "input", "intent", "owner", "requester")


def _asks_for_modification(message: Message) -> bool:
    try:
        return any(request_code(entry.resource) in _WAYS for entry in message.focus("Task"))
    except Refused:
        return False


@handles(
    Event("urn:x-fhir-gateway:message-event", "modification-request"),
    category="consequence",
    title="Modification request",
    focus=("Task",),
    recognises=_asks_for_modification,
)
def modification_request(message: Message, records: Records) -> Reply:
    """Asks for an order to be changed, replaced, suspended or resumed, answers that question, or withdraws it.

    A message is taken for this event, whatever its event is, when the Task in its focus has one of these codes of
    `http://hl7.org/fhir/CodeSystem/task-code`. To ask, send a Task with the code, an `identifier` of its own, the
    status `requested`, the order's Task in `focus` (or its Request, when the fulfiller proposes something: intent
    `proposal`), and a `statusReason` or `reasonCode`. A group identifier in `focus` means the one order that has it:

    - `change`: the changed Request is in the Bundle, and `Task.input` refers to it. It is kept as a resource of its
      own; the Request stays as it is until the change is accepted, and then has that content in a new version. The
      placer's change needs no answer while the fulfiller may still decline the order. Only a Request's creator changes
      it: what a fulfiller proposes is done when the placer accepts, which may send a version of its own with that.
    - `replace`, by the placer: the new order's Task is in the Bundle, and `Task.input` refers to it; its focus is a new
      Request that says which one it replaces. The old order is cancelled (reason `replaced`), and the new one is placed
      in the same step: at once when the placer may cancel the order, else when the fulfiller accepts. Until then the
      new Task is a draft. By the fulfiller: `Task.input` refers to the Request that it proposes; when the placer has
      accepted, it sends a new-order whose Request replaces the old one, or is the proposal itself.
    - `suspend`, `resume`: the order goes to `on-hold`, or from there to `in-progress`, when it is accepted. Who may
      make the move itself need not ask: an order-update does it, and so does this.

    An answer is the same Task with the status `accepted`, `rejected` (with a `statusReason`) or `received`; the party
    that has asked withdraws it by `cancelled`. Of each code one request about an order is open at a time. What is sent
    again is answered by the outcome as it is now. An order that ends ends what is open about it, as rejected.

    Each answer has the request and the order in focus, then what else has changed, and the outcome as a code of
    `urn:x-fhir-gateway:modification-outcome` in `OperationOutcome.issue.details`, in refusals too.
    """
    entry = only_task(message)
    kept = records.find(entry)
    if kept is not None:
        return answer_modification(entry, kept, message, records)
    code = request_code(entry.resource)
    if code not in _WAYS:
        text = (
            f"A modification request is a Task with one of the codes {', '.join(_WAYS)}, of the system of task codes."
        )
        raise Refused(Issue("business-rule", text, f"{entry.path}.code"))
    return _ask(entry, code, message, records)


def answer_modification(entry: Entry, kept: Kept, message: Message, records: Records) -> Reply:
    """Applies what a message says of a request that is kept: an answer, a withdrawal, a repeat."""
    code = request_code(kept.resource)
    if code not in _WAYS:
        what = "an order" if code is None else "a cancellation request"
        text = f"The identifier {named(kept)} is that of {what}. Give the modification request one of its own."
        raise Refused(Issue("business-rule", text, f"{entry.path}.identifier"))
    order = _order_of(kept, code, records)
    if order is None:
        text = f"The request {named(kept)} is kept without its order, so nothing can come of it. Ask again."
        raise Refused(Issue("not-found", text, entry.path, outcome=ModificationOutcome.NO_SUCH_ORDER.coding))
    answer, task = _as_sent(entry, kept, message, records)
    if issues := asking.check_answer(entry, kept, task, order, _kind(code), records):
        outcome = outcome_of(kept).coding
        raise Refused(*(issue if issue.outcome else replace(issue, outcome=outcome) for issue in issues))
    before, status = status_of(kept.resource), status_of(entry.resource)
    if asking.is_repeat(before, status):
        return _state(records.keep(answer, task) if status in OPEN and before == status else kept, (order,))
    reason, is_placers = asking.reason_of(kept.resource), asking.is_placers(kept, order, records)
    wish = Wish(code, entry, order, reason, is_placers, message, records)
    if status not in OPEN:
        close_request(order, code, records)
    if status == "accepted":
        return _accept(wish, answer, task)
    closed = give_up(wish, task).focus if code == "replace" and status not in OPEN else ()
    return _state(records.keep(answer, task), (order, *closed))


def outcome_of(request: Kept) -> ModificationOutcome:
    """What has become of a request until now."""
    task, status = request.resource, status_of(request.resource)
    if status == "rejected":
        return ModificationOutcome.find_in(task.get("statusReason")) or ModificationOutcome.REJECTED
    if status == "completed":
        outputs = [ModificationOutcome.find_in(output.get("type")) for output in dicts(task.get("output"))]
        return next(filter(None, outputs), ModificationOutcome.ACCEPTED)
    if status in OPEN:
        return ModificationOutcome.PENDING
    return ModificationOutcome.ACCEPTED if status == "accepted" else ModificationOutcome.WITHDRAWN


def _ask(entry: Entry, code: str, message: Message, records: Records) -> Reply:
    kind = _kind(code)
    if issues := asking.check_question(entry, kind):
        raise Refused(*issues)
    order, focus = _find_order(entry, message, records)
    if issues := asking.check_parties(entry, order, kind, records):
        raise Refused(*issues)
    reason, is_placers = asking.reason_of(entry.resource), Role.PLACER in records.roles(order)
    wish = Wish(code, entry, order, reason, is_placers, message, records)
    _check_order(wish)
    is_at_once = _WAYS[code].look(wish)
    task = records.localise(entry)
    task["focus"] = requests.focus_on(focus, task["focus"])
    asked = asked_by_placer if wish.is_placers else asked_by_fulfiller
    task = asked(task, order, records)
    task = _WAYS[code].prepare(wish, task, is_at_once)
    if is_at_once:
        done = _WAYS[code].apply(wish, task)
        request = records.keep(entry, _completed(task, ModificationOutcome.APPLIED, done, wish))
        reply = _state(request, done.focus, done.issues)
    else:
        request = records.keep(entry, task)
        open_request(order, request, code, records)
        reply = _state(request, (order,))
    held = apply_held(wish, task)
    changed = {kept.id: records.current(kept) for kept in (*reply.focus, *held.focus)}
    warnings = unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None)
    return Reply(tuple(changed.values()), (*reply.issues, *held.issues, *warnings))


def _accept(wish: Wish, answer: Entry, task: Resource) -> Reply:
    records = wish.records
    _check_order(wish)
    done = _WAYS[wish.code].apply(wish, task)
    if wish.code == "replace" and not wish.is_placers:
        return _state(records.keep(answer, task), done.focus, done.issues)
    request = records.keep(answer, _completed(task, ModificationOutcome.ACCEPTED, done, wish))
    return _state(request, done.focus, done.issues)


def _completed(task: Resource, outcome: ModificationOutcome, done: Reply, wish: Wish) -> Resource:
    """A request that has had its effect; in its output what came of it: the new order of a replacement."""
    result = next((kept for kept in done.focus[1:] if kept.resource_type == "Task"), done.focus[0])
    return carried_out(task, outcome, result if wish.code == "replace" else done.focus[0], wish.now)


def _find_order(entry: Entry, message: Message, records: Records) -> tuple[Kept, Kept]:
    """The order that a new request is about, and what its focus means. Raises Refused when there is none."""
    focus = records.follow(entry.resource["focus"], entry) or _origin(entry, message, records)
    focus = focus or requests.find_by_group(entry, records)
    if focus is None or focus.resource_type not in ("Task", *REQUESTS):
        text = (
            f"There is no such order: this gateway keeps none as {asking.focus_in_words(entry, message)}. Check the "
            "identifier; if the order was sent and is not answered yet, send this again then."
        )
        outcome = ModificationOutcome.NO_SUCH_ORDER.coding
        raise Refused(Issue("not-found", text, f"{entry.path}.focus", outcome=outcome))
    if focus.resource_type != "Task":
        return _order_about(focus, entry, records), focus
    if request_code(focus.resource) is not None:
        text = (
            "The focus is a request itself. Put the order's Task into the focus; to withdraw a request, send it again "
        )
        raise Refused(Issue("business-rule", text + "with the status cancelled.", f"{entry.path}.focus"))
    return focus, focus


def _origin(entry: Entry, message: Message, records: Records) -> Kept | None:
    """The Request that a proposal in the focus, new to the gateway, says it replaces or is based on."""
    literal = entry.resource["focus"].get("reference")
    proposal = message.entries.resolve(literal, entry) if isinstance(literal, str) else None
    if proposal is None:
        return None
    based_on = proposal.resource.get("basedOn")
    named_there = [*replaced_references(proposal.resource), *dicts(based_on)]
    return next(filter(None, (records.follow(reference, proposal) for reference in named_there)), None)


def _order_about(request: Kept, entry: Entry, records: Records) -> Kept:
    """The sender's order about a Request: the one that is still open, if it has several."""
    machine = records.policy.order
    own = [order for order in requests.orders_about(request, records) if records.roles(order) & PARTIES]
    own.sort(key=lambda order: machine.is_final(machine.state_of(order.resource)))
    if own:
        return own[0]
    text = (
        f"You have no order about the {request.resource_type} {named(request)}: its parties ask about it, and no other."
    )
    outcome = ModificationOutcome.NOT_A_PARTY.coding
    raise Refused(Issue("forbidden", text, f"{entry.path}.focus", outcome=outcome))


def _order_of(request: Kept, code: str, records: Records) -> Kept | None:
    """The order that a request which is kept is about."""
    focus = request.resource.get("focus")
    kind, _, resource_id = str(focus.get("reference") if isinstance(focus, dict) else "").partition("/")
    try:
        target = records.get(kind, resource_id)
    except KeyError:
        return None
    if target.resource_type == "Task":
        return target
    found = requests.orders_about(target, records)
    is_open = [order for order in found if (other := find_open(order, code, records)) and other.id == request.id]
    asking_party = records.party(request, "requester") | records.party(request, "owner")
    own = [order for order in found if records.party(order, "owner") & asking_party]
    return next(iter([*is_open, *own]), None)


def _check_order(wish: Wish) -> None:
    """Raises Refused when an order has ended, or another request of the same kind about it is open."""
    machine, path = wish.records.policy.order, f"{wish.entry.path}.focus"
    if machine.is_final(wish.state):
        outcome = ModificationOutcome.ALREADY_ENDED
        text = f"The order is {machine.named(wish.state)}: nothing of it can change any more."
        issue = Issue("business-rule", text, path, outcome=outcome.coding)
        raise Refused(issue, *succession.name_successor(wish.order, wish.records))
    other = find_open(wish.order, wish.code, wish.records)
    if other is not None:
        text = (
            f"Another {WORDS[wish.code]} request about this order, {named(other)}, is open. Wait for its answer, or "
            "have it withdrawn: who has asked sends it again with the status cancelled."
        )
        raise Refused(Issue("business-rule", text, path, outcome=ModificationOutcome.ALREADY_PENDING.coding))


def _state(request: Kept, focus: tuple[Kept, ...], issues: tuple[Issue, ...] = ()) -> Reply:
    """The answer to whoever asks about a request: what it has come to, and the resources as they are now."""
    outcome, code = outcome_of(request), request_code(request.resource)
    text = f"{WORDS.get(code or '', '').capitalize()}: {outcome.answer}"
    if outcome == ModificationOutcome.ACCEPTED and status_of(request.resource) == "accepted":
        text = (
            "The proposal is accepted. The placer sends a new-order whose Request replaces the old one, or has the "
            "proposal itself in focus; with that the order is replaced."
        )
    if outcome == ModificationOutcome.APPLIED and code in ("suspend", "resume"):
        text += " Who may make this move itself can do so by an order-update, too."
    reason = request.resource.get("statusReason")
    words = reason.get("text") if isinstance(reason, dict) else None
    if outcome == ModificationOutcome.REJECTED and isinstance(words, str):
        text = f"{text} The reason given: {words}"
    told = Issue("informational", text, severity="information", outcome=outcome.coding)
    return Reply((request, *focus), (told, *issues))


def _kind(code: str) -> Kind:
    outcome = ModificationOutcome
    return Kind(f"{WORDS[code]} request", outcome.NO_SUCH_REQUEST.coding, outcome.NOT_A_PARTY.coding)


def _as_sent(entry: Entry, kept: Kept, message: Message, records: Records) -> tuple[Entry, Resource]:
    """An answer without what it repeats of the question, and the request as it leaves it: what is asked stays."""
    told = {name: value for name, value in entry.resource.items() if name not in ("focus", "input")}
    answer = Entry(entry.path, entry.full_url, told)
    now, machine, sent = instant(message.received_at), records.policy.request, records.localise(answer)
    if message.replaces:
        task = replaced(kept.resource, sent, now, machine)
    else:
        task = merged(kept.resource, sent, now, machine, message.version)
    own = (*_ASKED, *(("statusReason",) if asking.only_takes_note(entry) else ()))
    asked = {name: kept.resource[name] for name in own if name in kept.resource}
    return answer, {name: value for name, value in task.items() if name not in own} | asked

"""From what a parameter leads to (see `lab.analysis.stops`) to evidence against a driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lab.analysis.callers import as_found, first_accusable, where
from lab.analysis.facts import Facts, PoolFacts
from lab.analysis.rules.registry import Note
from lab.analysis.stops import Role, Stop
from lab.model import Evidence, Strength

STRENGTHS: Mapping[Role, Strength] = {
    Role.CODE: Strength.STRONG,
    Role.IMAGE: Strength.PROOF,
    Role.NAME: Strength.PROOF,
    Role.DEVICE: Strength.MODERATE,
    Role.DRIVER: Strength.MODERATE,
    Role.REQUEST: Strength.WEAK,
    Role.LOCK: Strength.MODERATE,
    Role.THREAD: Strength.MODERATE,
    Role.MEMORY: Strength.WEAK,
}
"""How far a parameter of that role speaks against the driver that it leads to."""


@dataclass(frozen=True)
class Lead:
    """One parameter to follow. `strength` is how far it speaks against whom it leads to."""

    rule: str
    number: int
    text: str
    value: int
    strength: Strength

    @property
    def where(self) -> str:
        return f"bugcheck parameter {self.number}"

    @property
    def what(self) -> str:
        """The parameter's clause with its value, to begin a sentence with."""
        return f"{self.text} {self.value:#x} (parameter {self.number})"


Said = Iterator[Evidence | Note]


def leads(
    facts: Facts,
    stop: Stop,
    family: str,
    strengths: Mapping[Role, Strength] | None = None,
    only: frozenset[Role] = frozenset(Role),
) -> Said:
    """Evidence for each parameter that leads to somebody, its role being in `only`.

    `strengths` replace those of the roles.
    """
    known = {**STRENGTHS, **(strengths or {})}
    for number, (parameter, value) in enumerate(
        zip(stop.parameters, facts.bugcheck.parameters, strict=True), 1
    ):
        follow = _FOLLOW.get(parameter.role) if parameter.role in only else None
        if follow is not None and value:
            rule, strength = f"{family}.{parameter.role}", known.get(parameter.role, Strength.WEAK)
            yield from follow(facts, Lead(rule, number, parameter.text, value, strength))


def accuse(facts: Facts, lead: Lead, image: str, statement: str, place: str = "") -> Said:
    """The fact, pointing to `image` unless that comes with Windows."""
    accused = facts.accusable(image)
    yield Evidence(
        rule=lead.rule,
        statement=statement if accused else f"{statement.removesuffix('.')}, which comes with Windows.",
        strength=lead.strength if accused else Strength.WEAK,
        where=place or lead.where,
        points_to=(image,) if accused else (),
    )


def _code(facts: Facts, lead: Lead) -> Said:
    image = _holder(facts, lead.value)
    yield from _in_image(facts, lead, image, f"{lead.text}: {facts.place(lead.value)}, in {image}.")


def _image(facts: Facts, lead: Lead) -> Said:
    image = _holder(facts, lead.value)
    yield from _in_image(facts, lead, image, f"{image} is the driver that parameter {lead.number} points to.")


def _in_image(facts: Facts, lead: Lead, image: str, statement: str) -> Said:
    if image:
        yield from accuse(facts, lead, image, statement)
    else:
        yield Note(f"{lead.what} is in no module of the dump.")


def _holder(facts: Facts, address: int) -> str:
    module = facts.module_at(address)
    if module is not None:
        return module.name
    gone = facts.unloaded_at(address)
    return gone.name if gone is not None else ""


def _name(facts: Facts, lead: Lead) -> Said:
    text = facts.texts.get(lead.value, "")
    if not text:
        yield Note(f"{lead.what} could not be read.")
        return
    image = named_image(facts, text)
    if not image:
        yield Note(f"{lead.text}: {text}, but no such driver is in the list of modules.")
        return
    statement = f"{image} is the driver that parameter {lead.number} names."
    yield from accuse(facts, lead, image, statement, f"{lead.where}, text at {lead.value:#x}")


def named_image(facts: Facts, text: str) -> str:
    """The image in the dump that a text names ("BadDriver", "BadDriver.sys", a path), or ""."""
    name = text.replace("/", "\\").rpartition("\\")[2].strip()
    module = facts.module_called(name)
    if module is not None:
        return module.name
    wanted = name.casefold().removesuffix(".sys")
    found = (u.name for u in facts.unloaded if u.name.casefold().removesuffix(".sys") == wanted)
    return next(found, "") if wanted else ""


def _condition(facts: Facts, lead: Lead) -> Said:
    text = facts.texts.get(lead.value, "")
    if text:
        yield Evidence(lead.rule, f"Verifier's own words: {text.rstrip('.')}.", Strength.WEAK, lead.where)


def _device(facts: Facts, lead: Lead) -> Said:
    device = facts.devices.get(lead.value)
    if device is None or not device.image:
        yield Note(f"{lead.what}: its driver could not be read.")
        return
    statement = (
        f"{lead.text} {lead.value:#x} belongs to {device.image} ({device.driver or 'name not known'})."
    )
    yield from accuse(facts, lead, device.image, statement)


def _request(facts: Facts, lead: Lead) -> Said:
    request = facts.requests.get(lead.value)
    if request is None or not request.image:
        return
    statement = f"{lead.text} {lead.value:#x} is at device {request.device:#x} of {request.image}."
    yield from accuse(facts, lead, request.image, statement, f"{lead.where}, current stack location")


def _pool(facts: Facts, lead: Lead) -> Said:
    block = facts.pool.get(lead.value)
    if block is not None and block.tag:
        yield from owner(facts, lead, block)


def owner(facts: Facts, lead: Lead, block: PoolFacts) -> Said:
    """Whose block it is, by its tag. A single user of the tag is a good lead; several are a set."""
    size = f" of {block.size} bytes" if block.size else ""
    users = tuple(image for image in block.users if facts.accusable(image))
    said = f'{lead.text} {lead.value:#x}{size} has the tag "{block.tag}"'
    if not block.users:
        yield Evidence(lead.rule, f"{said}.", Strength.WEAK, f"{lead.where}, {block.where}")
        return
    alone = len(block.users) == 1 and bool(users)
    yield Evidence(
        rule=lead.rule,
        statement=f"{said}, which is in the code of {', '.join(block.users)}"
        + (" alone: the block is its own." if alone else "."),
        strength=Strength.MODERATE if alone else Strength.WEAK,
        where=f"{lead.where}, {block.where}",
        points_to=users,
    )


def _lock(facts: Facts, lead: Lead) -> Said:
    module = facts.module_at(lead.value)
    if module is not None:
        yield from accuse(
            facts, lead, module.name, f"{lead.text} {lead.value:#x} is a variable of {module.name}."
        )
    else:
        yield from _pool(facts, lead)


def _memory(facts: Facts, lead: Lead) -> Said:
    """Memory that was touched: its owner is rather a victim, unless it is gone."""
    gone = facts.unloaded_at(lead.value) if facts.module_at(lead.value) is None else None
    if gone is not None:
        lead = Lead(lead.rule, lead.number, lead.text, lead.value, Strength.STRONG)
        statement = f"{lead.text} {lead.value:#x} belonged to {gone.name}, which had been unloaded."
        yield from accuse(facts, lead, gone.name, statement, f"{lead.where}, list of unloaded drivers")
        return
    block = facts.pool.get(lead.value)
    if block is not None and block.tag:
        yield from owner(facts, lead, block)


def _thread(facts: Facts, lead: Lead) -> Said:
    stack = facts.stacks.get(lead.value, ())
    frame = first_accusable(facts, stack)
    if frame is not None:
        yield Evidence(
            rule=lead.rule,
            statement=f"{lead.text} {lead.value:#x}: {frame.module} is the first driver on its stack that "
            "does not come with Windows.",
            strength=as_found(lead.strength, frame),
            where=where(frame),
            points_to=(frame.module,),
        )
    elif stack:
        yield Note(f"{lead.what}: no driver that does not come with Windows is on its stack.")
    else:
        yield Note(f"{lead.what}: its stack could not be read.")


_FOLLOW: Mapping[Role, Callable[[Facts, Lead], Said]] = {
    Role.CODE: _code,
    Role.IMAGE: _image,
    Role.NAME: _name,
    Role.RULE: _condition,
    Role.DEVICE: _device,
    Role.DRIVER: _device,
    Role.REQUEST: _request,
    Role.POOL: _pool,
    Role.TAG: _pool,
    Role.LOCK: _lock,
    Role.MEMORY: _memory,
    Role.THREAD: _thread,
}
"""A routine is not here: what it proves depends on the kind, and is the rules' business."""

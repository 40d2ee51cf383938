"""Odd and hostile behaviour of the null server, as a script of rules.

A rule is a dict: `on` names a command; `number`, `from` or `every` choose among that command's requests of
one connection (counted from 1), `chance` draws lots; `do` names one of `nullsmb_actions`, whose
arguments are the other keys. The first rule that fits is taken. `nullsmb_modes` has named scripts.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from nullsmb_actions import ACTIONS
from nullsmb_effects import Deed, Effect, Sent
from nullsmb_modes import Rule
from nullsmb_wire import NAMES, Answer, Request

if TYPE_CHECKING:
    from nullsmb_connection import Connection


class Odd:
    def __init__(self, rules: list[Rule], rng: Random) -> None:
        self._rules, self.rng = rules, rng
        self._seen: Counter[str] = Counter()

    def touches(self, command: int) -> bool:
        return any(rule["on"] in (NAMES[command], "*") for rule in self._rules)

    def effects(self, answer: Answer, request: Request, connection: Connection) -> list[Effect]:
        name = NAMES[request.command]
        self._seen[name] += 1
        for rule in self._rules:
            if rule["on"] in (name, "*") and self._fits(rule, self._seen[name]):
                arguments = {key: value for key, value in rule.items() if key not in _CHOICE}
                action = ACTIONS[rule["do"]]
                return action(Deed(answer, request, connection, self.rng), **arguments)
        return [Sent(answer)]

    def _fits(self, rule: Rule, number: int) -> bool:
        return (
            number == rule.get("number", number)
            and number >= rule.get("from", 0)
            and number % rule.get("every", 1) == 0
            and (rule.get("chance") is None or self.rng.random() < rule["chance"])
        )


_CHOICE = ("on", "do", "number", "from", "every", "chance")

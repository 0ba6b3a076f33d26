"""A random history of an archive, and what must hold after each step of it.

    captures, repeated captures, holds, releases, orders to keep and to erase, requests, classes by hand, terms made
    longer, new schedules, runs cut off anywhere, crashes, time that passes, clocks that jump

A seed gives the history; a failure names the seed and its steps.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from archive_service.model.clock import rfc3339
from archive_service.model.errors import NotFound, Refused
from ingest.parser_pool import ParserPool
from tests.histories.model import YEARS, Mail
from tests.histories.world import WORDS, World, schedule

_FAR = timedelta(days=366 * 8)


class Broken(AssertionError):
    """A promise that did not hold."""


class History:
    """One archive and its model."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.random = random.Random(seed)
        self.mails: list[Mail] = []
        self.holds: dict[str, tuple[str, list[Mail]]] = {}
        self.orders: dict[str, list[Mail]] = {}
        self.erasing: dict[str, Mail] = {}
        self.years = dict(YEARS)
        self.steps: list[str] = []
        self.gone: set[str] = set()

    def run(self, length: int) -> None:
        """Raises Broken."""
        acts = (
            (6, self.capture), (2, self.repeat), (3, self.hold), (2, self.release), (2, self.order_to_keep),
            (1, self.order_to_erase), (1, self.end_order), (1, self.end_erasing), (3, self.request), (5, self.work),
            (3, self.wait), (1, self.crash), (2, self.jump), (1, self.extend), (1, self.relabel), (1, self.reschedule),
            (3, self.one_step), (1, self.hold_at_the_last_moment),
        )  # fmt: skip
        for _ in range(3):
            self.capture()
        for _ in range(length):
            act: Callable[[], None] = self.random.choices(
                [each for _, each in acts], [each for each, _ in acts]
            )[0]
            self.steps.append(f"{rfc3339(self.world.now)[:10]} {act.__name__}")
            self._kept_while(act)
        self.end()

    def _kept_while(self, act: Callable[[], None]) -> None:
        """What must stay before and after an act is there after it."""
        before, barred = self._must_stay(), self._barred()
        act()
        kept = before & self._must_stay()
        self._require(kept)
        asked = {each for mail in self.mails for each in mail.requested | mail.erased_by_order}
        if hidden := (self._barred() - barred - asked) & kept:
            raise Broken(self._told(f"barred though nothing may take them: {sorted(hidden)}"))

    def _barred(self) -> set[str]:
        acts = self.world.tenant.acts
        acts.refresh()
        return set(acts.erasures.asked)

    def _must_stay(self) -> set[str]:
        now = self.world.now
        return {
            capture
            for mail in self.mails
            for capture in mail.captures
            if capture not in self.gone and mail.must_stay(capture, now, self.years)
        }

    def _require(self, kept: set[str]) -> None:
        lost = [
            capture
            for capture in sorted(kept)
            if not (self.world.alive(capture) and self.world.stored(capture))
        ]
        if lost:
            raise Broken(self._told(f"destroyed though they must stay: {lost}"))
        self.gone |= {each for mail in self.mails for each in mail.captures if not self.world.alive(each)}

    def _told(self, what: str) -> str:
        return "\n".join([f"seed {self.seed}: {what}", *self.steps])

    def capture(self) -> None:
        """A new mail, of today or of years ago."""
        kind = self.random.choice(list(YEARS))
        sent = self.world.now - timedelta(days=self.random.choice([0, 100, 300, 500, 900, 1500]))
        mail = Mail(kind, len(self.mails), sent)
        self.mails.append(mail)
        self._take(mail)

    def repeat(self) -> None:
        """The same mail once more: a capture of its own, in the same message."""
        self._take(self.random.choice(self.mails))

    def _take(self, mail: Mail) -> None:
        self.world.take(mail)
        for hold, (kind, held) in self.holds.items():
            if mail.kind == kind and mail not in held:
                held.append(mail)
                mail.holds.add(hold)
        self.world.follow()

    def hold(self) -> None:
        """By a search, for what is there and what comes."""
        self._hold(self.random.choice(list(YEARS)))

    def hold_at_the_last_moment(self) -> None:
        """Upon what somebody has asked to go, when nothing but the batch is left to be done."""
        self.request()
        self.world.follow()
        asked = [mail for mail in self.mails if mail.requested - self.gone]
        if asked:
            self._hold(self.random.choice(asked).kind)
            self.world.batch()

    def _hold(self, kind: str) -> None:
        (matter,) = self.world.tenant.acts.matters.known
        review = rfc3339(self.world.now + timedelta(days=300))
        words = {
            "name": f"H{len(self.steps)}",
            "ground": "litige",
            "claim": "RG",
            "owner": "zoe",
            "review": review,
        }
        actor = self.world.actor()
        hold, _ = self.world.services.holds.place(actor, matter, {**words, "query": f"subject:{kind}"})
        held = [mail for mail in self.mails if mail.kind == kind]
        self.holds[hold.id] = (kind, held)
        for mail in held:
            mail.holds.add(hold.id)

    def release(self) -> None:
        """Under two people."""
        if self.holds:
            hold = self.random.choice(sorted(self.holds))
            self.world.decided("hold.release", {"hold": hold})
            for mail in self.holds.pop(hold)[1]:
                mail.holds.discard(hold)

    def _placed(self, kind: str, mail: Mail) -> str | None:
        captures = [each for each in mail.captures if each not in self.gone]
        request = {"kind": kind, **WORDS, "reference": f"RG {len(self.steps)}", "captures": captures}
        request["document"] = self.world.paper()
        try:
            return str(self.world.decided("order.place", request)["order"]) if captures else None
        except Refused:
            return None

    def order_to_keep(self) -> None:
        """Of what is there of a mail; refused against an order to erase."""
        mail = self.random.choice(self.mails)
        if not self.gone & set(mail.captures) and (made := self._placed("keep", mail)):
            self.orders[made] = [mail]
            mail.keeping[made] = set(mail.captures)

    def order_to_erase(self) -> None:
        """Above holds and minimum; refused against an order to keep."""
        kept = [mail for mail in self.mails if mail.keeping]
        mail = self.random.choice(kept if kept and self.random.random() < 0.5 else self.mails)
        visible = [each for each in mail.captures if each not in self.gone and each not in mail.requested]
        if visible == mail.captures and (made := self._placed("erase", mail)):
            if mail.keeping:
                raise Broken(self._told("an order to erase was placed over one to keep"))
            self.erasing[made] = mail
            mail.erased_by_order |= set(mail.captures)

    def end_order(self) -> None:
        """Of one to keep."""
        if self.orders:
            order = self.random.choice(sorted(self.orders))
            self.world.decided("order.end", {"order": order})
            for mail in self.orders.pop(order):
                del mail.keeping[order]

    def end_erasing(self) -> None:
        """Of one to erase: what is not going yet is as it was before, and shown."""
        if not self.erasing:
            return
        order = self.random.choice(sorted(self.erasing))
        mail, acts = self.erasing.pop(order), self.world.tenant.acts
        named = {each.id for each in acts.dispositions.known[order].captures}
        try:
            self.world.decided("order.end", {"order": order})
        except Refused:  # all of it is gone
            return
        going = {each for each in named if acts.erasures.begun(each)}
        mail.erased_by_order -= named - going
        now = self.world.now
        hidden = [
            each
            for each in named - going
            if mail.must_stay(each, now, self.years) and acts.erasures.barred(each)
        ]
        if hidden:
            raise Broken(self._told(f"an order is over, and still bars {hidden}"))

    def request(self) -> None:
        """Of a person, to have one capture forgotten."""
        mail = self.random.choice(self.mails)
        free = self._free(mail)
        if free:
            capture = self.random.choice(free)
            try:
                asked = {"captures": [capture], "ground": "request", "basis": "GDPR article 17"}
                self.world.decided("erasure.ask", asked)
                mail.requested.add(capture)
            except (Refused, NotFound):  # a run has barred it
                return

    def _free(self, mail: Mail) -> list[str]:
        """What nobody has asked to go."""
        asked = self.gone | mail.requested | mail.erased_by_order
        return [each for each in mail.captures if each not in asked]

    def extend(self) -> None:
        """By a reviewer, until a time to come."""
        mail = self.random.choice(self.mails)
        for capture in self._free(mail)[:1]:
            until = self.world.now + timedelta(days=self.random.choice([30, 400, 1500]))
            given = {"captures": [capture], "until": rfc3339(until)}
            with suppress(Refused, NotFound):  # kept for longer already, or a run has barred it
                self.world.services.reviews.extend(self.world.actor(), given, "why")
                mail.until[capture] = until

    def relabel(self) -> None:
        """Another class by hand, under two people."""
        mail, kind = self.random.choice(self.mails), self.random.choice(list(YEARS))
        for capture in self._free(mail)[:1]:
            with suppress(Refused, NotFound):
                self.world.decided("retention.relabel", {"captures": [capture], "class": kind})
                mail.by_hand[capture] = kind

    def reschedule(self) -> None:
        """A version in which a class without a minimum is kept for another time."""
        years = self.years | {"plain": (0, self.random.choice([1, 2, 4]))}
        if years != self.years:
            now, barred = self.world.now, self._barred()
            for mail in self.mails:
                over = {each for each in mail.captures if not mail.must_stay(each, now, self.years)}
                mail.going |= over & barred
            self.world.decided("schedule.set", {"schedule": schedule(years)})
            self.years = years

    def one_step(self) -> None:
        """Of the service's own, out of its turn."""
        self.random.choice(self.world.run_steps())()

    def work(self) -> None:
        """A run, cut off anywhere or whole."""
        steps = self.world.run_steps()
        for step in steps[: self.random.choice([*range(1, len(steps)), len(steps), len(steps)])]:
            step()
        if self.random.random() < 0.5:
            self.world.crash()

    def wait(self) -> None:
        """Time passes."""
        self.world.now += timedelta(days=self.random.choice([1, 40, 200, 400]))

    def crash(self) -> None:
        """Every process ends."""
        self.world.crash()

    def jump(self) -> None:
        """Our clock jumps years ahead or back, the store's does not: nothing is decided by it."""
        seconds = self.random.choice([-1, 1]) * self.random.choice([400, 86_400, 86_400 * 2000])
        for step in self.world.run_steps()[1:8]:
            self.world.with_clock_off(seconds, step)

    def end(self) -> None:
        """All is released, all terms are over: two runs, and nothing is left but what the certificates say."""
        self.steps.append("end")
        while self.holds:
            self.release()
        while self.orders:
            self.end_order()
        self.world.now += _FAR
        for _ in range(2):
            for step in self.world.run_steps():
                step()
            self.world.now += timedelta(days=2)  # locks that followed the capture are over
        self._require_all_gone()
        self._require_true_certificates()

    def _require_all_gone(self) -> None:
        for mail in self.mails:
            left = [each for each in mail.captures if self.world.alive(each)]
            stored = [each for each in mail.captures if self.world.stored(each)]
            if left or stored or self.world.shown(mail):
                raise Broken(
                    self._told(f"outlived two runs: {left}, objects {stored}, of mail {mail.number}")
                )

    def _require_true_certificates(self) -> None:
        desk = self.world.services.dispositions
        for run in desk.all():
            if run["state"] == "stopped":
                continue
            if run["state"] != "done":
                raise Broken(self._told(f"a run is {run['state']} after two runs"))
            known = self.world.tenant.acts.dispositions.known[run["id"]]
            for each in known.going:
                if self.world.alive(each.id) or self.world.stored(each.id):
                    raise Broken(self._told("a certificate says gone of what is there"))
            if run["captures"] != len(known.going) or not known.unreadable or not known.deleted:
                raise Broken(self._told("a certificate counts otherwise"))


def run_seed(template: World, folder: Path, seed: int, length: int = 14) -> None:
    """One history on a copy of an archive. Raises Broken."""
    world = template.copied(folder)
    try:
        history = History(world, seed)
        try:
            history.run(length)
        except Broken:
            raise
        except Exception as error:
            raise Broken(history._told(f"{type(error).__name__}: {error}")) from error
    finally:
        world.close()


def made(folder: Path, pool: ParserPool) -> World:
    """The archive that every history begins with."""
    world = World(folder, pool)
    world.make()
    return world

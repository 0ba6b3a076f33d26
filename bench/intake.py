"""``make bench``: how fast mail is taken in and answered 250, ours beside peers, round by round in turn.

Every round sends the same mails, as many, over as many sessions, to each server after the other; a first round warms
up and does not count. A line gives the medians over the rounds. The rates come from Postfix's smtp-source; reply
times, and rates with the whole service at work, from ``bench.sender``, for all servers alike.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import machine, sender, smtp_source
from bench.archive import archive
from bench.figures import Figure, line, percentile
from bench.mails import Mails
from bench.peers import aiosmtpd, smtp_sink
from bench.postfix import postfix
from bench.processes import BenchError
from bench.sender import Sent
from bench.smtp_source import Load
from bench.targets import Target

_OUT = Path(__file__).resolve().parent / "out"
_CONTENTS = {
    "real": "text and base64, the same mail again and again",
    "filled": "smtp-source's own: one letter repeated, which compresses to almost nothing",
}
_Result = TypeVar("_Result")


@dataclass
class Bench:
    """One run: how much is measured, and a folder for everything that the servers write."""

    folder: Path
    machine: str
    rounds: int
    messages: int
    sessions: int
    sizes: Sequence[int]
    made: int = 0

    def fresh(self) -> Path:
        """A new folder. None is removed before the end: removing many files slows down making new ones."""
        self.made += 1
        folder = self.folder / f"{self.made:03d}"
        folder.mkdir(mode=0o755)
        return folder

    def mail_file(self, size: int) -> Path:
        """A mail for smtp-source, which wants the line ends of a Unix file."""
        path = self.folder / f"mail-{size}"
        path.write_bytes(Mails(size).one(0).replace(b"\r\n", b"\n"))
        return path

    def say(self, figure: Figure) -> None:
        """Print a line."""
        sys.stdout.write(line(figure, self.machine) + "\n")
        sys.stdout.flush()


def in_turn(
    targets: Sequence[Target], measure: Callable[[Target], _Result], rounds: int
) -> dict[str, list[_Result]]:
    """Measure every target once a round, each round beginning with another; the results by target, without those of
    the warm-up round."""
    results: dict[str, list[_Result]] = {target.name: [] for target in targets}
    for number in range(rounds + 1):
        for place in range(len(targets)):
            target = targets[(number + place) % len(targets)]
            os.sync()  # what others left to be written must not fall into this measurement
            result = measure(target)
            target.settle()
            if number:
                results[target.name].append(result)
    return results


def peers(bench: Bench, stack: ExitStack, *, keeping_nothing: bool = True) -> list[Target]:
    """The running peers. Without Postfix, and saying so, where it cannot be started."""
    found = [stack.enter_context(aiosmtpd(bench.fresh(), uvloop=False))]
    if keeping_nothing:
        found.append(stack.enter_context(aiosmtpd(bench.fresh(), uvloop=True)))
        found.append(stack.enter_context(smtp_sink(bench.fresh())))
    try:
        found.append(stack.enter_context(postfix(bench.fresh())))
    except BenchError as error:
        sys.stderr.write(f"no figures beside Postfix: {error}\n")
    return found


def _durable(ours: Target, peer: Target) -> str:
    return f"ours: {ours.durable}; peer: {peer.durable}"


# --- rates of the SMTP processes alone --------------------------------------------------------------------


def _loads(bench: Bench) -> Iterator[tuple[str, str, Load]]:
    """What smtp-source sends: a name, the content's name, and the load."""
    for content in _CONTENTS:
        for size in bench.sizes:
            mail = bench.mail_file(size) if content == "real" else None
            for reuse in (True, False):
                kept = "connections kept" if reuse else "a connection a mail"
                yield f"intake, {size // 1024} kB, {kept}", content, Load(size, mail, reuse, bench.sessions)


def rates(bench: Bench) -> None:
    """Mails a second of the SMTP processes, beside every peer; then the reply times of the same servers."""
    with ExitStack() as stack:
        ours = stack.enter_context(archive(bench.fresh(), "smtp")).target
        others = peers(bench, stack)
        for name, content, load in _loads(bench):
            _rates_of(bench, ours, others, name, content, load)
        for size in bench.sizes:
            _reply_times(bench, ours, others, size)


def _rates_of(
    bench: Bench, ours: Target, others: Sequence[Target], name: str, content: str, load: Load
) -> None:
    def measure(target: Target) -> float:
        return smtp_source.rate(target, load, bench.messages)

    values = in_turn([ours, *others], measure, bench.rounds)
    for peer in others:
        extra = {
            "content": f"{content}: {_CONTENTS[content]}",
            "generator": "smtp-source",
            "sessions": bench.sessions,
            "messages": bench.messages,
            "ours_is": ours.name,
            "better": "higher",
        }
        figure = Figure(
            name, values[ours.name], peer.name, values[peer.name], "msg/s", _durable(ours, peer), extra
        )
        bench.say(figure)


# --- reply times ------------------------------------------------------------------------------------------


def p99(sent: Sent) -> float:
    """Milliseconds that 99 of 100 replies did not exceed."""
    return percentile(sent.replies, 0.99) * 1000


def p50(sent: Sent) -> float:
    """The median, in milliseconds."""
    return percentile(sent.replies, 0.5) * 1000


def _reply_times(bench: Bench, ours: Target, others: Sequence[Target], size: int) -> None:
    mails = Mails(size).many(bench.messages)
    values = in_turn([ours, *others], lambda target: sender.send(target, mails, bench.sessions), bench.rounds)
    for peer in others:
        _say_times(
            bench, f"p99 of the 250, {size // 1024} kB", ours, values[ours.name], peer, values[peer.name]
        )


def _say_times(
    bench: Bench, name: str, ours: Target, our_runs: Sequence[Sent], peer: Target, peer_runs: Sequence[Sent]
) -> None:
    extra = {
        "generator": "bench.sender, connections kept, from CRLF.CRLF handed to the kernel to the reply",
        "sessions": bench.sessions,
        "messages": bench.messages,
        "ours_is": ours.name,
        "better": "lower",
        "p50": [round(percentile([p50(run) for run in runs], 0.5), 1) for runs in (our_runs, peer_runs)],
    }
    times = [[p99(run) for run in runs] for runs in (our_runs, peer_runs)]
    bench.say(Figure(name, times[0], peer.name, times[1], "ms", _durable(ours, peer), extra))


# --- the whole service ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Whole:
    """One run against the whole service: what was sent, and how much of it could be found when it ended."""

    sent: Sent
    found: int


def whole_service(bench: Bench) -> None:
    """Rates and reply times with everything at work on the same cores, each round with a fresh archive, so that none
    works off what another round left."""
    for size in bench.sizes:
        mails = Mails(size).many(bench.messages)
        with ExitStack() as stack:
            others = peers(bench, stack, keeping_nothing=False)
            ours = Target("ours", 0, "", "")
            runs: list[_Whole] = []
            theirs: dict[str, list[Sent]] = {peer.name: [] for peer in others}
            for _ in range(bench.rounds):
                ours, run = _one_whole(bench, mails)
                runs.append(run)
                for name, sent in in_turn_once(others, mails, bench.sessions).items():
                    theirs[name].append(sent)
        for peer in others:
            _say_whole(bench, size, ours, runs, peer, theirs[peer.name])
            name = f"p99 of the 250, whole service, {size // 1024} kB"
            _say_times(bench, name, ours, [run.sent for run in runs], peer, theirs[peer.name])


def in_turn_once(targets: Sequence[Target], mails: Sequence[bytes], sessions: int) -> dict[str, Sent]:
    """One run against each target."""
    results: dict[str, Sent] = {}
    for target in targets:
        os.sync()
        results[target.name] = sender.send(target, mails, sessions)
        target.settle()
    return results


def _one_whole(bench: Bench, mails: Sequence[bytes]) -> tuple[Target, _Whole]:
    with archive(bench.fresh(), "all") as served:
        sender.send(served.target, mails[: bench.sessions], bench.sessions)  # warms up
        os.sync()
        sent = sender.send(served.target, mails, bench.sessions)
        return served.target, _Whole(sent, served.found())


def _say_whole(
    bench: Bench, size: int, ours: Target, runs: Sequence[_Whole], peer: Target, theirs: Sequence[Sent]
) -> None:
    extra = {
        "content": "text and base64, every mail different",
        "generator": "bench.sender, connections kept",
        "sessions": bench.sessions,
        "messages": bench.messages,
        "ours_is": ours.name,
        "better": "higher",
        "searchable_at_the_end": [run.found for run in runs],
    }
    figure = Figure(
        f"intake, whole service, {size // 1024} kB",
        [run.sent.rate for run in runs],
        peer.name,
        [sent.rate for sent in theirs],
        "msg/s",
        _durable(ours, peer),
        extra,
    )
    bench.say(figure)


# --- command line -----------------------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description="Intake beside peers.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="that count, after a warm-up")
    parser.add_argument("--messages", type=int, default=2000, metavar="N", help="a run")
    parser.add_argument("--sessions", type=int, default=20, metavar="N")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20 * 1024, 40 * 1024], metavar="BYTES")
    parser.add_argument("--only", choices=["rates", "whole"], help="a part")
    parser.add_argument("--folder", type=Path, default=_OUT, help="on the file system that is to be measured")
    return parser.parse_args()


def main() -> int:
    """0 when everything was measured, 2 when something that is needed is missing."""
    given = _arguments()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="intake-", dir=given.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's own user goes through it
        described = machine.describe(folder)
        bench = Bench(folder, described, given.rounds, given.messages, given.sessions, given.sizes)
        try:
            if given.only != "whole":
                rates(bench)
            if given.only != "rates":
                whole_service(bench)
        except BenchError as error:
            sys.stderr.write(f"bench: {error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

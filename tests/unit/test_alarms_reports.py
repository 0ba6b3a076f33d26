"""Reports between processes: whole or not at all, even on a full disk; silence is seen; the dead are swept."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.reports import (
    Report,
    Reporter,
    ReportFile,
    folder,
    path_of,
    read_all,
    read_report,
    sweep,
)
from archive_service.alarms.tally import Sample, Tally


def report(at: float = 1000.0, count: float = 1) -> Report:
    samples = (Sample.of(names.SMTP_ACCEPTED, count), Sample.of(names.SMTP_OPEN, 3))
    return Report("host", 7, "smtp", 1, at, samples)


def test_what_was_written_is_read_and_replaced_in_place(tmp_path: Path) -> None:
    file = ReportFile(tmp_path / "one")
    file.write(report(count=10**12))
    size = (tmp_path / "one").stat().st_size
    file.write(report())
    file.close()
    assert read_report(tmp_path / "one") == report()
    assert (tmp_path / "one").stat().st_size == size


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"00000000 0000000002\n{}", b"x" * 40])
def test_what_is_no_report_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one").write_bytes(content)
    assert read_report(tmp_path / "one") is None


def test_a_report_that_was_read_half_way_is_never_believed(tmp_path: Path) -> None:
    file = ReportFile(tmp_path / "one")
    stop = threading.Event()
    written = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            many = tuple(Sample.of(names.FAILURES, count, code=str(n)) for n in range(300))
            file.write(Report("host", 7, "smtp", 1, float(count), many))
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(60)
        found = [read for _ in range(200) if (read := read_report(tmp_path / "one")) is not None]
    finally:
        stop.set()
        writer.join()
        file.close()
    assert found
    for each in found:
        assert {sample.value for sample in each.samples} == {each.at}


def test_a_report_that_is_too_large_says_only_that_its_process_lives(tmp_path: Path) -> None:
    file = ReportFile(tmp_path / "one")
    many = tuple(Sample.of(names.FAILURES, 1, code="x" * 100 + str(n)) for n in range(3000))
    file.write(Report("host", 7, "smtp", 1, 5.0, many))
    file.close()
    assert read_report(tmp_path / "one") == Report("host", 7, "smtp", 1, 5.0, ())


def test_of_a_silent_process_only_the_counters_are_told() -> None:
    def told(now: float) -> dict[str, float]:
        return {sample.metric: sample.value for sample in report().told(now)}

    assert told(1001) == {names.PROCESS_SILENT: 1, names.SMTP_ACCEPTED: 1, names.SMTP_OPEN: 3}
    assert told(1100) == {names.PROCESS_SILENT: 100, names.SMTP_ACCEPTED: 1}
    assert told(900)[names.PROCESS_SILENT] == 0  # a clock that was set back


def test_a_parents_word_about_its_children_stands_under_their_names() -> None:
    said = Sample.of(names.PROCESS_RESTARTS, 2, role="api", worker="0")
    whole = Report("host", 7, "serve", 0, 1000.0, (said,))
    assert said in whole.told(1000)


def test_the_dead_are_swept_the_living_are_not(tmp_path: Path) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    ours = path_of(tmp_path, "smtp", 0)
    host = ours.name.partition("-")[0]
    folder(tmp_path).mkdir(parents=True)
    dead, parents, elsewhere = (
        folder(tmp_path) / name
        for name in (
            f"{host}-{done.pid}-api-0",
            f"{host}-{os.getppid()}-api-0",
            f"other{host}-{done.pid}-api-0",
        )
    )
    for path in (ours, dead, parents, elsewhere):
        path.touch()
    sweep(tmp_path)
    assert sorted(folder(tmp_path).iterdir()) == sorted([parents, elsewhere])


def test_a_reporter_reports_and_takes_its_report_away(tmp_path: Path) -> None:
    tally = Tally()
    tally.add(names.SMTP_ACCEPTED, 4)
    reporter = Reporter(path_of(tmp_path, "smtp", 2), "smtp", 2, 11, tally.samples).start()
    (found,) = read_all(tmp_path)
    assert (found.role, found.worker, found.parent) == ("smtp", 2, 11)
    assert found.samples == (Sample.of(names.SMTP_ACCEPTED, 4),)
    reporter.close()
    assert read_all(tmp_path) == []


def test_a_folder_that_takes_no_report_is_said_once_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("in the way")
    reporter = Reporter(path_of(tmp_path, "smtp", 0), "smtp", 0, 1, list)
    reporter.write()
    reporter.write()
    assert caplog.text.count("cannot be written") == 1
    assert read_all(tmp_path) == []


def test_a_full_disk_does_not_silence_a_report(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        if os.environ.get("ARCHIVE_REQUIRE_SERVICES") == "1":
            pytest.fail("mounting a small file system is required here and failed")
        pytest.skip("mount: needs root")
    try:
        file = ReportFile(disk / "one")
        with pytest.raises(OSError, match="space"), (disk / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(65536))
        file.write(report(count=10**12))
        file.close()
        assert read_report(disk / "one") == report(count=10**12)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)

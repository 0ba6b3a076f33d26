"""What a figure depends on: processor, memory, kernel, Python, file system. No names of hosts or folders."""

import os
import platform
from pathlib import Path


def describe(folder: Path) -> str:
    """The machine in one line; the file system is the one that ``folder`` lies on."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{cores} cores {_processor()}, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {_file_system(folder)}"
    )


def _processor() -> str:
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = row.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Its kind; and of ext4 whether it has a journal, for that decides what an fsync costs."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for row in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = row.partition(" - ")
        if before.split()[2] == wanted:
            kind, source = after.split()[:2]
            return kind + _journal(kind, source)
    return "file system unknown"


def _journal(kind: str, source: str) -> str:
    options = Path(f"/proc/fs/{kind}/{Path(source).name}/options")
    if kind != "ext4" or not options.exists():
        return ""
    return " with a journal" if "data=" in options.read_text() else " without a journal"

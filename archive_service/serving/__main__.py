"""``python -m archive_service.serving ROLE``: one child of the supervisor; settings come from its environment."""

import sys
from importlib import import_module

from archive_service.alarms.tally import Tally
from archive_service.model.errors import ArchiveError
from archive_service.serving import child
from archive_service.settings import load


def main() -> int:
    """Run one role to its end. 0 after an orderly stop, 1 when it could not start."""
    role = sys.argv[1]
    child.die_with_parent()
    try:
        settings = load()
        child.log_to_stderr(role, settings.log_level)
        tally = Tally()
        child.report(role, tally)
        import_module(f"archive_service.serving.{role}").run(
            settings, tally
        )  # a role loads only what it needs
    except ArchiveError as error:
        sys.stderr.write(f"{role}: {error.code}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Recovery of one tenant, wired: used by the scheduler and by the command."""

from archive_service.bootstrap import Core, Tenant
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import FileMarks


def make_recovery(core: Core, tenant: Tenant) -> Recovery:
    """Looks on from where the last run on this machine stopped."""
    marks = FileMarks(core.work / "run" / "recovery")
    return Recovery(tenant.vault, tenant.acts.refresh, core.policy, marks)

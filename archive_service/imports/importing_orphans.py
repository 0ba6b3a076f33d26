"""What an import that was killed has sealed and not chained: it is chained before the next import looks, or it would be
taken a second time now and chained beside that by recovery ten minutes later."""

import json
from datetime import timedelta

from archive_service.bootstrap import Core, Tenant
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import FileMarks
from archive_service.vault.seal import Opened

_ANY_AGE = timedelta(hours=-1)  # whatever the store's clock says


def orphans_of_source(core: Core, tenant: Tenant, source: str) -> Recovery:
    """Recovery of one source's captures, whatever their age: who holds the source's lease knows that their writer is
    dead."""

    def is_ours(opened: Opened) -> bool:
        return bool(json.loads(opened.record).get("source") == source)

    marks = FileMarks(core.work / "run" / "importing" / "recovery" / source)
    return Recovery(tenant.vault, tenant.acts.refresh, core.policy, marks, age=_ANY_AGE, only=is_ours)

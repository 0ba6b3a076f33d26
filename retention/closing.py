"""Closing key generations in every log of an owner: once this returns, whatever is still sealed under them can no
longer be appended, so their keys may be wrapped anew without losing an acknowledged mail."""

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import Appender, LedgerPolicy
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import find_head, logs
from archive_service.model.errors import SlotLost
from archive_service.vault.key_layout import LogId

_TRIES = 20
_KINDS = {"capture", "access", "root"}  # whose entries stand under key records; acts have their own way


def close_logs(vault: PayloadVault, acts: Acts, policy: LedgerPolicy, highest: int, later: int) -> None:
    """See that the head of every log names a generation above ``highest``; where it does not, claim the slot for the
    generation ``later``. Its owner, frozen or alive, loses its next append, answers 4xx and takes a slot anew; there it
    learns that the generation is closed. Raises SlotLost when a log does not let itself be claimed in many tries."""
    owner = vault.keyring.owner
    for log in logs(vault.store, owner):
        if log.kind in _KINDS:
            _close(vault, log, policy, highest, later)
    acts.refresh()
    if find_head(vault.store, acts.log).generation <= highest:
        acts.close_below(later)


def _close(vault: PayloadVault, log: LogId, policy: LedgerPolicy, highest: int, later: int) -> None:
    for _ in range(_TRIES):
        if find_head(vault.store, log).generation > highest:
            return
        claim = Appender(vault.store, log, vault.clock, policy, generation=lambda floor: max(floor, later))
        try:
            claim.claim()
        except SlotLost:
            continue  # its writer was faster: look at what it named
        return
    raise SlotLost(f"{log.name} could not be claimed", code="erasure.claim")

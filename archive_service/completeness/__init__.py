"""Whether everything that a source should send does come. Reading order: ``windows`` (how long each system keeps what
it cannot deliver), ``history`` (a source against its own past), ``canary_mail`` and ``canaries`` (mail that the
archive sends through a source's route), ``results`` (what the last reconciliation said)."""

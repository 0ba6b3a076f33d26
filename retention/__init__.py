"""Retention: the schedule (``schedule``), who may be forgotten, and when (``precedence``, ``erasure``), what was never
to be archived (``exclusion``). The schedule decides, the logs prove."""

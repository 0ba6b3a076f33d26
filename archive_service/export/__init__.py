"""Evidence out: ``selection`` (which messages), ``report_pdf``, ``bundle`` (the ZIP), ``verify_bundle``."""

"""What is looked at after the ``250``: reading order ``archive_service.catalog.looks``, ``clamd`` and ``malware``,
``dns``, ``authentication`` (in the parser's cage) and ``origin``. What is seen goes into the order log
(``search.evidence_desk``); nothing waits for it.
"""

"""The milter endpoint: takes mail from a Postfix that holds it back until the archive has it.

The protocol is Sendmail's, version 6, as Postfix speaks it since 2.6; there is no standard. Reading order: ``server``
(listener, drain), ``session`` (the MTA's steps, each to its answer), ``message`` (one mail: envelope and content),
``connection`` (packets in, answers out, one timer), ``packets`` and ``negotiation`` (the bytes), ``macros``,
``replies`` (every answer: go on, or try again later; never a refusal for good), ``limits``. How a mail comes to the
intake is ``ingest.smtp``'s: transfer, memory budget, rates, counters.
"""

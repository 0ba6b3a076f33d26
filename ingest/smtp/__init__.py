"""The SMTP endpoint (RFC 5321): takes journal mail in and answers 250 only for what is archived.

Reading order: ``server`` (listener, drain), ``session`` (the commands), ``connection`` (bytes in, replies
out, one timer), ``input_buffer`` and ``data_reader`` (DATA in chunks, never by line), ``transfer`` (one
message on its way to the intake), ``transaction`` and ``parameters`` (envelope), ``replies`` (every
reply, and the one mapping from errors), ``limits`` (settings, memory budget) and ``counters``.
"""

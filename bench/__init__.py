"""Speed of the intake beside other mail servers, in the same run, on the same machine (``make bench``).

Reading order: ``intake`` (what is measured, round by round), ``targets`` (what a measured server is), ``archive``,
``peers`` and ``postfix`` (the servers), ``smtp_source`` and ``sender`` (the two load generators), ``mails`` (what is
sent), ``processes`` (starting and ending), ``machine`` and ``figures`` (the lines that are printed).
"""

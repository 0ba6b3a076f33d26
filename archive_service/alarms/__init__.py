"""What is measured of a running archive, and who is told when it is wrong.

Read in this order: ``names`` (every metric), ``catalogue`` (every alarm), ``tally`` and ``reports`` (how a process
says what it counted), ``survey`` (what is looked up in the archive itself), ``evaluation`` (what is on), ``state`` and
``notices`` (what is told, once), ``webhook`` and ``mail`` (to whom), ``watch`` (all of it, over and over).
"""

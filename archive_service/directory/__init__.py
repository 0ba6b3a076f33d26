"""How people come into the directory and change there: by hand, from CSV, from LDAP, by SCIM.

``incoming`` is what an outside directory says of a person, ``merging`` what that makes of his record, ``handing_on``
who holds an address when two would, ``planning`` all of an import's changes, ``changes`` the acts. ``csv_people``,
``ldap_people`` and ``scim_*`` each read one dialect.
"""

"""``serve``: ``supervisor`` starts a process a role and keeps them; ``smtp``, ``api``, ``follower``, ``scheduler``
are the roles; ``child`` is what they share."""

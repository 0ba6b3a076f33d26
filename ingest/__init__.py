"""Mail in: ``smtp`` (the endpoint), ``intake`` (what it hands captures to), then, after the 250, ``mime``,
``dialects`` (a file each), ``identity`` and ``parser_pool``."""

"""Holds at work. Read ``step`` first: what the active follower does; then ``covering``, ``asked``, ``objects``; then
``check``, which reads everything back, and ``desk``, through which people place and end them."""

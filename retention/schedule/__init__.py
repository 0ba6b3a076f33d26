"""The retention schedule at work: what a mail's facts are (``facts``), which rule takes it (``rules``), from when to
when it is kept (``terms``), and classes to begin with (``templates``). All pure: the same schedule, finding and events
always give the same answer, so nothing of it stands in a log but the schedule and the events."""

"""Programs that are started on this machine for a while: the demo, measurements."""

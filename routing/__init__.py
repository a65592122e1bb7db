"""Given a request and a snapshot, where does it go? Pure: no I/O, no clock, no event loop."""

"""The laboratory: the scheduler in virtual time, over models of servers, on traces of real work."""

"""``headway profile URL``: measures a live server and writes down how fast and large it is.

`ladder` says what to ask, `asking` asks, `points` makes points of what came, `measuring` puts
the three together; `ordering` proves whether the server heeds priorities; `poolfile` and `picture`
keep the result. The fit itself is `headway.engine.fit`.
"""

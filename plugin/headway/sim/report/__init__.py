"""The report of a suite: an HTML page with tables and plots, and the terminal's table."""

"""The daemon: sockets, scraping, configuration and persistence around the scheduler."""

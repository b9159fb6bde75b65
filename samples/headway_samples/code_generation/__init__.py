"""Sample: write a function, run its unit tests for real, repair it, up to four attempts."""

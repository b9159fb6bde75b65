"""Sample: plan, research in parallel with a search tool, write a report, check its facts."""

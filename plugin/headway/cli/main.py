"""Where the ``headway`` command begins: before anything that may not be installed."""

import importlib.util
import sys

NEEDS = ("typer", "rich", "pydantic", "yaml", "aiohttp", "prometheus_client")


def main() -> None:
    """Run the command line. Exit status: 0 fine, 1 a finding, 2 usage or configuration."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"headway: {', '.join(missing)} not installed: the command line and the daemon need "
            "pip install 'headway[daemon]'",
            file=sys.stderr,
        )
        raise SystemExit(2)
    from headway.cli.app import run

    run()


if __name__ == "__main__":
    main()

"""The options that several commands share, and how they become an address."""

from pathlib import Path
from typing import Annotated

import typer

from headway.cli.ask import Where
from headway.client.paths import default_socket_path
from headway.core.errors import ConfigError
from headway.daemon.sockets import read_token, split_address

SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", help="The daemon's socket.", envvar="HEADWAY_SOCKET"),
]
TcpOption = Annotated[
    str | None, typer.Option("--tcp", help="HOST:PORT instead of the socket.", metavar="HOST:PORT")
]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help="The file with the token that TCP needs.")
]


def socket_path(chosen: Path | None) -> Path:
    """The socket that was named, else the default one."""
    return (chosen or default_socket_path()).expanduser().absolute()


def tcp_address(tcp: str | None, token_file: Path | None) -> tuple[tuple[str, int] | None, bytes]:
    """Address and token of ``--tcp``. Raises `ConfigError` if one is given without the other."""
    if tcp is None:
        if token_file is not None:
            raise ConfigError("--token-file is for --tcp HOST:PORT, which is not given")
        return None, b""
    if token_file is None:
        raise ConfigError("--tcp needs --token-file FILE: over TCP every client shows a token")
    return split_address(tcp), read_token(token_file)


def where(chosen: Path | None, tcp: str | None, token_file: Path | None) -> Where:
    """The daemon that the options name."""
    address, token = tcp_address(tcp, token_file)
    return Where(socket=socket_path(chosen), tcp=address, token=token.decode())

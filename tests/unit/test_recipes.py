"""The units and the compose file that the docs offer: what they say exists, and fits together."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from headway.cli.app import build
from headway.client.paths import default_socket_path
from headway.daemon.litellm_config import load_litellm
from headway.daemon.sockets import MAX_PATH_BYTES

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
PAGE = (ROOT / "docs" / "how-to" / "run-as-a-service.md").read_text()
UNITS = ("headway.service", "headway-user.service")
SPECIFIERS = {"%h": "/home/ann", "%t": "/run/user/1000"}


def parsed(command: list[str]) -> dict[str, Any]:
    """What the real command line makes of ``headway COMMAND …``; it raises as the command does."""
    group: Any = typer.main.get_command(build())
    context = group.commands[command[0]].make_context(command[0], command[1:])
    return dict(context.params)


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((RECIPES / name).read_text())
    return parser


def command(name: str, key: str) -> list[str]:
    """A unit's command as systemd would run it, without the program."""
    text = unit(name)["Service"][key]
    for specifier, value in SPECIFIERS.items():
        text = text.replace(specifier, value)
    assert "%" not in text
    program, *arguments = shlex.split(text)
    assert program.startswith("/")
    assert Path(program).name == "headway"
    return arguments


def test_the_parser_of_these_tests_refuses_what_the_command_refuses() -> None:
    with pytest.raises(Exception, match="No such option: --confg"):
        parsed(["up", "--confg", "x"])


@pytest.mark.parametrize("name", UNITS)
def test_units_start_and_reload_with_options_that_exist(name: str) -> None:
    up = command(name, "ExecStart")
    assert up[0] == "up"
    started = parsed(up)
    assert started["config"].name == "headway.yaml"
    reload = command(name, "ExecReload")
    assert reload[0] == "reload"
    assert parsed(reload)["socket"] == started["socket"]
    assert len(str(started["socket"])) <= MAX_PATH_BYTES
    assert unit(name)["Service"]["RestartPreventExitStatus"] == "2"
    assert set(unit(name)) == {"DEFAULT", "Unit", "Service", "Install"}


def test_the_users_unit_has_the_socket_where_clients_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWAY_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", SPECIFIERS["%t"])
    started = parsed(command("headway-user.service", "ExecStart"))
    assert started["socket"] == default_socket_path()


def test_the_system_unit_has_a_private_folder_for_the_socket() -> None:
    service = unit("headway.service")["Service"]
    socket = parsed(command("headway.service", "ExecStart"))["socket"]
    assert socket.parent == Path("/var/lib") / service["StateDirectory"]
    assert service["StateDirectoryMode"] == "0700"
    assert f"HEADWAY_SOCKET={socket}" in PAGE
    assert f"HEADWAY_SOCKET={socket}" in (RECIPES / "headway.service").read_text()


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((RECIPES / "compose.yaml").read_text())
    return read


def test_all_containers_share_one_socket_one_user_and_one_image() -> None:
    services = compose()["services"]
    assert set(services) == {"headway", "proxy", "agents"}
    started = parsed(shlex.split(services["headway"]["command"])[1:])
    socket = started["socket"]
    for service in services.values():
        assert service["environment"]["HEADWAY_SOCKET"] == str(socket)
        assert service["volumes"][0] == f"socket:{socket.parent}"
        assert service["user"] == "1000:1000"
    dockerfile = services["headway"]["build"]["dockerfile_inline"]
    assert f"install -d -m 0700 -o agents -g agents {socket.parent}" in dockerfile
    assert "useradd --uid 1000 agents" in dockerfile
    assert set(compose()["volumes"]) == {"socket"}
    health = services["headway"]["healthcheck"]["test"]
    assert health[:2] == ["CMD", "headway"]
    parsed(health[2:])


@pytest.mark.skipif(not (ROOT / "plugin").exists(), reason="reads the source tree")
def test_the_image_is_made_of_folders_and_extras_that_exist() -> None:
    build_section = compose()["services"]["headway"]["build"]
    context = (RECIPES / build_section["context"]).resolve()
    assert context == ROOT
    copied = re.findall(r"^COPY (.+) /src\S*$", build_section["dockerfile_inline"], re.MULTILINE)
    for name in " ".join(copied).split():
        assert (context / name).exists(), name
    (extras,) = re.findall(r"/src\[([a-z,]+)\]", build_section["dockerfile_inline"])
    project = (ROOT / "pyproject.toml").read_text()
    for extra in extras.split(","):
        assert f"\n{extra} = [" in project


def test_daemon_and_proxy_read_one_file_and_the_agents_url_is_its_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = compose()["services"]
    daemon = parsed(shlex.split(services["headway"]["command"])[1:])
    proxy = shlex.split(services["proxy"]["command"])
    assert proxy[0] == "litellm"
    assert proxy[proxy.index("--config") + 1] == str(daemon["litellm"])
    monkeypatch.setenv("SMALL_URL", "http://small:8000/v1")
    monkeypatch.setenv("LARGE_URL", "http://large:8000/v1")
    for service in (services["headway"], services["proxy"]):
        assert {"SMALL_URL", "LARGE_URL"} <= set(service["environment"])
        assert f".:{daemon['litellm'].parent}:ro" in service["volumes"]
    config = load_litellm(RECIPES / "config.yaml")
    assert [spec.url for spec in config.pool.endpoints] == [
        "http://small:8000/v1",
        "http://large:8000/v1",
    ]
    assert config.pool.gateways == {services["agents"]["environment"]["OPENAI_BASE_URL"]: "headway"}
    assert config.notes == ()


def test_the_page_names_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) >= 5
    for link in links:
        assert (ROOT / "docs" / "how-to" / link).resolve().exists(), link
    for name in re.findall(r"docs/recipes/[\w.-]+", PAGE):
        assert (ROOT / name).exists(), name
    for name in UNITS:
        assert f"docs/recipes/{name}" in PAGE

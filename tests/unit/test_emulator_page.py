"""The emulator's reference page: its file loads in both commands, and it leaves nothing out."""

import re
from pathlib import Path

import pytest
import yaml

from headway.daemon import config as daemon
from headway.emulate import Answer, ChatRequest, EmulatedPool, load_config, parse_config
from headway.emulate.config import _EMULATE_KEYS, _ENDPOINT_KEYS
from headway.emulate.faults import FAULTS
from headway.engine import PRESETS, EngineProfile

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "emulator.md").read_text()


def fenced(language: str) -> str:
    """The page's only block of that language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return block


def rows() -> dict[str, str]:
    """The second column of every table row whose first one is a single name in code."""
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", PAGE, re.MULTILINE))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "headway.yaml"
    path.write_text(fenced("yaml"))
    return path


def test_the_file_loads_in_both_commands(file: Path) -> None:
    served, known = load_config(file), daemon.load_config(file)
    assert known.notes == ()
    assert {one.engine for one in known.pool.endpoints} == {"emulated"}
    assert [one.id for one in served.endpoints] == [one.id for one in known.pool.endpoints]
    assert {one.aliases for one in served.endpoints} == {("agent",)}
    assert served.speedup > 1
    for one in served.endpoints:
        assert one.profile != EngineProfile()
        assert f"http://{one.host}:{one.port}{one.path}" in PAGE.replace('"', "")


async def test_the_file_is_served(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    for each in content["endpoints"]:
        each["url"] = "http://127.0.0.1:0/v1"
    async with EmulatedPool(parse_config(content)) as pool:
        assert len(set(pool.urls.values())) == len(content["endpoints"])


def test_every_key_is_there_with_its_default() -> None:
    told = rows()
    assert set(told) >= _EMULATE_KEYS | _ENDPOINT_KEYS
    for name, field in EngineProfile.__dataclass_fields__.items():
        default = yaml.safe_load(told[name].strip("`").replace("none", "null"))
        assert (tuple(default) if isinstance(default, list) else default) == field.default, name


def test_presets_and_faults_are_all_told() -> None:
    assert all(f"`{name}`" in PAGE for name in (*PRESETS, *FAULTS))
    assert not set(re.findall(r'"kind": "([^"]+)"', PAGE)) - set(FAULTS)


def test_the_answers_shown_answer() -> None:
    made: dict[str, type] = {}
    exec(fenced("python"), made)
    request = ChatRequest(model="qwen-7b", skill=0.5, messages=({"role": "user", "content": "hi"},))
    assert made["Mine"]().answer(request) == Answer(text="qwen-7b read: hi", output_tokens=120)

"""What a server says of itself beside its metrics: models, version, flags.

Sans-IO but for `local_command`, which looks into ``/proc``: vLLM tells its scheduling policy
nowhere (with ``fcfs`` a priority is taken and ignored in silence), but a server on this machine
has it on its command line, and one in development mode in ``/server_info``.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRIORITY = "priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Flags of a server; None where they are not known."""

    policy: str | None = None
    seats: int | None = None
    prefix_cache: bool | None = None
    step_tokens: int | None = None

    @property
    def heeds_urgency(self) -> bool | None:
        """Whether it serves its queue by priority."""
        return None if self.policy is None else self.policy == PRIORITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What ``/v1/models`` tells: names that may be asked for, and a model's longest context."""

    names: tuple[str, ...]
    context_tokens: int | None


def read_models(text: str, model: str) -> Served | None:
    """The page of models; None if it is none."""
    try:
        entries = json.loads(text)["data"]
        names = tuple(str(entry["id"]) for entry in entries)
    except (ValueError, KeyError, TypeError):
        return None
    told = next((entry.get("max_model_len") for entry in entries if entry["id"] == model), None)
    longest = told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None
    return Served(names=names, context_tokens=longest)


def read_version(text: str) -> str:
    """The version on ``/version``; empty if it is not there."""
    try:
        return str(json.loads(text)["version"])[:40]
    except (ValueError, KeyError, TypeError):
        return ""


def read_server_info(text: str) -> Flags:
    """The flags on ``/server_info?config_format=json`` (vLLM's development mode)."""
    try:
        config = json.loads(text)["vllm_config"]
    except (ValueError, KeyError, TypeError):
        return Flags()
    if not isinstance(config, dict):
        return Flags()
    scheduler, cache = _part(config, "scheduler_config"), _part(config, "cache_config")
    policy, seats = scheduler.get("policy"), scheduler.get("max_num_seqs")
    prefix = cache.get("enable_prefix_caching")
    budget = scheduler.get("max_num_batched_tokens")
    return Flags(
        policy=policy if isinstance(policy, str) else None,
        seats=seats if isinstance(seats, int) else None,
        prefix_cache=prefix if isinstance(prefix, bool) else None,
        step_tokens=budget if isinstance(budget, int) else None,
    )


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def read_command(command: Sequence[str]) -> Flags:
    """The flags on a command line of ``vllm serve``; nothing of any other program.

    What is not given has vLLM's default: ``fcfs``; seats depend on the machine.
    """
    if not _is_vllm(command):
        return Flags()
    return Flags(
        policy=_value(command, "--scheduling-policy") or "fcfs",
        seats=_number(_value(command, "--max-num-seqs")),
        prefix_cache=False if "--no-enable-prefix-caching" in command else None,
        step_tokens=_number(_value(command, "--max-num-batched-tokens")),
    )


def _is_vllm(command: Sequence[str]) -> bool:
    words = [Path(word).name for word in command[:4]]
    modules = ("vllm.entrypoints.cli.main", "vllm.entrypoints.openai.api_server")
    return ("vllm" in words and "serve" in command) or any(one in command for one in modules)


def _value(command: Sequence[str], flag: str) -> str | None:
    for place, word in enumerate(command):
        if word == flag and place + 1 < len(command):
            return command[place + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


LISTENING = "0A"


def local_command(port: int, *, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """The command line of the program that listens on a port of this machine; empty if unknown.

    Linux only, and only programs whose files this user may look at.
    """
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not sockets:
        return ()
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            held = any(str(one.readlink()) in sockets for one in (folder / "fd").iterdir())
            if held:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                return tuple(word.decode("utf-8", "replace") for word in words if word)
        except OSError:
            continue  # it has ended, or is not ours to look at
    return ()


def _inodes(port: int, proc: Path) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENING:
                at = re.fullmatch(r"[0-9A-F]+:([0-9A-F]{4})", fields[1])
                if at is not None and int(at[1], 16) == port:
                    found.add(fields[9])
    return found

"""What a server says of itself beside its metrics: models, version, flags.

Sans-IO but for `local_command`, which looks into ``/proc``: vLLM tells its scheduling policy
nowhere (with ``fcfs`` a priority is taken and ignored in silence), but a server on this machine
has it on its command line, and one in development mode in ``/server_info``.
"""

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PRIORITY = "priority"
DEFAULT_POLICY = "fcfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Flags of a server; None where they are not known.

    `policy_given` says that the policy was read, not taken from vLLM's defaults.
    """

    policy: str | None = None
    policy_given: bool = False
    seats: int | None = None
    step_tokens: int | None = None

    def heeds_urgency(self, declared: bool | None) -> bool | None:
        """Whether it serves its queue by priority: as read, else as declared, else by default."""
        if declared is not None and not self.policy_given:
            return declared
        return None if self.policy is None else self.policy == PRIORITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What ``/v1/models`` tells: names that may be asked for, and of the model that was looked
    for its longest context and all of its names.
    """

    names: tuple[str, ...]
    context_tokens: int | None
    aliases: tuple[str, ...]


def read_models(text: str, model: str) -> Served | None:
    """The page of models; None if it is none."""
    try:
        entries = json.loads(text)["data"]
        names = tuple(str(entry["id"]) for entry in entries)
    except (ValueError, KeyError, TypeError):
        return None
    ours: dict[str, Any] = next((entry for entry in entries if entry["id"] == model), {})
    told, root = ours.get("max_model_len"), ours.get("root")
    longest = told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None
    alike = [str(entry["id"]) for entry in entries if root and entry.get("root") == root]
    return Served(names=names, context_tokens=longest, aliases=tuple(alike))


def read_version(text: str) -> str:
    """The version on ``/version``; empty if it is not there."""
    try:
        return str(json.loads(text)["version"])[:40]
    except (ValueError, KeyError, TypeError):
        return ""


def read_server_info(text: str) -> Flags:
    """The flags on ``/server_info?config_format=json`` (vLLM's development mode)."""
    try:
        scheduler: Any = json.loads(text)["vllm_config"]["scheduler_config"]
        policy = scheduler.get("policy")
        seats, budget = scheduler.get("max_num_seqs"), scheduler.get("max_num_batched_tokens")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Flags()
    return Flags(
        policy=policy if isinstance(policy, str) else None,
        policy_given=isinstance(policy, str),
        seats=seats if isinstance(seats, int) else None,
        step_tokens=budget if isinstance(budget, int) else None,
    )


def read_command(command: Sequence[str]) -> Flags:
    """The flags on a command line of ``vllm serve``; nothing of any other program.

    What is not given may still stand in a file that ``--config`` names; without one it has
    vLLM's default.
    """
    if not _is_vllm(command):
        return Flags()
    policy = _value(command, "scheduling-policy")
    return Flags(
        policy=policy or (None if _value(command, "config") else DEFAULT_POLICY),
        policy_given=policy is not None,
        seats=_number(_value(command, "max-num-seqs")),
        step_tokens=_number(_value(command, "max-num-batched-tokens")),
    )


def _is_vllm(command: Sequence[str]) -> bool:
    words = [Path(word).name for word in command[:4]]
    modules = ("vllm.entrypoints.cli.main", "vllm.entrypoints.openai.api_server")
    return ("vllm" in words and "serve" in command) or any(one in command for one in modules)


def _value(command: Sequence[str], flag: str) -> str | None:
    """The last value of a flag, which argparse takes; with dashes or underscores, as it does."""
    found = None
    for place, word in enumerate(command):
        name, given, value = word.partition("=")
        if not name.startswith("--") or name[2:].replace("_", "-") != flag:
            continue
        if given:
            found = value
        elif place + 1 < len(command):
            found = command[place + 1]
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


LISTENING = "0A"
DEFAULT_PORTS = {"http": 80, "https": 443}


def local_command(port: int, *, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """The command line of the program that listens on a port of this machine; empty if unknown.

    Linux only, and only programs whose files this user may look at.
    """
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    if not sockets:
        return ()
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        if _holds(folder, sockets):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            return tuple(word.decode("utf-8", "replace") for word in words if word)
    return ()


def _holds(folder: Path, sockets: set[str]) -> bool:
    """Whether a process has one of the sockets; not if it has ended, or is not ours to look at."""
    try:
        descriptors = list((folder / "fd").iterdir())
    except OSError:
        return False
    for one in descriptors:
        try:
            if str(one.readlink()) in sockets:
                return True
        except OSError:
            continue  # it was closed meanwhile
    return False


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


def find_flags(server_info: str | None, url: str) -> Flags:
    """The flags on the page ``/server_info``, else on the command line of a server that is here."""
    if server_info is not None:
        return read_server_info(server_info)
    port = local_port(url)
    return Flags() if port is None else read_command(local_command(port))


def local_port(url: str) -> int | None:
    """The port of a server on this very machine; None of one elsewhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return (parts.port or DEFAULT_PORTS.get(parts.scheme)) if here else None

"""Several hosts on one machine: each has its own network, processes, host name, home folder and Ray state, and sshd.

They see one file system, as machines with a shared folder do. It takes root, and Debian's openssh-server, rsync and
iproute2.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NEEDED = ("ip", "unshare", "sshd", "ssh-keygen", "rsync")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
NETWORK = "10.77.13"
PATIENCE = 20.0
RAY_STATE = Path("/tmp/ray")  # noqa: S108 - where Ray keeps its sessions, and its local provider who is up


@dataclass(frozen=True)
class Hosts:
    """Hosts that are up.

    Attributes:
        key: an SSH key that logs in everywhere, as the user who made them.
    """

    addresses: tuple[str, ...]
    key: Path

    def run(self, address: str, command: str) -> str:
        """A command on a host, and what it printed."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        words = ["ssh", "-i", str(self.key), *options, address, command]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout


@contextlib.contextmanager
def hosts(folder: Path, count: int) -> Iterator[Hosts]:
    """Makes hosts, and removes them with all that runs there. Skips the test where this machine does not allow it."""
    if missing := [name for name in NEEDED if not shutil.which(name, path=PATH)]:
        pytest.skip(f"several hosts on one machine need {', '.join(missing)}")
    key, bridge = folder / "key", f"hosts{os.getpid() % 10_000}"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    made: list[list[object]] = []
    running: list[subprocess.Popen[bytes]] = []
    try:
        try:
            _run("ip", "link", "add", bridge, "type", "bridge")
            made.append(["ip", "link", "del", bridge])
            _run("ip", "addr", "add", f"{NETWORK}.254/24", "dev", bridge)
            _run("ip", "link", "set", bridge, "up")
            for number in range(1, count + 1):
                name = f"{bridge}-{number}"
                _run("ip", "netns", "add", name)
                made.append(["ip", "netns", "del", name])
                _connect(name, bridge, number)
                running.append(_login(folder, name, number, key))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine allows no hosts of its own: {error.stderr.decode().strip()}")
        addresses = tuple(f"{NETWORK}.{number}" for number in range(1, count + 1))
        for address in addresses:
            _wait(address)
        yield Hosts(addresses, key)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for command in reversed(made):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run(*command)


def _connect(name: str, bridge: str, number: int) -> None:
    """A cable to the bridge; without a default route Ray would take 127.0.0.1 for the host's address."""
    cable = f"h{os.getpid() % 10_000}-{number}"
    _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    _run("ip", "link", "set", cable, "master", bridge, "up")
    _run("ip", "-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
    _run("ip", "-n", name, "link", "set", "eth0", "up")
    _run("ip", "-n", name, "link", "set", "lo", "up")
    _run("ip", "-n", name, "route", "add", "default", "via", f"{NETWORK}.254")


def _login(folder: Path, name: str, number: int, key: Path) -> "subprocess.Popen[bytes]":
    """sshd in a host. What is written to the home folder there stays there, and is gone with the host."""
    state, layer, home = folder / f"ray{number}", folder / f"home{number}", pwd.getpwuid(os.getuid()).pw_dir
    for each in (state, layer, RAY_STATE, Path("/run/sshd")):
        each.mkdir(parents=True, exist_ok=True)
    names = folder / f"names{number}"
    names.write_text(f"127.0.0.1 localhost\n127.0.1.1 host{number}\n")  # as Debian has it
    options = {
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "ListenAddress": f"{NETWORK}.{number}",
        "AuthorizedKeysFile": f"{key}.pub",
    }
    sshd = [shutil.which("sshd", path=PATH), "-D", "-e"]  # which wants to be started by its full name
    words = [*sshd, *(word for option, value in options.items() for word in ("-o", f"{option}={value}"))]
    inside = """set -e; hostname "$1"; mount --bind "$2" "$3"; mount -t tmpfs tmpfs "$4"; mkdir "$4/new" "$4/work"
        mount -t overlay overlay -o "lowerdir=$5,upperdir=$4/new,workdir=$4/work" "$5"
        mount --bind "$6" /etc/hosts; shift 6; exec "$@\""""
    arguments = [f"host{number}", state, RAY_STATE, layer, home, names, *words]
    command = ["ip", "netns", "exec", name, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount"]
    with (folder / f"sshd{number}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--uts", "sh", "-c", inside, "sh", *map(str, arguments)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": PATH},
            start_new_session=True,
        )


def _wait(address: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=1):
            return
        time.sleep(0.1)
    pytest.skip(f"this machine allows no hosts of its own: sshd on {address} does not answer")


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, env={**os.environ, "PATH": PATH})

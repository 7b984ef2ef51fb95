# SPDX-License-Identifier: BSD-2-Clause
"""Debian packages, fetched and unpacked but never installed.

apt runs on lists, sources and a cache of our own in a temporary directory: the machine's apt
configuration is neither read for suites nor changed, apart from its mirrors (and any proxy, which
apt itself knows), so that a machine that reaches only a local mirror can build too. The dpkg status
file is the machine's: it tells which libraries are already there and need not be fetched.
"""

import os
import pathlib
import re
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
CODENAME = "bookworm"
SBIN = ":/usr/sbin:/sbin"


def run(*argv, **kwargs):
    """Run a tool, sbin included in its path; its output is shown when it fails."""
    env = dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive")
    env["PATH"] = env.get("PATH", "/usr/bin:/bin") + SBIN
    done = subprocess.run([str(a) for a in argv], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def versions(*packages):
    """Installed versions of packages as one string: part of a recipe's key."""
    return run("dpkg-query", "-W", "-f=${Package} ${Version}\n", *packages)


def one_line_sources(text):
    """URI and suite of each entry of a sources.list."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line.strip())
        if match:
            yield match.groups()


def deb822_sources(text):
    """URI and suite of each entry of a .sources file."""
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.M)):
        fields = dict(re.findall(r"^(\S+):\s*(.+)$", stanza, flags=re.M))
        if fields.get("Enabled", "yes").strip() == "no":
            continue
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield uri, suite


def mirrors():
    """The mirrors this machine uses for Debian and its security updates, or Debian's own."""
    found = {}
    etc = pathlib.Path("/etc/apt")
    files = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*"))]
    for path in (p for p in files if p.is_file()):
        parse = deb822_sources if path.suffix == ".sources" else one_line_sources
        for uri, suite in parse(path.read_text(encoding="utf-8")):
            found.setdefault(suite.rstrip("/"), uri)
    return (found.get(CODENAME, MIRROR),
            found.get(f"{CODENAME}-security", SECURITY))


class Apt:
    """apt-get on private state below `work`, with the backports suite added."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.downloads = self.work / "debs"
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self.work / name).mkdir(parents=True)
        debian, security = mirrors()
        suites = [(debian, CODENAME), (debian, f"{CODENAME}-updates"),
                  (security, f"{CODENAME}-security"), (debian, f"{CODENAME}-backports")]
        (self.work / "sources.list").write_text("".join(
            f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in suites),
            encoding="ascii")
        self.apt("apt-get", "update", "-q")

    def apt(self, tool, *argv, **kwargs):
        options = {
            "Dir::State": self.work, "Dir::State::lists": self.work / "lists",
            "Dir::State::status": "/var/lib/dpkg/status", "Dir::Cache": self.work / "cache",
            "Dir::Etc::sourcelist": self.work / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null", "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true", "APT::Architecture": "amd64", "Acquire::Retries": "3",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return run(tool, *flags, *argv, **kwargs)

    def depends(self, package, pattern):
        """The first package matching `pattern` that `package` depends on."""
        text = self.apt("apt-cache", "depends", package)
        match = re.search(rf"Depends: ({pattern})\s", text)
        if not match:
            raise RuntimeError(f"{package} depends on nothing like {pattern}:\n{text}")
        return match.group(1)

    def needed(self, suite, *packages):
        """`name=version` of packages from a suite and of all they need beyond what is installed."""
        text = self.apt("apt-get", "install", "--simulate", "--no-install-recommends",
                        "--reinstall", "-t", suite, *packages)
        found = re.findall(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+) ", text, flags=re.M)
        missing = set(packages) - {name.split(":")[0] for name, _ in found}
        if missing:
            raise RuntimeError(f"apt did not resolve {sorted(missing)}:\n{text}")
        return [f"{name}={version}" for name, version in found]

    def download(self, *packages):
        """Fetch packages (apt checks their signatures); returns the files."""
        before = set(self.downloads.iterdir())
        self.apt("apt-get", "download", "-q", *packages, cwd=self.downloads)
        return sorted(set(self.downloads.iterdir()) - before)

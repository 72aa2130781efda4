"""Downloads the packages that a manifest names, as corpus.py collects them.

    python3 fetch.py manifest.tsv ARCHIVES

ARCHIVES/bin gets binary packages, src the sources with their .dsc, npm the tarballs, from Debian's mirror and
the registry that npm is set to. A Debian version that the mirror no longer has is replaced by the newest of the
same release; a second call with another --suite fetches what the first could not. What is there already is not fetched again.
Exit 1 when packages are missing at the end, with their names.
"""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from corpus import read_manifest

# Lists of our own: the machine's stay as they are, and need no sources of packages in them.
SOURCES = """deb {uri} {suite} main
deb-src {uri} {suite} main
deb {uri} {suite}-updates main
deb-src {uri} {suite}-updates main
deb {uri}-security {suite}-security main
deb-src {uri}-security {suite}-security main
"""


class Apt:
    """apt with lists of its own in a folder."""

    def __init__(self, folder, mirror, suite):
        self.options = ["-q", "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=-",
                        "-o", f"Dir::State::Lists={folder}/lists", "-o", "APT::Sandbox::User=root"]
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "sources.list").write_text(SOURCES.format(uri=mirror, suite=suite))
        subprocess.run(["apt-get", *self.options, "update"], check=True, stdout=subprocess.DEVNULL)

    def fetch(self, verb, package, version, into):
        """True when the version, or else the newest one, arrived in a folder."""
        into.mkdir(parents=True, exist_ok=True)
        for name in (f"{package}={version}", package):
            done = subprocess.run(["apt-get", *self.options, *verb, name], cwd=into, capture_output=True)
            if done.returncode == 0:
                return True
            for left in into.glob(f"{package}_*.dsc"):  # of a source whose files did not all arrive: it would look fetched
                left.unlink()
        return False


def scoped_names(package):
    """What a packed file's name may stand for: a-b-c is a-b-c, @a/b-c or @a-b/c."""
    yield package
    parts = package.split("-")
    for i in range(1, len(parts)):
        yield f"@{'-'.join(parts[:i])}/{'-'.join(parts[i:])}"


def fetch_npm(registry, package, version, into):
    into.mkdir(parents=True, exist_ok=True)
    for name in scoped_names(package):
        try:
            with urllib.request.urlopen(f"{registry}/{urllib.parse.quote(name, safe='@')}/{version}", timeout=60) as answer:
                url = json.load(answer)["dist"]["tarball"]
            with urllib.request.urlopen(url, timeout=300) as answer:
                part = into / f"{package}-{version}.part"
                part.write_bytes(answer.read())
            part.rename(into / f"{package}-{version}.tgz")
            return True
        except (urllib.error.URLError, OSError, ValueError, KeyError):
            continue
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=pathlib.Path)
    parser.add_argument("archives", type=pathlib.Path)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--parallel", type=int, default=6)
    args = parser.parse_args()
    out = args.archives.resolve()
    registry = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True,
                              check=True).stdout.strip().rstrip("/")
    with tempfile.TemporaryDirectory() as lists, concurrent.futures.ThreadPoolExecutor(args.parallel) as pool:
        apt = Apt(pathlib.Path(lists), args.mirror, args.suite)
        jobs = {}
        for row in read_manifest(args.manifest):
            source, package, version = row["source"], row["package"], row["version"]
            if source == "npm":
                if not (out / "npm" / f"{package}-{version}.tgz").exists():
                    jobs[pool.submit(fetch_npm, registry, package, version, out / "npm")] = (source, package)
            elif source == "debian-source":
                if not list((out / "src").glob(f"{package}_*.dsc")):
                    jobs[pool.submit(apt.fetch, ["source", "--download-only"], package, version, out / "src")] = (source, package)
            elif not list((out / "bin").glob(f"{package}_*.deb")):
                jobs[pool.submit(apt.fetch, ["download"], package, version, out / "bin")] = (source, package)
        missing = []
        for i, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            if not job.result():
                missing.append("/".join(jobs[job]))
            if i % 50 == 0:
                print(f"{i} of {len(jobs)}", flush=True)
    if missing:
        sys.exit(f"{len(missing)} could not be fetched: {' '.join(sorted(missing))}")


if __name__ == "__main__":
    main()

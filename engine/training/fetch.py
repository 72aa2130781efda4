"""Downloads the packages that a manifest names, as corpus.py collects them.

    python3 fetch.py manifest.tsv ARCHIVES

ARCHIVES/bin gets binary packages, src the sources with their .dsc, npm the tarballs, from Debian's mirror and
the registry that npm is set to. A Debian version that the mirror no longer has is replaced by the newest of the
same release; a second call with another --suite fetches what the first could not. What is there already is not fetched again.
Exit 1 when packages are missing at the end, with their names.
"""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
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


class Archive:
    """What a suite of Debian's mirror has, by its package lists: a call of apt a package costs more than the package."""

    def __init__(self, folder, mirror, suite):
        options = ["-q", "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=-",
                   "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=root"]
        for empty in ("lists/partial", "cache/archives/partial"):
            (folder / empty).mkdir(parents=True)
        (folder / "sources.list").write_text(SOURCES.format(uri=mirror, suite=suite))
        subprocess.run(["apt-get", *options, "update"], check=True, stdout=subprocess.DEVNULL)
        targets = subprocess.run(["apt-get", *options, "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(FILENAME)"],
                                 check=True, capture_output=True, text=True).stdout
        self.binaries, self.sources = {}, {}  # package -> version -> a list of (address, name to store, SHA-256) for each place that has it
        for target in targets.splitlines():
            kind, base, path = target.split(" ", 2)
            if kind not in ("Packages", "Sources"):
                continue
            text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], check=True, capture_output=True, text=True).stdout
            for paragraph in text.split("\n\n"):
                self._add(kind, base, fields_of(paragraph))

    def _add(self, kind, base, fields):
        package, version = fields.get("Package"), fields.get("Version")
        if package is None:
            return
        if kind == "Packages":
            name = f"{package}_{version.replace(':', '%3a')}_{fields['Architecture']}.deb"
            files = [(base + fields["Filename"], name, fields["SHA256"])]
            self.binaries.setdefault(package, {}).setdefault(version, []).append(files)
        else:
            lines = [line.split() for line in fields["Checksums-Sha256"].strip().splitlines()]
            files = [(f"{base}{fields['Directory']}/{name}", name, digest) for digest, _, name in lines]
            self.sources.setdefault(package, {}).setdefault(version, []).append(files)

    def fetch(self, packages, package, version, into):
        """True when the version, or else the newest one, arrived in a folder."""
        versions = packages.get(package, {})
        into.mkdir(parents=True, exist_ok=True)
        wanted = dict.fromkeys((urllib.parse.unquote(version), max(versions, key=version_key, default=None)))
        # A version may be listed where it no longer is. A source's .dsc comes last: where it lies, all of it does.
        places = [files for v in wanted for files in versions.get(v, [])]
        return any(all(download(*file, into) for file in sorted(files, key=lambda f: f[1].endswith(".dsc"))) for files in places)


def fields_of(paragraph):
    """The fields of a paragraph of a package list, those of several lines with all of them."""
    fields, name = {}, None
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] += "\n" + line
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


# dpkg's order of versions, as far as one package's in one suite need it: the newer upload has the larger numbers.
def version_key(version):
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", version)]


def download(address, name, digest, into):
    """False if it can't be had whole."""
    for _ in range(3):
        try:
            with urllib.request.urlopen(address, timeout=120) as answer:
                data = answer.read()
        except urllib.error.HTTPError:
            return False
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() == digest:
            store(data, into / name)
            return True
    return False


def store(data, path):
    """A file that is there is there whole."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    part.rename(path)


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
                store(answer.read(), into / f"{package}-{version}.tgz")
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
        archive = Archive(pathlib.Path(lists), args.mirror, args.suite)
        jobs = {}
        for row in read_manifest(args.manifest):
            source, package, version = row["source"], row["package"], row["version"]
            if source == "npm":
                if not (out / "npm" / f"{package}-{version}.tgz").exists():
                    jobs[pool.submit(fetch_npm, registry, package, version, out / "npm")] = (source, package)
            elif source == "debian-source":
                if not list((out / "src").glob(f"{package}_*.dsc")):
                    jobs[pool.submit(archive.fetch, archive.sources, package, version, out / "src")] = (source, package)
            elif not list((out / "bin").glob(f"{package}_*.deb")):
                jobs[pool.submit(archive.fetch, archive.binaries, package, version, out / "bin")] = (source, package)
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

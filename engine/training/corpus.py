"""From downloaded packages to training containers: read, filter, de-duplicate, split, pack.

    corpus.py collect ARCHIVES OUT     one container a project, filtered by licence and content
    corpus.py assemble IN OUT          de-duplicate, split by project, balance, pack into chunks
    corpus.py merge MANIFESTS --out M  one manifest of those of several assemblies
    corpus.py site-packages OUT        Python packages already installed, from an explicit list

A container holds one record a file (container.py). Needs only the standard library.
"""

import argparse
import collections
import csv
import functools
import gzip
import hashlib
import io
import json
import lzma
import multiprocessing
import operator
import pathlib
import re
import subprocess
import sysconfig
import tarfile

from cleaning import MAX_BYTES, MIN_BYTES, NearDuplicates, clean, language_of, path_wanted
from container import read_records, write_record
from licences import COPYLEFT, Copyright, permissive

# --- archives -----------------------------------------------------------------------------------

def project_name(package):
    """One name for all packages of a project, so that a split by project holds."""
    n = package.lower().lstrip("@")
    n = re.sub(r"^(python3?-|node-|ruby-|golang-(github|gopkg|golang|google)-|librust-|rust-|lib(?=.*-(java|dev)$)|php-)", "", n)
    n = re.sub(r"(-dev|-java|-src)$", "", n)
    n = re.sub(r"[-.]?v?\d[\d.]*$", "", n) or n
    return re.sub(r"[^a-z0-9+-]", "-", n)


def tar_members(path):
    """(name, bytes) of the wanted files of a tar in any compression."""
    opener = {".deb": ["dpkg-deb", "--fsys-tarfile", path], ".xz": ["xz", "-dc", path],
              ".gz": ["gzip", "-dc", path], ".tgz": ["gzip", "-dc", path],
              ".bz2": ["bzip2", "-dc", path], ".zst": ["zstd", "-dc", path]}[pathlib.Path(path).suffix]
    with subprocess.Popen(opener, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as proc:
        with tarfile.open(fileobj=proc.stdout, mode="r|") as tar:
            for member in tar:
                if member.isreg():
                    yield member.name.removeprefix("./"), member.size, lambda: tar.extractfile(member).read()
        proc.stdout.close()
        proc.terminate()


def added_file(diff, name):
    """The text of a file that a compressed diff adds whole (an older source package has its debian/ as one), or ""."""
    with gzip.open(diff, "rt", encoding="utf-8", errors="replace") as lines:
        text, inside = [], False
        for line in lines:
            if line.startswith("--- "):
                inside = False
            elif line.startswith("+++ "):
                inside = line[4:].split("\t")[0].strip().split("/", 1)[-1] == name
            elif inside and line.startswith("+"):
                text.append(line[1:])
    return "".join(text)


def archives_of(root):
    """Jobs: (kind, package, [paths])."""
    jobs = []
    for deb in sorted(root.glob("bin/*.deb")):
        jobs.append(("deb", deb.name.split("_")[0], deb.name.split("_")[1], [str(deb)]))
    for tgz in sorted(root.glob("npm/*.tgz")):
        m = re.match(r"(.*?)-(\d+\.\d+.*)\.tgz$", tgz.name)
        if m:
            jobs.append(("npm", m.group(1), m.group(2), [str(tgz)]))
    for dsc in sorted(root.glob("src/*.dsc")):
        name, version = dsc.name.removesuffix(".dsc").split("_", 1)
        upstream = re.sub(r"-[^-]*$", "", version)
        orig = sorted(root.glob(f"src/{name}_{upstream}.orig*.tar.*")) or sorted(root.glob(f"src/{name}_{version}.tar.*"))
        debian = sorted(root.glob(f"src/{name}_{version}.debian.tar.*")) + sorted(root.glob(f"src/{name}_{version}.diff.gz"))
        orig = [p for p in orig if p.suffix in (".xz", ".gz", ".bz2", ".zst")]
        if orig:
            jobs.append(("src", name, version, [str(p) for p in debian + orig]))
    return jobs


# The share of these projects would be too large, or the code is another project's.
_PROJECT_PATHS = {
    "nodejs": re.compile(r"^(?!deps/|test/)|^deps/v8/src/|^deps/(uv|llhttp)/src"),
    "llvm-toolchain": re.compile(r"^(llvm|clang|clang-tools-extra|lld|lldb|mlir|libcxx|compiler-rt)/(?!test|unittests|www|docs|examples)"),
    "rustc": re.compile(r"^(compiler|library|src/tools/(rustfmt|clippy/clippy_lints|rust-analyzer|cargo|miri)|src/librustdoc)/"),
    "mono": re.compile(r"^(mcs/(class|mcs|tools)|mono)/"),
    "bazel-bootstrap": re.compile(r"^src/"),
}

# What a project carries of others that no package of their own brings: a folder each.
_BUNDLED = {
    "mono": re.compile(r"^external/(corefx|corert|aspnetwebstack|api-doc-tools|rx|nunit-lite|linker|Newtonsoft\.Json|cecil)/"),
}


def collect_job(job):
    kind, package, version, paths, out, bundled = job
    project = project_name(package)
    target = pathlib.Path(out) / f"{kind}-{re.sub('[^a-z0-9.+-]', '-', package.lower())}.bin"
    if target.exists():
        return None
    reasons, langs = collections.Counter(), collections.Counter()
    licence, rights, pending = "", None, []
    buffer = io.BytesIO()
    only = _PROJECT_PATHS.get(project)
    others = _BUNDLED.get(project) if bundled else None
    try:
        for path in paths:
            if path.endswith(".diff.gz"):
                if text := added_file(path, "debian/copyright"):
                    rights = Copyright(text)
                    licence = rights.summary()
                continue
            strip_root = kind != "deb" and ".debian." not in path
            for name, size, read in tar_members(path):
                inner = name
                if strip_root and "/" in name:
                    inner = name.split("/", 1)[1]
                if inner.endswith("copyright") and (
                        (kind == "deb" and name.startswith("usr/share/doc/")) or inner == "debian/copyright"):
                    rights = Copyright(read().decode("utf-8", "replace"))
                    licence = rights.summary()
                    continue
                if kind == "npm" and inner == "package.json" and name.count("/") == 1:
                    meta = json.loads(read().decode("utf-8", "replace"))
                    lic = meta.get("license") or meta.get("licenses") or ""
                    if isinstance(lic, list):
                        lic = " or ".join(x.get("type", "") if isinstance(x, dict) else str(x) for x in lic)
                    licence = lic.get("type", "") if isinstance(lic, dict) else str(lic)
                    continue
                other = others.match(inner) if others else None
                within = inner[other.end():] if other else inner
                if ".debian." in path or not MIN_BYTES <= size <= MAX_BYTES or not path_wanted(within, keep_deps=only is not None):
                    continue
                if only is not None and not other and not only.search(inner):
                    continue
                text, reason = clean(inner, read())
                if text is None:
                    reasons[reason] += 1
                else:
                    pending.append((inner, text))
    except (tarfile.TarError, OSError, EOFError, ValueError, lzma.LZMAError) as error:
        if not pending:
            return (kind, package, version, "", {}, {"error: " + str(error)[:60]: 1})
    if kind == "npm":
        names = {n for n, _ in pending}
        allowed = permissive(licence)
    for inner, text in pending:
        if kind == "npm":
            ok = allowed
            # Compiled twins of shipped TypeScript.
            if ok and language_of(inner) == "javascript" and (
                    re.sub(r"\.[cm]?jsx?$", ".ts", inner) in names or
                    (re.search(r"(^|/)(lib|build|out|es|_?dist[^/]*)/", inner) and any(n.startswith("src/") and n.endswith((".ts", ".tsx")) for n in names))):
                ok = False
        else:
            ok = rights is not None and rights.allows(inner, installed=kind == "deb")
        if not ok:
            reasons["licence"] += 1
            continue
        lang = language_of(inner)
        other = others.match(inner) if others else None
        of = project_name(other.group(1)) if other else project
        write_record(buffer, f"{lang}/{of}/{inner.removeprefix('usr/').removeprefix('share/')}", text)
        langs[lang] += len(text)
    target.write_bytes(buffer.getvalue())  # also an empty one: the package was looked at
    return (kind, package, version, licence, dict(langs), dict(reasons))


def collect(args):
    root, out = pathlib.Path(args.archives), pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(*job, str(out), args.bundled) for job in archives_of(root)]
    total = collections.Counter()
    with multiprocessing.Pool(args.processes) as pool, open(out / "collected.jsonl", "a") as log:
        for result in pool.imap_unordered(collect_job, jobs):
            if result is None:
                continue
            total.update(result[4])
            log.write(json.dumps(result) + "\n")
            log.flush()
    print(json.dumps({k: round(v / 1e6, 1) for k, v in total.most_common()}), round(sum(total.values()) / 1e6), "MB")


# --- assemble -----------------------------------------------------------------------------------

def held_out_projects(sizes, want_bytes, want_files, want_projects=3):
    """Per language, projects in a fixed pseudo-random order until there is enough.

    sizes: {language: {project: (files, bytes)}}. Large projects stay in training.
    """
    chosen = set()
    whole = collections.Counter()
    for projects in sizes.values():
        for p, (_, b) in projects.items():
            whole[p] += b
    for lang, projects in sorted(sizes.items()):
        total = sum(b for _, b in projects.values())
        order = sorted(projects, key=lambda p: hashlib.sha1(f"{lang}:{p}".encode()).hexdigest())
        files = size = count = 0
        for p in order:
            f, b = projects[p]
            if p in chosen:
                files, size, count = files + f, size + b, count + 1
        for p in order:
            if files >= want_files and size >= min(want_bytes, 0.02 * total) and count >= want_projects:
                break
            f, b = projects[p]
            if p in chosen or f < 3 or b > max(0.03 * total, 60_000) or whole[p] > 2_500_000:
                continue
            chosen.add(p)
            files, size, count = files + f, size + b, count + 1
    return chosen


def read_manifest(path):
    """The rows of a manifest.tsv that assemble() wrote, as dicts by the names in its head."""
    with open(path, newline="") as rows:
        return list(csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE))


def held_out_of(manifest):
    """The projects that an earlier manifest held out: a model that goes on from one trained then has not seen them."""
    return {project_name(row["package"]) for row in read_manifest(manifest) if row["split"] == "held-out"}


def by_language(text):
    """A number a language, from "8,c=20,go=15": the bare number is for languages that have none of their own."""
    numbers = collections.defaultdict(float)
    for part in text.split(","):
        lang, equals, number = part.rpartition("=")
        if equals:
            numbers[lang] = float(number)
        else:
            default = float(number)
            numbers.default_factory = lambda: default
    return numbers


def merged_manifests(manifests, together=operator.add):
    """One row a package, in the order of their first mention: bytes summed (or max, of assemblies that may have taken the
    same text), with every language; all else as in the first row."""
    merged = {}
    for rows in manifests:
        for row in rows:
            known = merged.setdefault((row["source"], row["package"]), {**row, "bytes": "0", "languages": ""})
            if known["split"] != row["split"]:
                raise SystemExit(f"{row['package']} is {known['split']} in one manifest and {row['split']} in another")
            known["bytes"] = str(together(int(known["bytes"]), int(row["bytes"])))
            languages = [lang for lang in known["languages"].split(",") if lang]
            known["languages"] = ",".join(dict.fromkeys(languages + row["languages"].split(",")))
    return list(merged.values())


def merge(args):
    rows = merged_manifests((read_manifest(path) for path in args.manifests), max if args.largest else operator.add)
    with open(args.out, "w") as o:
        o.write("\t".join(rows[0]) + "\n")
        for row in rows:
            o.write("\t".join(row.values()) + "\n")


def assemble(args):
    root, out = pathlib.Path(args.input), pathlib.Path(args.out)
    language_mb, project_share = by_language(args.language_mb), by_language(args.project_share)
    out.mkdir(parents=True, exist_ok=True)
    log = {}
    for line in (root / "collected.jsonl").read_text().splitlines():
        kind, package, version, licence, langs, _ = json.loads(line)
        log[f"{kind}-{re.sub('[^a-z0-9.+-]', '-', package.lower())}"] = (kind, package, version, licence)
    files = [p for p in sorted(root.glob("*.bin")) if p.stat().st_size]
    sizes = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for f in files:
        with open(f, "rb") as s:
            for path, text in read_records(s):
                lang, project, _ = path.split("/", 2)
                entry = sizes[lang][project]
                entry[0] += 1
                entry[1] += len(text)
    held = held_out_of(args.held_from) if args.held_from else held_out_projects(sizes, args.held_bytes, 40)

    is_held = functools.cache(lambda name: project_name(name) in held)

    def project_of(f):
        return project_name(log[f.stem][1]) if f.stem in log else f.stem
    # Held-out projects first: a copy of their files elsewhere is then what is dropped.
    files.sort(key=lambda f: (project_of(f) not in held, hashlib.sha1(f.name.encode()).hexdigest()))
    near, dropped = NearDuplicates(), collections.Counter()
    held_out, per_lang = [], collections.defaultdict(list)
    taken = collections.Counter()
    # What earlier assemblies took is as if taken first: neither repeated nor taken twice towards a project's cap.
    earlier = collections.Counter()
    for known in args.beyond:
        with open(known, "rb") as s:
            for path, text in read_records(s):
                near.seen(text)
                lang, project, _ = path.split("/", 2)
                if project not in held:
                    earlier[lang, project] += len(text)
    taken.update(earlier)
    by_package = collections.defaultdict(collections.Counter)
    for f in files:
        with open(f, "rb") as s:
            for path, text in read_records(s):
                lang, project, _ = path.split("/", 2)
                # A folder of a held-out project's name may be another version of it, which no comparison of files finds.
                if args.beyond if project in held else args.held_from and any(is_held(part) for part in path.split("/")[2:-1]):
                    dropped["held out"] += 1
                    continue
                cap = args.project_mb * 1e6 * (2 if project in ("rustc", "llvm-toolchain", "mono", "kotlin", "golang", "scala", "typescript") else 1)
                if taken[lang, project] > cap:
                    dropped["project cap"] += 1
                    continue
                reason = near.seen(text)
                if reason:
                    dropped[reason] += 1
                    continue
                taken[lang, project] += len(text)
                by_package[f.stem][lang] += len(text.encode())
                if project in held:
                    held_out.append((path, text))
                else:
                    per_lang[lang].append((f.stem, path, text))
    totals = {k: sum(len(t) for _, _, t in v) for k, v in per_lang.items()}
    print("unique MB", {k: round(v / 1e6, 1) for k, v in sorted(totals.items(), key=lambda x: -x[1])}, dict(dropped))
    chunks = [[] for _ in range(args.chunks)]
    for lang, items in per_lang.items():
        cap = language_mb[lang] * 1e6
        items.sort(key=lambda x: hashlib.sha1(x[1].encode()).hexdigest())
        size, kept = 0, []
        whole = sum(n for (its, _), n in earlier.items() if its == lang) + min(cap, totals[lang])
        of_project = collections.Counter({project: n for (its, project), n in earlier.items() if its == lang})
        for stem, path, text in items:
            project = path.split("/")[1]
            if size >= cap or of_project[project] >= project_share[lang] * whole:
                by_package[stem][lang] -= len(text.encode())
                continue
            size += len(text)
            of_project[project] += len(text)
            kept.append((path, text))
        # Whole folders go to one chunk, so that similar files share its compression window; each
        # chunk gets the same share of the language.
        groups = collections.defaultdict(list)
        for path, text in kept:
            groups["/".join(path.split("/")[:4])].append((path, text))
        fill = [0] * args.chunks
        for _, group in sorted(groups.items(), key=lambda g: -sum(len(t) for _, t in g[1])):
            i = fill.index(min(fill))
            chunks[i].extend(group)
            fill[i] += sum(len(t) for _, t in group)
    for i, chunk in enumerate(chunks):
        name = f"chunk{args.first + i}"
        chunk.sort(key=lambda x: (x[0].split("/")[0], x[0].split("/")[1], x[0].rsplit(".", 1)[-1], x[0].rsplit("/", 1)[-1]))
        with open(out / f"{name}.bin", "wb") as o:
            for path, text in chunk:
                write_record(o, path, text)
        parts = collections.Counter()
        for path, text in chunk:
            parts[path.split("/")[0]] += len(text)
        print(name, len(chunk), "files", round(sum(parts.values()) / 1e6, 1), "MB", {k: round(v / 1e6, 1) for k, v in parts.most_common()})
    if not args.beyond:
        with open(out / "heldout.bin", "wb") as o:
            for path, text in held_out:
                write_record(o, path, text)
        counts = collections.Counter(p.split("/")[0] for p, _ in held_out)
        print("held out", dict(counts), round(sum(len(t) for _, t in held_out) / 1e6, 1), "MB,", len(held), "projects")
    with open(out / "manifest.tsv", "w") as o:
        o.write("source\tpackage\tversion\tlicence\tlanguages\tbytes\tsplit\n")
        for stem in sorted(by_package):
            kind, package, version, licence = log.get(stem, ("", stem, "", ""))
            langs = {k: v for k, v in by_package[stem].items() if v > 0}
            if langs:
                split = "held-out" if project_name(package) in held else "train"
                o.write("\t".join([{"deb": "debian", "src": "debian-source"}.get(kind, kind), package, version,
                                   licence.replace("\t", " ").replace("\n", " "), ",".join(sorted(langs, key=lambda k: -langs[k])),
                                   str(sum(langs.values())), split]) + "\n")


# --- installed Python packages ------------------------------------------------------------------

SITE_PACKAGES = """torch torchvision torchaudio jax jaxlib flax optax chex orbax equinox diffrax optimistix lineax
jaxtyping numpy scipy sympy pandas sklearn skimage statsmodels matplotlib seaborn networkx transformers accelerate peft
tokenizers safetensors huggingface_hub sentence_transformers torch_geometric torchmetrics torchdiffeq lightning
lightning_fabric pytorch_lightning botorch gpytorch linear_operator numpyro numba llvmlite cupy onnx onnxscript
onnx_ir h5py tensorboard xarray einops e3nn aiohttp anyio attr rich pygments pytest _pytest hypothesis coverage
fontTools jinja2 werkzeug requests httpx httpcore urllib3 yaml click typer pip setuptools wheel packaging
more_itertools toolz joblib triton mpmath imageio timm tensorstore treescope nanobind portalocker sacrebleu formulaic
patsy narwhals multipledispatch networkx fsspec filelock""".split()


def site_packages(args):
    base = pathlib.Path(sysconfig.get_paths()["purelib"])
    near = NearDuplicates()
    reasons, size, rows = collections.Counter(), 0, []
    for known in args.seen:
        with open(known, "rb") as s:
            for path, text in read_records(s):
                if path.startswith("python/"):
                    near.seen(text)
    held = set(args.held.split(",")) if args.held else set()
    licences = {}
    for meta in base.glob("*.dist-info/METADATA"):
        text = meta.read_text(errors="replace")
        found = re.findall(r"^License-Expression: (.*)|^License: (.*)|^Classifier: License :: OSI Approved :: (.*)", text, re.M)
        names = [x for f in found for x in f if x]
        top = meta.parent / "top_level.txt"
        mods = top.read_text().split() if top.exists() else [meta.parent.name.split("-")[0].lower().replace("-", "_")]
        for m in mods:
            licences[m] = (names, meta.parent.name)
    with open(args.out, "wb") as out:
        for name in dict.fromkeys(SITE_PACKAGES):
            folder = base / name
            names, dist = licences.get(name, ([], ""))
            ok = bool(names) and any(permissive(n) for n in names) and not any(COPYLEFT.search(n) for n in names)
            if not folder.is_dir() or not ok or project_name(name) in held:
                if folder.is_dir():
                    reasons["package: " + name] += 1
                continue
            total = 0
            for path in sorted(folder.rglob("*.py")):
                inner = str(path.relative_to(base))
                if total > 25e6:
                    break
                if not path_wanted(inner):
                    continue
                text, reason = clean(inner, path.read_bytes())
                reason = reason or near.seen(text)
                if reason:
                    reasons[reason] += 1
                    continue
                write_record(out, f"python/{project_name(name)}/{inner}", text)
                total += len(text)
            size += total
            rows.append(f"installed\t{name}\t{dist.removesuffix('.dist-info')}\t{' | '.join(names)[:80]}\tpython\t{total}\ttrain")
    print(round(size / 1e6, 1), "MB from installed packages", dict(reasons))
    if args.manifest:
        pathlib.Path(args.manifest).write_text("\n".join(rows) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = parser.add_subparsers(required=True)
    p = sub.add_parser("collect")
    p.add_argument("archives")
    p.add_argument("out")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--bundled", action="store_true", help="also the projects that some packages carry, under names of their own")
    p.set_defaults(run=collect)
    p = sub.add_parser("assemble")
    p.add_argument("input")
    p.add_argument("out")
    p.add_argument("--chunks", type=int, default=3)
    p.add_argument("--project-mb", type=float, default=16)
    p.add_argument("--project-share", default="1", help="at most this share of a language from one project, with what --beyond has of it; also as 0.08,c=0.1")
    p.add_argument("--language-mb", default="170", help="at most so much of a language; also as 0,c=100,go=60")
    p.add_argument("--beyond", nargs="*", default=[], help="containers of earlier assemblies, the held-out one included: only what they lack is "
                   "taken, and nothing of a held-out project (needs --held-from)")
    p.add_argument("--first", type=int, default=1, help="number of the first chunk")
    p.add_argument("--held-bytes", type=float, default=1.2e6)
    p.add_argument("--held-from", help="manifest.tsv whose held-out projects are held out again")
    p.set_defaults(run=assemble)
    p = sub.add_parser("merge")
    p.add_argument("manifests", nargs="+")
    p.add_argument("--out", required=True)
    p.add_argument("--largest", action="store_true", help="the most that one of them took of a package, in place of the sum")
    p.set_defaults(run=merge)
    p = sub.add_parser("site-packages")
    p.add_argument("out")
    p.add_argument("--seen", nargs="*", default=[], help="containers whose files are not to be repeated")
    p.add_argument("--held", default="", help="held-out projects, by comma")
    p.add_argument("--manifest")
    p.set_defaults(run=site_packages)
    args = parser.parse_args()
    if getattr(args, "beyond", []) and not args.held_from:
        parser.error("--beyond needs --held-from: what is held out must be what was held out before")
    args.run(args)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Third-party notices and an SBOM of the binary: `cargo metadata … | notices.py FOLDER`. See scripts/notices.sh.

cargo-about and cargo-cyclonedx do the same for packages of Cargo alone; here the native parts, the word lists and the
models of scripts/notices.toml and models/manifest.toml are in the same two files, and nothing has to be installed.
"""

import datetime
import json
import os
import sys
import tomllib
import uuid
from pathlib import Path

# Files of a package that say under which licence it is.
LICENCE_FILES = ("licen", "copying", "notice", "unlicense", "copyright")
# A time of the commit, so that the same commit gives the same files.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def built(metadata):
    """The packages that go into the binary: what `membox` needs, without tests and build scripts."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    wanted = [id for id, package in packages.items() if package["name"] == "membox" and package["source"] is None]
    seen = set()
    while wanted:
        id = wanted.pop()
        if id in seen:
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                wanted.append(dependency["pkg"])
    found = sorted((packages[id] for id in seen), key=lambda package: (package["name"], package["version"]))
    edges = {id: sorted(d["pkg"] for d in nodes[id]["deps"] if d["pkg"] in seen) for id in seen}
    return found, edges


def licence_texts(folder):
    is_licence = lambda path: path.is_file() and path.name.lower().startswith(LICENCE_FILES)
    files = filter(is_licence, sorted(folder.iterdir()))
    return [(path.name, path.read_text(encoding="utf-8", errors="replace").strip()) for path in files]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums(lock):
    """SHA-256 of the packages, as Cargo.lock has them."""
    packages = tomllib.loads(lock.read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def of_cargo(package, sums):
    component = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "licenses": [{"expression": (package["license"] or "NOASSERTION").replace("/", " OR ")}],
    }
    if package["description"]:
        component["description"] = " ".join(package["description"].split())
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if sums.get((package["name"], package["version"])):
        component["hashes"] = [{"alg": "SHA-256", "content": sums[(package["name"], package["version"])]}]
    return component


def of_others(part):
    return {
        "type": part["kind"],
        "bom-ref": part["name"],
        "name": part["name"],
        "version": part["version"],
        "licenses": [{"expression": part["licence"]}],
        "externalReferences": [{"type": "website", "url": part["source"]}],
    }


def of_model(model):
    files = [
        {
            "type": "file",
            "bom-ref": f"{model['name']}/{file['name']}",
            "name": file["name"],
            **({"hashes": [{"alg": "SHA-256", "content": file["sha256"]}]} if "sha256" in file else {}),
        }
        for file in model["file"]
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model/{model['name']}",
        "name": model["name"],
        "description": model["description"],
        # It is pulled by whoever runs the box.
        "scope": "optional",
        "licenses": [{"expression": model["licence"]}],
        "externalReferences": [{"type": "website", "url": model["source"]}],
        "components": files,
    }


def sbom(own, packages, edges, others, models, sums):
    by_id = {package["id"]: package for package in packages}
    dependencies = [
        {"ref": reference(by_id[id]), "dependsOn": [reference(by_id[other]) for other in edges[id]]}
        for id in sorted(edges)
    ]
    components = [of_cargo(package, sums) for package in packages if package is not own]
    components += [of_others(part) for part in others] + [of_model(model) for model in models]
    identity = json.dumps([components, dependencies], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(EPOCH, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**of_cargo(own, {}), "type": "application"},
        },
        "components": components,
        "dependencies": dependencies,
    }


def notices(packages, others, models):
    folders = {package["name"]: Path(package["manifest_path"]).parent for package in packages}
    lines = ["membox contains, or is used with, the following. Each is under its own licence.", ""]
    texts = {}
    for package in packages:
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {package['license'] or 'see its licence file'}")
        if package["authors"]:
            lines.append(f"    by {', '.join(package['authors'])}")
        if package["repository"]:
            lines.append(f"    {package['repository']}")
        for _, text in licence_texts(Path(package["manifest_path"]).parent):
            texts.setdefault(text, []).append(name)
    lines += ["", "Not packages of Cargo:", ""]
    for part in others:
        lines += [f"{part['name']} {part['version']}: {part['licence']}", f"    {part['source']}"]
        if "text" in part:
            lines.append(f"    {part['text']}")
        if "licence_file" in part:
            text = (folders[part["within"]] / part["licence_file"]).read_text(encoding="utf-8").strip()
            texts.setdefault(text, []).append(part["name"])
    lines += ["", "Models, which `membox models pull` brings and the binary does not hold:", ""]
    for model in models:
        lines += [f"{model['name']}: {model['licence']}", f"    {model['source']}"]
    for text, names in sorted(texts.items(), key=lambda item: item[1]):
        lines += ["", "=" * 80, f"Of {', '.join(sorted(set(names)))}:", "", text]
    return "\n".join(lines) + "\n"


def main():
    target, root = Path(sys.argv[1]), Path(__file__).resolve().parent.parent
    packages, edges = built(json.load(sys.stdin))
    own = next(package for package in packages if package["name"] == "membox")
    others = tomllib.loads((root / "scripts/notices.toml").read_text())["component"]
    models = tomllib.loads((root / "models/manifest.toml").read_text())["model"]
    names = {package["name"] for package in packages}
    gone = [part["name"] for part in others if part.get("within", own["name"]) not in names]
    if gone:
        sys.exit(f"scripts/notices.toml names what the binary does not hold any more: {', '.join(gone)}")
    unlicensed = [package["name"] for package in packages if not package["license"] and not package["license_file"]]
    if unlicensed:
        sys.exit(f"packages without a licence: {', '.join(unlicensed)}")
    document = sbom(own, packages, edges, others, models, checksums(root / "Cargo.lock"))
    (target / "membox.cdx.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (target / "THIRD-PARTY-NOTICES.txt").write_text(notices(packages, others, models))
    print(f"{len(document['components'])} components: {target}/THIRD-PARTY-NOTICES.txt, {target}/membox.cdx.json")


main()

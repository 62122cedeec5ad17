#!/usr/bin/env python3
"""Which files of a crate use which, and where that goes round in circles.

    scripts/module-graph.py [--check] FOLDER...      FOLDER is a crate's src, as crates/memory/src; --check fails where an
                                                     arrow points upward

An arrow goes from a file to a file of the same crate that it names in a `use` or a path (crate::…, super::…, self::…).
Files that reach each other are a circle. Upward arrows are those that are left over when the files are put in the order
in which fewest point back (the greedy order of Eades, Lin and Smyth, 1993). Tests within files are left out, and what a
`mod.rs` or `lib.rs` only hands on by `pub use` is no arrow of it. Standard library only.
"""
import pathlib
import re
import sys


def without_tests(text):
    return re.split(r"^#\[cfg\(test\)\]\s*\nmod \w+ \{", text, flags=re.M)[0]


def module_of(path, root):
    parts = list(path.relative_to(root).with_suffix("").parts)
    return tuple(p for p in parts if p not in ("mod", "lib", "main"))


def expand(tree):
    """`a::{b, c::{d, e}}` as its single paths."""
    tree = tree.strip()
    if "{" not in tree:
        return [tree.split(" as ")[0].strip()]
    head, rest = tree.split("{", 1)
    inner, depth, part, parts = rest.rsplit("}", 1)[0], 0, "", []
    for c in inner:
        depth += (c == "{") - (c == "}")
        if c == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += c
    return [head + path for part in parts + [part] if part.strip() for path in expand(part)]


def graph(root):
    files = {module_of(p, root): p for p in sorted(root.rglob("*.rs")) if p.stem not in ("tests", "sample", "panics")
             and "tests" not in p.relative_to(root).parts}
    texts = {module: without_tests(path.read_text()) for module, path in files.items()}
    exports = {}
    for module, text in texts.items():
        for tree in re.findall(r"^pub(?:\([^)]*\))? use ([^;]+);", text, flags=re.M):
            for path in expand(tree):
                names = [n.strip() for n in path.split("::")]
                if names[0] not in ("crate", "super", "self") and module + (names[0],) in files:
                    exports[module + (names[-1],)] = module + tuple(names[:-1])

    def resolve(module, path):
        names = [n.strip() for n in path.split("::") if n.strip()]
        at = module
        if names[0] == "crate":
            at, names = (), names[1:]
        elif names[0] in ("super", "self"):
            while names and names[0] in ("super", "self"):
                if names[0] == "super":
                    at = at[:-1]
                names = names[1:]
        elif module + (names[0],) not in files:
            return None
        for name in names:
            at = exports.get(at + (name,), at + (name,))
        while at not in files and at:
            at = at[:-1]
        return at if at in files else None

    arrows = set()
    for module, text in texts.items():
        code = re.sub(r"//[^\n]*", "", text)
        paths = [p for tree in re.findall(r"^(?!pub)(?:\s*)use ([^;]+);", code, flags=re.M) for p in expand(tree)]
        paths += re.findall(r"\b((?:crate|super|self)::[\w:]+)", re.sub(r"^\s*(?:pub(?:\([^)]*\))? )?use [^;]+;", "", code, flags=re.M))
        for path in paths:
            target = resolve(module, path)
            if target is not None and target != module:
                arrows.add((module, target))
    return files, arrows


def circles(nodes, arrows):
    index, low, on, stack, found, count = {}, {}, set(), [], [], [0]
    out = {n: [b for a, b in arrows if a == n] for n in nodes}

    def visit(n):
        index[n] = low[n] = count[0]
        count[0] += 1
        stack.append(n)
        on.add(n)
        for m in out[n]:
            if m not in index:
                visit(m)
                low[n] = min(low[n], low[m])
            elif m in on:
                low[n] = min(low[n], index[m])
        if low[n] == index[n]:
            part = []
            while True:
                m = stack.pop()
                on.discard(m)
                part.append(m)
                if m == n:
                    break
            found.append(part)

    for n in nodes:
        if n not in index:
            visit(n)
    return [part for part in found if len(part) > 1]


def upward(nodes, arrows):
    left, first, last, rest = set(nodes), [], [], set(arrows)
    while left:
        out = {n: sum(a == n for a, _ in rest) for n in left}
        into = {n: sum(b == n for _, b in rest) for n in left}
        sinks, sources = [n for n in left if not out[n]], [n for n in left if not into[n]]
        n = min(sinks) if sinks else min(sources) if sources else max(sorted(left), key=lambda n: out[n] - into[n])
        (last.insert(0, n) if sinks else first.append(n))
        left.discard(n)
        rest = {(a, b) for a, b in rest if n not in (a, b)}
    place = {n: i for i, n in enumerate(first + last)}
    return [(a, b) for a, b in arrows if place[a] > place[b]]


def name(module):
    return "/".join(module) or "lib"


is_check = "--check" in sys.argv
total = 0
for folder in [argument for argument in sys.argv[1:] if argument != "--check"]:
    files, arrows = graph(pathlib.Path(folder))
    back = upward(list(files), arrows)
    total += len(back)
    print(f"{folder}: {len(files)} files, {len(arrows)} arrows, {len(back)} upward")
    for part in sorted(circles(list(files), arrows), key=len, reverse=True):
        print(f"  a circle of {len(part)}: {' '.join(sorted(map(name, part)))}")
    for a, b in sorted(back):
        print(f"  upward: {name(a)} -> {name(b)}")
if is_check and total:
    sys.exit("data goes one way: let what both need stand in a file of its own below both")

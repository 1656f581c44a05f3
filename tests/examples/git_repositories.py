"""Git repositories to try the example on: made by hand, or at random with branches and merges."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ODD_NAMES = [
    "plain.txt",
    "a folder/with spaces.txt",
    "ünïcödé/日本語.txt",
    "combining/e\u0301.txt",
    'quote"d/back\\slash.txt',
    "new\nline/tab\there.txt",
    "-rf",
    ":(glob)magic*?.txt",
    "c1/\u0085.txt",
    "line/\u2028separator.txt",
    " leading and trailing ",
    "deep/" + "d" * 200 + "/" + "e" * 200 + "/f.txt",
]
BYTE_NAMES = [b"bytes/\xff.txt", b"bytes/\xfe.txt", b"bytes/\\377.txt"]


def environment() -> dict[str, str]:
    """Returns an environment in which nobody's own configuration counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_DATE": "2024-02-29T12:00:00+0100",
        "GIT_COMMITTER_DATE": "2024-02-29T12:00:00+0100",
    }


@dataclass(slots=True)
class Repository:
    """A repository of a test."""

    path: Path

    @staticmethod
    def at(path: Path, *, bare: bool = False) -> Repository:
        """Makes an empty one."""
        path.mkdir(parents=True, exist_ok=True)
        repository = Repository(path)
        repository.git("init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []))
        return repository

    def git(self, *arguments: str, given: bytes = b"", config: tuple[str, ...] = ()) -> bytes:
        """Runs git in it."""
        settings = ("user.name=Ada", "user.email=ada@example.org", "commit.gpgSign=false", *config)
        command = ["git", *(part for setting in settings for part in ("-c", setting)), *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=environment(), input=given, capture_output=True, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr.decode(errors="replace"))
        return done.stdout

    def write(self, name: str | bytes, content: bytes | str) -> None:
        """Writes a file of the working tree."""
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def commit(self, message: str = "", *, config: tuple[str, ...] = ()) -> str:
        """Commits the whole working tree, even if nothing changed. Returns the commit's id."""
        self.git("add", "--all", config=config)
        self.git(
            "commit",
            "--quiet",
            "--allow-empty",
            "--allow-empty-message",
            f"--message={message}",
            config=config,
        )
        return self.head()

    def head(self) -> str:
        """Returns the commit that HEAD is."""
        return self.git("rev-parse", "HEAD").decode().strip()

    def tree(self, commit: str = "HEAD") -> dict[bytes, tuple[str, str]]:
        """Returns mode and blob by path, from `git ls-tree`."""
        tree: dict[bytes, tuple[str, str]] = {}
        for line in self.git("ls-tree", "-r", "-z", commit).split(b"\0")[:-1]:
            about, _, path = line.partition(b"\t")
            mode, _, blob = about.decode().split()
            tree[path] = (mode, blob)
        return tree

    def line_counts(self) -> dict[bytes, int | None]:
        """Returns the lines of each file at HEAD as git counts them; None for a binary one."""
        empty = self.git("hash-object", "-t", "tree", "--stdin", "-w").decode().strip()
        counts: dict[bytes, int | None] = {}
        listed = self.git("diff-tree", "-r", "-z", "--numstat", "--no-renames", empty, "HEAD")
        for line in listed.split(b"\0")[:-1]:
            added, _, path = line.split(b"\t", 2)
            counts[path] = None if added == b"-" else int(added)
        return counts


# --- random histories, by `git fast-import` -----------------------------------------------------

Tree = dict[str, str]
"""Content by path."""


@dataclass(slots=True)
class RandomHistory:
    """Commits at random on several branches, which merge now and then in any way people do."""

    rng: random.Random
    branches: int = 3
    files: int = 12
    lines: int = 12
    trees: list[Tree] = field(default_factory=list[Tree])
    """By commit."""
    tips: list[int] = field(default_factory=list[int])
    time: int = 1_600_000_000

    def grow(self, commits: int) -> Iterator[bytes]:
        """Yields a fast-import stream of so many more commits; the last one is `main`."""
        for index in range(commits):
            number = len(self.trees)
            last = index == commits - 1
            if not self.tips:
                parents: list[int] = []
            elif last or (len(self.tips) > 1 and self.rng.random() < 0.3):
                count = len(self.tips) if last else self.rng.randint(2, min(3, len(self.tips)))
                parents = self.rng.sample(self.tips, count)
            else:
                parents = [self.rng.choice(self.tips)]
            tree, own = self._tree(parents)
            yield from self._commit(number, parents, tree, own)
            self.trees.append(tree)
            if last:
                self.tips = [number]
                continue
            fork = len(self.tips) < self.branches and self.rng.random() < 0.3
            kept = [tip for tip in self.tips if tip not in parents or (fork and tip == parents[0])]
            self.tips = [*kept, number]
        yield f"reset refs/heads/main\nfrom :{len(self.trees)}\n\n".encode()

    def _tree(self, parents: list[int]) -> tuple[Tree, Tree]:
        """Returns the commit's tree, and that of its first parent."""
        if not parents:
            return {self._name(): self._text() for _ in range(4)}, {}
        own = self.trees[parents[0]]
        tree = dict(own)
        for parent in parents[1:]:
            other = self.trees[parent]
            for path in sorted(tree.keys() | other):
                if tree.get(path) != other.get(path):  # ours, theirs, or something else again
                    kept = self.rng.choice([tree.get(path), other.get(path), "neither\n"])
                    tree.pop(path, None)
                    if kept is not None:
                        tree[path] = kept
        for _ in range(self.rng.choice([0, 1, 1, 2, 3]) if len(parents) == 1 else 0):
            self._edit(tree)
        return tree, own

    def _edit(self, tree: Tree) -> None:
        paths = sorted(tree)
        kind = self.rng.choice(["add", "change", "change", "change", "remove", "rename", "copy"])
        if kind == "add" or not paths:
            tree[self._name()] = self._text()
            return
        path = self.rng.choice(paths)
        if kind == "remove":
            del tree[path]
        elif kind == "rename":
            tree[self._name()] = tree.pop(path)
        elif kind == "copy":
            tree[self._name()] = tree[path]
        else:
            lines = tree[path].splitlines(keepends=True) or [""]
            lines[self.rng.randrange(len(lines))] = f"line {self.rng.random()}\n"
            tree[path] = "".join(lines)

    def _commit(self, number: int, parents: list[int], tree: Tree, own: Tree) -> Iterator[bytes]:
        self.time += self.rng.choice([-300, 0, 1, 60, 3600, 90_000])  # clocks are not in step
        who = self.rng.choice(["Ada <ada@x>", "Bob <bob@x>", "Eve <EVE@x>", "<>"])
        yield f"commit refs/heads/work\nmark :{number + 1}\n".encode()
        yield f"committer {who} {self.time} +0000\n".encode()
        yield b"data 4\ntest\n"
        for index, parent in enumerate(parents):
            yield f"{'merge' if index else 'from'} :{parent + 1}\n".encode()
        if not parents:
            yield b"deleteall\n"
        for path in sorted(own.keys() - tree):
            yield f"D {_quoted(path)}\n".encode()
        for path in sorted(tree):
            if own.get(path) != tree[path]:
                content = tree[path].encode()
                yield f"M 100644 inline {_quoted(path)}\ndata {len(content)}\n".encode()
                yield content + b"\n"
        yield b"\n"

    def _name(self) -> str:
        number = self.rng.randrange(self.files)
        folder = self.rng.choice(["", "src/", "src/core/", "tests/"])
        return f"{folder}file {number}.txt"

    def _text(self) -> str:
        return "".join(
            f"line {self.rng.random()}\n" for _ in range(self.rng.randint(0, self.lines))
        )


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

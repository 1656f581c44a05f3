#!/usr/bin/env python3
"""Everything a developer runs, in one file that needs nothing but Python 3.11+.

    python3 dev.py test

Each command first sets up what it needs: a virtual environment in .venv/, filled from a lock file
in which every download is pinned by its hash. That happens once, and again when the lock or
pyproject.toml changes; otherwise a command starts at once and offline.

The file is read from the top: commands, then the environment they run in, then small helpers.
It must stay parsable by Python 3.6, so that an old Python says what is wrong and not SyntaxError.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

OLDEST = (3, 11)
if sys.version_info < OLDEST:  # the file is also started by the Pythons it refuses
    found = [f"python3.{minor}" for minor in range(20, 10, -1) if shutil.which(f"python3.{minor}")]
    sys.exit(
        "dev.py needs Python {}.{} or newer; this is Python {} ({}).\n{}".format(
            *OLDEST,
            platform.python_version(),
            sys.executable,
            "Run it as: {} dev.py".format(found[0] if found else "python3.11"),
        )
    )

ROOT = Path(__file__).resolve().parent
VENVS = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
PYTHON_FOLDERS = ("src", "tests", "examples", "benchmarks", "docs")

# Each begins with tests that stand together, so that they share what they set up. No more than two:
# many tests start processes of their own, and beside a third what they waited for came too late.
IN_PROCESSES = ("-n", "2", "--dist", "worksteal")

Command = list[str | Path]


# ------------------------------------------------------------------------------------ commands


def demo(args: Sequence[str]) -> int:
    """Run the main job on a real git repository; arguments go to examples/git_history."""
    program = ROOT / "examples" / "git_history"
    if not (program / "__main__.py").exists():
        return refuse("There is no demo yet: examples/git_history/__main__.py is missing.")
    with environment("demo") as env:
        return run([env.python, program, *args], env, cwd=Path.cwd())


def test(args: Sequence[str]) -> int:
    """Run all tests, on two processes; with arguments, run pytest with just these."""
    with environment("dev") as env:
        return run([*pytest(env), *(args or IN_PROCESSES)], env)


def check(args: Sequence[str]) -> int:
    """Check style, types and imports; `check --fix` first repairs what it can."""
    if list(args) not in ([], ["--fix"]):
        return refuse("usage: python3 dev.py check [--fix]")
    with environment("dev") as env:
        if args:
            run([env.python, "-m", "ruff", "check", "--fix-only", "--quiet", "."], env)
            run([env.python, "-m", "ruff", "format", "--quiet", "."], env)
        typed = [name for name in PYTHON_FOLDERS if any((ROOT / name).rglob("*.py"))] + ["dev.py"]
        return run_side_by_side(
            {
                "ruff check": [env.python, "-m", "ruff", "check", "."],
                "ruff format": [env.python, "-m", "ruff", "format", "--check", "."],
                "imports": [env.folder / "bin" / "lint-imports", "--no-cache"],
                "mypy": [env.python, "-m", "mypy", *typed],
                "pyright": [env.python, "-m", "pyright", "--pythonpath", env.python, *typed],
            },
            env,
        )


def docs(args: Sequence[str]) -> int:
    """Build the documentation's site to build/site, offline; a warning is an error."""
    if args:
        return refuse("usage: python3 dev.py docs")
    with environment("dev") as env:
        # Nothing of an older build is taken over: neither pages that are gone nor what was read.
        site, read = ROOT / "build" / "site", env.caches / "docs"
        for folder in (site, read):
            shutil.rmtree(folder, ignore_errors=True)
        code = run([*sphinx(env), "-d", read, ROOT / "docs", site], env)
    if not code:
        say(f"open {relative(site / 'index.html')}")
    return code


def bench(args: Sequence[str]) -> int:
    """Run the benchmarks, in an environment with the stores to compare; see `bench --help`."""
    if not (ROOT / "benchmarks" / "__main__.py").exists():
        return refuse("There are no benchmarks yet: benchmarks/__main__.py is missing.")
    with environment("bench") as env:
        return run([env.python, "-m", "benchmarks", *args], env)


def soak(args: Sequence[str]) -> int:
    """Run the tests that take minutes on purpose (marked `soak`); arguments go to pytest."""
    patient = ["-m", "soak", "--timeout=0", "-o", "faulthandler_timeout=0"]
    with environment("dev") as env:
        code = run([*pytest(env), *patient, *args], env)
    nothing_collected = 5
    return refuse("No soak test was found.") if code == nothing_collected else code


def lock(args: Sequence[str]) -> int:
    """Remake requirements/*.txt from pyproject.toml; `lock --upgrade` takes the newest of all."""
    with environment("dev") as env:
        dev = REQUIREMENTS / "dev.txt"
        # Demo and benchmarks run on the very versions that the tests saw: dev.txt constrains them.
        as_tested = ["--constraint", relative(dev)]
        of_demo = [f"--extra={extra}" for extra in ("msgspec", "client", "server")]
        for target, options in (
            (dev, ["--group", "dev", "--all-extras", *args]),
            # The demo runs on the embedded default: no driver, no database server.
            (REQUIREMENTS / "demo.txt", ["--group", "demo", *of_demo, *as_tested]),
            (REQUIREMENTS / "bench.txt", ["--group", "bench", "--all-extras", *as_tested, *args]),
        ):
            # No address of an index is written: a lock serves whoever reads it, wherever they are.
            uv = env.folder / "bin" / "uv"
            command: Command = [uv, "pip", "compile", "pyproject.toml", "--quiet"]
            command += ["--universal", "--python-version", "3.11"]
            command += ["--generate-hashes", "--no-header", "--no-annotate"]
            command += ["--no-emit-index-url", "--no-emit-find-links", "--system-certs"]
            code = run([*command, *options, "--output-file", relative(target)], env)
            if code:
                return code
            if "://" in target.read_text(encoding="utf-8"):
                return refuse(f"{relative(target)} holds an address: keep it out, and look why.")
            say(f"wrote {relative(target)}")
    return 0


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "check": check,
    "docs": docs,
    "bench": bench,
    "soak": soak,
    "lock": lock,
}


def main(argv: Sequence[str]) -> int:
    """Run the command named first; all after it belongs to the command."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        return refuse(f"dev.py has no command {argv[0]!r}.\n\n{usage()}")
    return COMMANDS[argv[0]](argv[1:])


def usage() -> str:
    """The help text, drawn from the commands' own docstrings."""
    lines = [f"  {name:<6} {command.__doc__}" for name, command in COMMANDS.items()]
    examples = [
        ("python3 dev.py demo ../some-repository", "the demo on another repository"),
        ("python3 dev.py test -x -k append tests/core", "some tests, stop at the first failure"),
        ("python3 dev.py test --help", "the options of pytest"),
    ]
    return "\n".join(
        [
            "usage: python3 dev.py COMMAND [ARGUMENT ...]",
            "",
            *lines,
            "",
            "Each sets up what it needs in .venv/ on its first run; after that it works offline.",
            "To begin anew, delete .venv.",
            "",
            *(f"  {call:<46} {meaning}" for call, meaning in examples),
        ]
    )


# --------------------------------------------------------------------------------- environment


class Environment(NamedTuple):
    """A virtual environment that is complete and stays so while it is held."""

    folder: Path
    lock_file: Path
    caches: Path
    descriptor: int  # of the lock; inherited by what we start, so that it outlives a killed dev.py

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """Written last: without it the environment is half-made."""
        return self.folder / "everlog-stamp.json"


@contextlib.contextmanager
def environment(name: str) -> Generator[Environment]:
    """Hold the environment `name`, made or mended first where it is not what it should be.

    One is kept per Python, so two Pythons can take turns. Any number of runs share it; who has to
    change it waits until they are done.
    """
    folder = VENVS / f"{name}-{platform.python_version()}"
    with contextlib.ExitStack() as stack:
        descriptor = stack.enter_context(open_for_locking(folder.with_name(f"{folder.name}.lock")))
        env = Environment(folder, REQUIREMENTS / f"{name}.txt", folder / "cache", descriptor)
        while True:
            take(descriptor, fcntl.LOCK_SH)
            if found_stamp(env) == wanted_stamp(env):
                break
            take(descriptor, fcntl.LOCK_EX)
            mend(env)
        if not os.access(folder, os.W_OK):  # root or another user made it: cache elsewhere
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="everlog-cache-"))
            env = env._replace(caches=Path(temporary))
        yield env


def mend(env: Environment) -> None:
    """Make the environment what its stamp should say. Call it alone."""
    found, wanted = found_stamp(env), wanted_stamp(env)
    if found == wanted:  # another run mended it while this one waited
        return
    require_venv()
    started = time.monotonic()
    pip: Command = [env.python, "-I", "-m", "pip", "--quiet", "--no-input"]
    try:
        env.stamp.unlink(missing_ok=True)
        if {**found, "project": ""} != {**wanted, "project": ""}:
            say(f"setting up {relative(env.folder)} (once; about half a minute) ...")
            if env.folder.exists():
                shutil.rmtree(env.folder)
            quietly([sys.executable, "-I", "-m", "venv", env.folder], env)
            # Wheels only: building one would run code that no hash covers.
            wheels: Command = ["--only-binary=:all:", "--require-hashes", "-r", env.lock_file]
            quietly([*pip, "install", *wheels], env)
        # Offline, with the build tools of the lock. (pip refuses an editable beside hashes.)
        offline = ["--no-index", "--no-deps", "--no-build-isolation"]
        quietly([*pip, "install", *offline, "--editable", ROOT], env)
        scratch = env.stamp.with_suffix(".tmp")
        scratch.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        scratch.replace(env.stamp)
    except OSError as error:
        not_writable(env.folder, error)
    say(f"{relative(env.folder)} is ready ({time.monotonic() - started:.0f} s)")


def wanted_stamp(env: Environment) -> dict[str, str]:
    """All that an environment depends on: its paths too, so a copied checkout makes its own."""
    return {
        "root": str(ROOT),
        "python": f"{sys.version} {sys.base_prefix} {sysconfig.get_platform()}",
        "lock": digest(env.lock_file),
        "project": digest(ROOT / "pyproject.toml"),
    }


def found_stamp(env: Environment) -> dict[str, str]:
    """What the environment on disk was made for; empty if it is missing, half-made or broken."""
    try:
        stamp: dict[str, str] = json.loads(env.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    # bin/python is a link, and dangles once the Python it was made with is uninstalled.
    return stamp if env.python.exists() else {}


@contextlib.contextmanager
def open_for_locking(path: Path) -> Generator[int]:
    """A descriptor to take locks on; the file may belong to whoever set up this checkout."""
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        not_writable(path.parent, error)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def take(descriptor: int, kind: int) -> None:
    """Take the lock, alone (LOCK_EX) or with others (LOCK_SH), and say so if that has to wait."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another dev.py that uses or sets up this environment ...")
        fcntl.flock(descriptor, kind)


def require_venv() -> None:
    """Debian ships Python in parts; say which part is missing before venv fails halfway."""
    specs = [importlib.util.find_spec(module) for module in ("venv", "ensurepip")]
    if not all(spec and spec.origin for spec in specs):
        sys.exit(
            f"dev.py: this Python ({sys.executable}) cannot make virtual environments.\n"
            "On Debian or Ubuntu: apt-get install python3-venv"
            f" (or python{sys.version_info.major}.{sys.version_info.minor}-venv)"
        )


def clean_environ(env: Environment) -> dict[str, str]:
    """The environment variables without those that would bend a tool away from this checkout."""
    kept = {name: value for name, value in os.environ.items() if not is_bending(name)}
    return {
        **kept,
        "VIRTUAL_ENV": str(env.folder),
        "PATH": os.pathsep.join([str(env.folder / "bin"), os.environ.get("PATH", os.defpath)]),
        "PIP_USER": "0",  # a pip.conf may ask for --user, which a virtual environment refuses
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # A cache in the checkout or the home folder may belong to another user, or be missing.
        "HYPOTHESIS_STORAGE_DIRECTORY": str(env.caches / "hypothesis"),
        "MYPY_CACHE_DIR": str(env.caches / "mypy"),
        "PYRIGHT_PYTHON_CACHE_DIR": str(env.caches / "pyright"),
        "RUFF_CACHE_DIR": str(env.caches / "ruff"),
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }


# Where packages come from and how to get there is the machine's business; all else is ours.
PIP_KEPT = frozenset(
    f"PIP_{name}"
    for name in (
        "CACHE_DIR CERT CLIENT_CERT CONFIG_FILE DEFAULT_TIMEOUT EXTRA_INDEX_URL FIND_LINKS"
        " INDEX_URL KEYRING_PROVIDER NO_CACHE_DIR NO_INDEX PROXY RETRIES TIMEOUT TRUSTED_HOST"
    ).split()
)
# Not DONTWRITEBYTECODE: each of the thousands of processes that tests start would compile it all.
PYTHON_KEPT = frozenset(
    f"PYTHON{name}" for name in "DEVMODE FAULTHANDLER HASHSEED IOENCODING UNBUFFERED UTF8".split()
)
BENDING = frozenset(
    "__PYVENV_LAUNCHER__ MYPYPATH NODE_OPTIONS NODE_PATH PYTEST_PLUGINS"
    " PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    # Set inside a git hook: they would point every git at the outer repository.
    " GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_OBJECT_DIRECTORY".split()
)


def is_bending(name: str) -> bool:
    """Whether a variable of this name could make a tool run other code, or elsewhere."""
    if name.startswith("PIP_"):
        return name not in PIP_KEPT
    if name.startswith("PYTHON"):
        return name not in PYTHON_KEPT
    return name in BENDING or name.startswith(("COVERAGE_", "CONDA_", "PYRIGHT_", "RUFF_"))


# ------------------------------------------------------------------------------------- helpers


def run(command: Command, env: Environment, *, cwd: Path = ROOT) -> int:
    """Run a command in the foreground and return its exit code; signals reach it, not us."""
    child = subprocess.Popen(command, cwd=cwd, env=clean_environ(env), pass_fds=[env.descriptor])

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    def leave(_number: int, _frame: FrameType | None) -> None:
        """Ctrl-C reaches the child as well, being in the foreground; it decides what to do."""

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, leave)
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def run_side_by_side(commands: Mapping[str, Command], env: Environment) -> int:
    """Run commands at the same time, print each one's outcome in turn; 1 if any failed."""
    started = time.monotonic()
    children = {
        name: subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environ(env),
            pass_fds=[env.descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        for name, command in commands.items()
    }
    failed: list[str] = []
    try:
        for name, child in children.items():
            output, _ = child.communicate()
            print(f"{'FAIL' if child.returncode else 'ok':<5}{name}", flush=True)
            if child.returncode:
                failed.append(name)
                print(output.rstrip() + "\n", flush=True)
    finally:
        for child in children.values():
            child.kill()  # nothing to those that are done
    took = f"({time.monotonic() - started:.0f} s)"
    print(f"check: {'failed: ' + ', '.join(failed) if failed else 'all passed'} {took}")
    return 1 if failed else 0


def quietly(command: Command, env: Environment) -> None:
    """Run a step of the set-up; show what it printed only if it fails, and end there."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environ(env),
        pass_fds=[env.descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(
            f"dev.py: setting up {relative(env.folder)} failed (exit {done.returncode}) at:\n"
            f"  {' '.join(map(str, command))}\n"
            "The first run needs a package index; run the same command again to retry."
        )


def pytest(env: Environment) -> Command:
    return [env.python, "-m", "pytest", "-o", f"cache_dir={env.caches / 'pytest'}"]


def sphinx(env: Environment) -> Command:
    """Builds a site: every warning is told, then fails it; `-n`: so is a reference to nothing."""
    return [env.python, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q"]


def not_writable(path: Path, error: OSError) -> NoReturn:
    sys.exit(
        f"dev.py: cannot write {path} ({error.strerror or error}).\n"
        f"If {ROOT} is read-only or belongs to another user, work in a copy of your own;\n"
        f"if only {VENVS} does, rename or delete that folder."
    )


def refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def say(message: str) -> None:
    print(f"dev.py: {message}", file=sys.stderr, flush=True)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted; what is half-made is made anew next time")
        sys.exit(130)

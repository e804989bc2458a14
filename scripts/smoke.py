"""Install a built release into a fresh environment and use it.

    smoke.py DIRECTORY rust|python [--sdist]

Takes nothing from an index (the package needs nothing), so what is proved is what
a user's installer would pick from DIRECTORY. With --sdist only the sdist is offered,
its build requirements do come from the index, and `python` means: without cargo.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# One aliased delta: enough to see that the engine is there and works.
USE = r"""
import sys, streamnorm
from streamnorm import ChunkNormalizer
normalizer = ChunkNormalizer()
event = b'data: {"choices":[{"index":0,"delta":{"reasoning":"Hm"}}]}\n\n'
delta = normalizer.feed(event)[0]["choices"][0]["delta"]
assert delta.get("reasoning_content") == "Hm", delta
assert streamnorm.ENGINE == sys.argv[1], streamnorm.ENGINE
assert "site-packages" in streamnorm.__file__, streamnorm.__file__
print("streamnorm", streamnorm.__version__, streamnorm.ENGINE, "on", sys.version.split()[0])
"""


def path_without_cargo() -> str:
    directories = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(d for d in directories if not shutil.which("cargo", path=d))


def main(arguments: list[str]) -> int:
    flags = [word for word in arguments if word.startswith("--")]
    words = [word for word in arguments if not word.startswith("--")]
    if len(words) != 2 or words[1] not in ("rust", "python") or set(flags) - {"--sdist"}:
        print(__doc__, file=sys.stderr)
        return 2
    directory, engine = Path(words[0]).resolve(), words[1]
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch, "Scripts" if os.name == "nt" else "bin", "python")
        install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMNORM_")}
        if flags:
            install += map(str, directory.glob("*.tar.gz"))
            if engine == "python":
                environment["PATH"] = path_without_cargo()
        else:
            install += ["--no-index", "--find-links", str(directory), "streamnorm"]
        subprocess.run(install, check=True, env=environment)
        # From elsewhere, so that no checkout can be imported instead.
        use = [str(python), "-W", "error", "-c", USE, engine]
        return subprocess.run(use, check=False, env=environment, cwd=scratch).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

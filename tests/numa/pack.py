"""What an interpreter needs to import some modules elsewhere, and no more: for the guest of tests/numa/run.

    python pack.py FOLDER MODULE...

prints {"python": its path, "environment": {...}, "files": {where: what}}. Everything stays where it is, so that
libraries find each other; of a module in Python only the compiled form goes along, which FOLDER is for.
"""

from __future__ import annotations

import importlib
import json
import py_compile
import re
import sys
from pathlib import Path


def compiled(source: Path, folder: Path) -> tuple[str, str]:
    """Without its source beside it, a compiled module is named like that."""
    result = folder / f"{abs(hash(source)):x}.pyc"
    py_compile.compile(str(source), cfile=str(result), doraise=True, optimize=0)
    return str(source.with_suffix(".pyc")), str(result)


def modules_in_python(folder: Path) -> dict[str, str]:
    paths = {Path(found) for module in list(sys.modules.values()) if (found := getattr(module, "__file__", None))}
    sources = sorted(path for path in paths if path.suffix == ".py" and path.is_file() and path != Path(__file__))
    return dict(compiled(source, folder) for source in sources)


def mapped_libraries() -> dict[str, str]:
    """Modules in C among them."""
    maps = Path("/proc/self/maps").read_text("utf-8")
    return {path: path for path in re.findall(r"(/\S+\.so[\d.]*)$", maps, re.MULTILINE)}


def pack(folder: Path, names: list[str]) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        importlib.import_module(name)
    files = {sys.executable: sys.executable, **mapped_libraries(), **modules_in_python(folder)}
    path = ":".join(entry for entry in sys.path[1:] if entry)
    environment = {"PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}", "PYTHONPATH": path}
    return {"python": sys.executable, "environment": environment, "files": files}


if __name__ == "__main__":
    json.dump(pack(Path(sys.argv[1]), sys.argv[2:]), sys.stdout)

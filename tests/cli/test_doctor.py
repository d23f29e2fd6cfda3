"""doctor: what it finds on this machine, on machines that a folder stands for, and in programs."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import unittest
import unittest.mock
from pathlib import Path

from harness import LIBRARY, TOOL, Case, bigmalloc, needs, plain_environment, run

sys.path.insert(0, str(TOOL.parent))
from bigmalloc_tool import checks_kernel, checks_library, checks_packages, checks_program, doctor  # noqa: E402
from bigmalloc_tool.machine import Finding, Machine  # noqa: E402

FREE = "rw,nosuid 0 0"
PATH = os.environ["PATH"]


class Doctor(Case):
    def machine(self, files: dict[str, str], **environment: str) -> Machine:
        """One whose /proc, /sys and /dev are these files, and nothing else."""
        for name, text in files.items():
            path = self.folder / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Machine({"PATH": PATH} | environment, root=self.folder, library=LIBRARY)

    def assert_one(self, findings: object, level: str, *words: str) -> None:
        found = list(findings)  # type: ignore[call-overload]
        self.assertEqual([finding.level for finding in found], [level], found)
        for word in words:
            self.assertIn(word, doctor.as_line(found[0]))


class OnThisMachine(Case):
    def test_lines_are_of_three_kinds_and_the_status_tells_of_problems(self) -> None:
        done = bigmalloc("doctor", "--", "busybox-that-is-not-there")
        self.assert_status(done, 1)
        for line in done.stdout.splitlines():
            self.assertRegex(line, r"\A(ok|note|problem) +[\w /]+: \S")
        self.assertRegex(done.stdout, r"(?m)^problem  program: busybox-that-is-not-there is not there.*; see PATH")

    def test_json_tells_the_same(self) -> None:
        text, told = bigmalloc("doctor"), bigmalloc("doctor", "--json")
        answer = json.loads(told.stdout)
        self.assertEqual(answer["schema"], "bigmalloc-doctor/1")
        lines = [doctor.as_line(Finding(**finding)) for finding in answer["findings"]]
        without_space = [line for line in text.stdout.splitlines() if "/dev/shm" not in line]
        self.assertEqual([line for line in lines if "/dev/shm" not in line], without_space)
        problems = sum(line.startswith("problem") for line in lines)
        self.assertEqual(answer["problems"], problems)
        self.assertEqual(told.returncode, 1 if problems else 0)

    def test_the_library_serves(self) -> None:
        done = bigmalloc("doctor")
        self.assertIn(f"ok       library: {LIBRARY} loads\n", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok       service: a large request of \S+ is served$")

    def test_a_missing_library_is_a_problem_and_not_an_end(self) -> None:
        done = bigmalloc("doctor", env={"BIGMALLOC_LIBRARY": "/no/lib.so"})
        self.assert_status(done, 1)
        self.assertRegex(done.stdout, r"(?m)^problem  library: .*/no/lib\.so.*; build it with make$")
        self.assertIn("huge pages", done.stdout)

    def test_words_that_make_no_sense_are_told(self) -> None:
        self.assert_one_line_error(bigmalloc("doctor", "x"), 2, "x is no process number")
        self.assert_one_line_error(bigmalloc("doctor", "--jsn"), 2, "--jsn")
        self.assert_one_line_error(bigmalloc("doctor", "4194305"), 1, "there is no process 4194305")

    def test_a_process_is_looked_at(self) -> None:
        for preload, level, words in ((True, "ok", "has the library"), (False, "problem", "without the library")):
            with sleeping(preload) as process:
                found = bigmalloc("doctor", process.pid).stdout
            self.assertRegex(found, rf"(?m)^{level} +process: {process.pid} .*{words}")
            self.assertRegex(found, r"(?m)^ok +mappings: \d+ of \d+")


class Libraries(Doctor):
    def test_one_that_does_not_load(self) -> None:
        broken = self.folder / "libbigmalloc.so"
        broken.write_text("no library")
        m = Machine({}, library=broken)
        self.assert_one(checks_library.library(m), "problem", "does not load", "glibc 2.34")
        self.assert_one(checks_library.service(m), "problem", "arrives")

    def test_what_is_preloaded(self) -> None:
        (self.folder / "lib").mkdir()
        names = ["libtcmalloc_minimal.so.4", "libjemalloc.so.2", "libmimalloc.so", "libiomp5.so", "libbigmalloc.so"]
        tcmalloc, jemalloc, mimalloc, iomp, ours = (f"/lib/{name}" for name in names)
        for name in names:
            (self.folder / "lib" / name).touch()
        cases: dict[str, list[str]] = {
            "": ["ok"],
            f"{ours}:{iomp}": ["ok", "ok"],
            f"{tcmalloc} {ours}": ["problem", "ok"],
            f"{ours}:{jemalloc}": ["ok", "note"],
            mimalloc: ["note"],
            f"{ours}:{ours}": ["ok", "problem"],
            "/lib/gone.so": ["problem"],
            "libjemalloc.so.2": ["note"],
            "libasan.so.8": ["problem"],
        }
        for preload, levels in cases.items():
            found = list(checks_library.preload(self.machine({}, LD_PRELOAD=preload)))
            self.assertEqual([finding.level for finding in found], levels, f"{preload}: {found}")

    def test_what_is_preloaded_for_everybody(self) -> None:
        m = self.machine({"/etc/ld.so.preload": "/gone.so\n"})
        self.assert_one(checks_library.preload(m), "problem", "/gone.so")

    def test_settings(self) -> None:
        cases = {
            "BIGMALLOC=off": ("problem", "no pools"),
            "BIGMALLOC_THP=on": ("ok", "BIGMALLOC_THP"),
            "MALLOC_CONF=narenas:1": ("ok", "small"),
            "MALLOC_CONF=background_thread:true": ("note", "forks"),
            "MALLOC_TRIM_THRESHOLD_=65536": ("note", "MALLOC_TRIM_THRESHOLD_"),
            "GLIBC_TUNABLES=glibc.malloc.hugetlb=1": ("note", "GLIBC_TUNABLES"),
        }
        for setting, (level, word) in cases.items():
            name, _, value = setting.partition("=")
            self.assert_one(checks_library.settings(self.machine({}, **{name: value})), level, word)
        self.assertEqual(list(checks_library.settings(self.machine({}, BIGMALLOC_LIBRARY="/x"))), [])

    def test_the_companion_matters_on_several_nodes(self) -> None:
        m = self.machine({})
        self.assert_one(checks_library.companion(m), "ok", "not needed")
        m = self.machine({"/sys/devices/system/node/has_memory": "0-1,4\n"})
        m.library = self.folder / "libbigmalloc.so"
        self.assert_one(checks_library.companion(m), "note", "missing", "libhwloc-dev")
        (self.folder / "libbigmalloc-topology.so").write_text("no library")
        m.library = Path(shutil.copy(LIBRARY, self.folder))
        self.assert_one(checks_library.companion(m), "note", "does not load")


class Kernels(Doctor):
    def test_huge_pages(self) -> None:
        for text, level, word in (
            ("always [madvise] never", "ok", "madvise"),
            ("[always] madvise never", "ok", "always"),
            ("always madvise [never]", "note", "echo madvise >/sys"),
            ("", "note", "none"),
        ):
            self.assert_one(checks_kernel.huge_pages(self.machine({checks_kernel.THP: text})), level, word)
        m = self.machine({checks_kernel.THP: "[always]", "/proc/self/status": "Name:\tx\nTHP_enabled:\t0\n"})
        self.assert_one(checks_kernel.huge_pages(m), "note", "PR_SET_THP_DISABLE")

    def test_nodes_and_balancing(self) -> None:
        nodes = "/sys/devices/system/node/has_memory"
        m = self.machine({nodes: "0\n", "/proc/sys/kernel/numa_balancing": "1\n"})
        self.assert_one(checks_kernel.nodes(m), "ok", "one")
        self.assert_one(checks_kernel.balancing(m), "ok", "no effect")
        m = self.machine({nodes: "0-3,8\n"})
        self.assert_one(checks_kernel.nodes(m), "ok", "5 NUMA nodes")
        self.assert_one(checks_kernel.balancing(m), "note", "kernel.numa_balancing=0")

    def test_a_sandbox_that_refuses_memory_policies(self) -> None:
        m = self.machine({"/sys/devices/system/node/has_memory": "0-1\n"})
        with unittest.mock.patch.object(checks_kernel, "refused", return_value=1):
            self.assert_one(checks_kernel.memory_policy(m), "note", "CAP_SYS_NICE")
            self.assert_one(checks_kernel.memory_policy(Machine({}, root=Path("/none"))), "ok", "not needed")
        self.assertIn(checks_kernel.refused(os.uname().machine), (0, 1, 38))

    def test_memory_limits_of_both_versions(self) -> None:
        v2 = {"/proc/self/mounts": f"cgroup2 /sys/fs/cgroup cgroup2 {FREE}\n", "/proc/self/cgroup": "0::/a/b\n"}
        group, above = "/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a"
        self.assert_one(checks_kernel.memory_limit(self.machine({})), "ok", "no cgroup")
        files = v2 | {f"{group}/memory.max": "max\n", f"{above}/memory.max": "4294967296\n"}
        m = self.machine(files | {f"{above}/memory.current": "1073741824\n"})
        self.assert_one(checks_kernel.memory_limit(m), "ok", f"{above}/memory.max is 4.0 GiB, 1.0 GiB in use")
        m = self.machine({f"{above}/memory.current": "4200000000\n"})
        self.assert_one(checks_kernel.memory_limit(m), "note", "raise the limit")
        m = self.machine({f"{above}/memory.current": "0\n", f"{group}/memory.high": "2147483648\n"})
        self.assert_one(checks_kernel.memory_limit(m), "note", "memory.high is 2.0 GiB", "slows")

    def test_memory_limits_of_version_1(self) -> None:
        mount = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
        group = "/sys/fs/cgroup/memory/box"
        files = {"/proc/self/mounts": mount, "/proc/self/cgroup": "3:cpu:/x\n2:memory:/box\n1:name=systemd:/\n"}
        m = self.machine(files | {f"{group}/memory.limit_in_bytes": "9223372036854771712\n"})
        self.assert_one(checks_kernel.memory_limit(m), "ok", "no cgroup")
        m = self.machine({f"{group}/memory.limit_in_bytes": "1048576\n", f"{group}/memory.usage_in_bytes": "4096\n"})
        self.assert_one(checks_kernel.memory_limit(m), "ok", "is 1.0 MiB, 4.0 KiB in use")

    def test_mappings_of_a_process(self) -> None:
        most = "/proc/sys/vm/max_map_count"
        for used, level, word in (
            (10, "ok", "10 of 100000"),
            (50001, "note", "no pages move"),
            (90001, "problem", "no memory"),
        ):
            m = self.machine({most: "100000\n", "/proc/7/maps": "line\n" * used})
            m.pid = 7
            self.assert_one(checks_kernel.mappings(m), level, word)
        self.assert_one(checks_kernel.mappings(self.machine({most: "1000\n"})), "note", "usual")

    def test_overcommit(self) -> None:
        m = self.machine({"/proc/sys/vm/overcommit_memory": "2\n"})
        self.assert_one(checks_kernel.overcommit(m), "note", "vm.overcommit_memory=0")

    def test_address_limits(self) -> None:
        done = run("sh", "-c", f"ulimit -v 8000000; exec {sys.executable} {TOOL} doctor")
        self.assertRegex(done.stdout, r"(?m)^note +address limits: ulimit -v is 7\.6 GiB")

    def test_shared_memory(self) -> None:
        (self.folder / "dev/shm").mkdir(parents=True)
        self.assert_one(checks_kernel.shared_memory(self.machine({})), "note", "no tmpfs")
        m = self.machine({"/proc/self/mounts": f"shm /dev/shm tmpfs {FREE}\n"})
        for whole, free, level, word in (
            (1 << 30, 1 << 29, "ok", "512.0 MiB of 1.0 GiB"),
            (64 << 20, 60 << 20, "note", "shm-size"),
            (1 << 30, 0, "note", "no live counters"),
        ):
            shown = unittest.mock.Mock(f_frsize=1, f_blocks=whole, f_bavail=free)
            with unittest.mock.patch("os.statvfs", return_value=shown):
                self.assert_one(checks_kernel.shared_memory(m), level, word)


class Packages(Doctor):
    def test_gpus(self) -> None:
        self.assert_one(checks_packages.gpu(self.machine({})), "ok", "none")
        m = self.machine({"/proc/driver/nvidia/version": "NVRM"})
        self.assert_one(checks_packages.gpu(m), "problem", "libcuda.so.1", "--gpus all")
        (self.folder / "proc/driver/nvidia/version").unlink()
        m = self.machine({"/usr/lib/x86_64-linux-gnu/libcuda.so.1": ""})
        self.assert_one(checks_packages.gpu(m), "note", "no GPU to be seen")

    def test_a_driver_that_answers_and_one_that_does_not(self) -> None:
        files = {"/usr/lib/x86_64-linux-gnu/libcuda.so.1": "", "/dev/nvidia0": "", "/dev/nvidiactl": ""}
        m = self.machine(files)
        tool = self.folder / "bin/nvidia-smi"
        tool.parent.mkdir()
        for script, level, word in (
            ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", "ok", "GPU 0: NVIDIA H100"),
            ("echo 'no devices' >&2; exit 9", "problem", "no devices"),
        ):
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
            with unittest.mock.patch.dict(os.environ, PATH=f"{tool.parent}:{PATH}"):
                self.assert_one(checks_packages.gpu(m), level, word)

    def test_settings_of_pytorch_for_cuda(self) -> None:
        for setting, word in {
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True": "maps device memory itself",
            "PYTORCH_ALLOC_CONF=backend:cudaMallocAsync": "driver's own pools",
            "CUDA_VISIBLE_DEVICES=": "hides all GPUs",
        }.items():
            name, _, value = setting.partition("=")
            self.assert_one(checks_packages.cuda_settings({name: value}), "note", word)

    def test_pytorch_with_an_allocator_inside(self) -> None:
        library = self.folder / "lib/libc10.so"
        library.parent.mkdir()
        library.write_bytes(b"\x7fELF...alloc_cpu...")
        self.assert_one(checks_packages.torch("python3", "2.13", self.folder), "ok", "from malloc")
        library.write_bytes(b"\x7fELF...mimalloc: warning: ...")
        self.assert_one(checks_packages.torch("python3", "2.13", self.folder), "problem", "USE_MIMALLOC=0")

    def test_a_free_threaded_python_and_packages_with_their_own_memory(self) -> None:
        python = self.folder / "python3"
        about = {"version": "3.14", "free_threaded": True, "torch_folder": None, "packages": {"pyarrow": "1"}}
        python.write_text(f"#!/bin/sh\necho '{json.dumps(about)}'\n")
        python.chmod(0o755)
        found = list(checks_packages.pythons(Machine({"PATH": str(self.folder)})))
        self.assertEqual([(f.level, f.subject) for f in found], [("problem", "python"), ("note", "Arrow")])
        m = Machine({"ARROW_DEFAULT_MEMORY_POOL": "system", "RAY_LD_PRELOAD_ON_WORKERS": "1"})
        self.assertEqual(list(checks_packages.other_packages(m, {"pyarrow": "1", "ray": "2"})), [])
        m.environment = {}
        self.assert_one(checks_packages.other_packages(m, {"ray": "2"}), "note", "RAY_LD_PRELOAD_ON_WORKERS=1")

    def test_a_python_that_does_not_answer(self) -> None:
        python = self.folder / "python3"
        python.write_text("#!/bin/sh\necho nonsense\n")
        python.chmod(0o755)
        self.assert_one(checks_packages.pythons(Machine({"PATH": str(self.folder)})), "note", "does not answer")


class Programs(Doctor):
    def program(self, name: str, content: bytes, mode: int = 0o755) -> Machine:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return Machine({"PATH": f"{self.folder}:{PATH}"}, library=LIBRARY, program=[name])

    def test_what_can_have_the_library(self) -> None:
        self.assert_one(checks_program.program(Machine({"PATH": PATH}, library=LIBRARY, program=["ls"])), "ok")

    def test_scripts_are_followed_to_what_the_loader_loads(self) -> None:
        self.program("inner", b"#! /usr/bin/env -S ls\n")
        found = list(checks_program.program(self.program("outer", f"#!{self.folder}/inner -x\n".encode())))
        self.assertEqual([f.level for f in found], ["ok", "ok", "ok"], found)
        self.assertIn("/ls can have the library", found[-1].text)
        found = list(checks_program.program(self.program("lost", b"#!/no/interpreter\n")))
        self.assertEqual([f.level for f in found], ["ok", "problem"])
        found = list(checks_program.program(self.program("loop", f"#!{self.folder}/loop\n".encode())))
        self.assertLess(len(found), 10)

    def test_static_musl_and_foreign_ones(self) -> None:
        for content, level, word in (
            (elf(62, b""), "problem", "linked statically"),
            (elf(62, b"/lib/ld-musl-x86_64.so.1\0"), "problem", "musl"),
            (elf(183 if os.uname().machine == "x86_64" else 62, b"/lib/ld-linux.so\0"), "problem", "is for"),
            (elf(62, b"/lib/x\0")[:70], "note", "no ELF"),
            (b"MZ\0", "note", "no ELF"),
            (b"", "note", "no ELF"),
        ):
            self.assert_one(checks_program.program(self.program("p", content)), level, word)

    def test_damaged_files_are_told_not_tripped_over(self) -> None:
        whole = elf(62, b"/lib64/ld-linux-x86-64.so.2\0")
        for place in range(len(whole)):
            for value in (0, 255):
                content = whole[:place] + bytes([value]) + whole[place + 1 :]
                list(checks_program.program(self.program("p", content)))

    def test_a_static_program_of_this_machine(self) -> None:
        needs("busybox")
        if run("ldd", shutil.which("busybox")).returncode == 0:
            self.skipTest("busybox is linked dynamically here")
        m = Machine({"PATH": PATH}, library=LIBRARY, program=["busybox"])
        self.assert_one(checks_program.program(m), "problem", "statically")

    def test_one_with_an_allocator_inside(self) -> None:
        needs("gcc")
        source = self.folder / "p.c"
        source.write_text("void *malloc(unsigned long n) { return (void *)n; } int main(void) { return malloc(0) != 0; }")
        self.assert_status(run("gcc", "-fno-builtin", "-w", "-o", self.folder / "p", source), 0)
        m = Machine({"PATH": str(self.folder)}, library=LIBRARY, program=["p"])
        self.assert_one(checks_program.program(m), "problem", "allocator of its own inside")

    def test_more_rights_than_the_caller_s(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root can give a file to somebody else")
        m = self.program("su", Path(shutil.which("ls") or "").read_bytes())
        os.chown(self.folder / "su", 65534, -1)
        (self.folder / "su").chmod(0o755 | stat.S_ISUID)
        self.assert_one(checks_program.program(m), "problem", "setuid", "LD_PRELOAD is ignored")


def elf(machine: int, interpreter: bytes) -> bytes:
    """A 64-bit executable with one segment, which names its interpreter; none where that is empty."""
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 3 if interpreter else 1, 4, 120, 0, 0, len(interpreter), len(interpreter), 1)
    return header + segment + interpreter


class sleeping:
    """A process that does nothing, for as long as it is looked at."""

    def __init__(self, preload: bool) -> None:
        environment = plain_environment() | ({"LD_PRELOAD": str(LIBRARY)} if preload else {})
        ready = "print(flush=True); input()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", ready], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self.process.stdout is not None
        self.process.stdout.readline()
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"\n")

"""Names for addresses: those of the compiler's own tools, and none where there is none."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import unittest
from pathlib import Path

from harness import LIBRARY, ROOT, Case, needs

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import elf, symbols  # noqa: E402
from bigmalloc_tool.symbols import Frame  # noqa: E402
from bigmalloc_tool.trace import Module  # noqa: E402

C_SOURCE = """
int work(int n) {
    return n * 3;
}
int main(void) {
    return work(2) != 6;
}
"""
CPP_SOURCE = """
#include <vector>
namespace shop {
template <typename T> __attribute__((noinline)) T sum(const std::vector<T> &all) { return all[0]; }
namespace { __attribute__((noinline)) int hidden(int n) { return n + 1; } }
}
int main() { return shop::sum(std::vector<int>{shop::hidden(-1)}); }
"""


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


class SymbolCase(Case):
    def built(self, source: str, compiler: str, *flags: str) -> Path:
        needs(compiler)
        ending = "c" if compiler == "gcc" else "cc"
        path = self.folder / f"source.{ending}"
        path.write_text(source)
        program = self.folder / "program"
        subprocess.run([compiler, "-O1", "-fno-inline", "-Wl,--build-id", *flags, "-o", program, path], check=True)
        return program

    def code(self, program: Path, build_id: str = "") -> Module:
        """As it would be mapped at 1 TiB."""
        needs("readelf")
        found = re.search(r"LOAD +(\S+) (\S+) \S+ (\S+) \S+ +R E", output("readelf", "-lW", program))
        assert found is not None
        offset, address, size = (int(word, 16) for word in found.groups())
        start = (1 << 40) + address // 4096 * 4096
        return Module(start, start + size + 8192, offset // 4096 * 4096, str(program), build_id)

    def address(self, program: Path, function: str) -> int:
        """Of its second byte: what a call that is its first instruction would return to."""
        for line in output("nm", program).splitlines():
            if line.split()[-1] == function:
                return (1 << 40) + int(line.split()[0], 16) + 1
        raise AssertionError(function)

    def resolve(self, address: int, module: Module) -> Frame:
        return symbols.resolve([address], [module])[address]


class Names(SymbolCase):
    def test_a_function_has_its_name(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        frame = self.resolve(self.address(program, "work"), self.code(program))
        self.assertEqual((frame.function, str(frame)), ("work", "work in program"))

    def test_with_debug_information_it_has_its_line(self) -> None:
        needs("addr2line")
        program = self.built(C_SOURCE, "gcc", "-g")
        frame = self.resolve(self.address(program, "work"), self.code(program))
        self.assertIn((Path(frame.file).name, frame.line), [("source.c", 2), ("source.c", 3)])
        self.assertRegex(str(frame), r"^work at source\.c:[23]$")

    def test_a_return_address_belongs_to_the_call_before_it(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        first_byte = self.address(program, "main") - 1
        self.assertNotEqual(self.resolve(first_byte, self.code(program)).function, "main")
        self.assertEqual(self.resolve(first_byte + 1, self.code(program)).function, "main")

    def test_cpp_names_are_those_of_the_source(self) -> None:
        needs("c++filt")
        program = self.built(CPP_SOURCE, "g++")
        names = [line.split()[-1] for line in output("nm", program).splitlines()]
        for part, full, brief in (
            ("4shop3sum", "int shop::sum<int>(std::vector<int, std::allocator<int> > const&)", "shop::sum"),
            ("hidden", "shop::(anonymous namespace)::hidden(int)", "shop::(anonymous namespace)::hidden"),
        ):
            mangled = next(name for name in names if part in name)
            frame = self.resolve(self.address(program, mangled), self.code(program))
            self.assertEqual(frame.function, full)
            self.assertEqual(str(frame), f"{brief} in program")

    def test_a_stripped_program_gives_module_and_offset(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        address, module = self.address(program, "work"), self.code(program)
        subprocess.run(["strip", program], check=True)
        frame = self.resolve(address, module)
        self.assertEqual(frame.function, "")
        self.assertEqual(str(frame), f"program+{address - module.start + module.offset:#x}")

    def test_a_program_that_was_built_anew_gives_no_wrong_names(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        with elf.opened(program) as file:
            build_id = file.build_id()
        self.assertIn(build_id, output("readelf", "-n", program))
        address = self.address(program, "work")
        self.assertEqual(self.resolve(address, self.code(program, build_id)).function, "work")
        self.assertEqual(self.resolve(address, self.code(program, "00" * 20)).function, "")

    def test_addresses_of_a_file_are_not_its_offsets(self) -> None:
        program = self.built(C_SOURCE, "gcc", "-no-pie", "-Wl,-Ttext-segment=0x10000000")
        self.assertEqual(self.resolve(self.address(program, "work"), self.code(program)).function, "work")

    def test_what_lies_behind_a_function_is_not_of_it(self) -> None:
        functions = [elf.Function(16, 10, "a"), elf.Function(32, 0, "b")]
        named = {address: symbols.function_at(address, functions) for address in (15, 16, 25, 26, 32, 99)}
        self.assertEqual(named, {15: "", 16: "a", 25: "a", 26: "", 32: "b", 99: "b"})
        self.assertEqual(symbols.function_at(None, functions), "")

    def test_code_of_no_file_stays_a_number(self) -> None:
        self.assertEqual(str(self.resolve(0x1234, Module(1 << 40, 1 << 41, 0, "/x", ""))), "0x1234")
        self.assertEqual(str(self.resolve(0x1234, Module(0x1000, 0x2000, 0, "[vdso]", ""))), "[vdso]+0x234")

    def test_the_functions_are_those_of_nm(self) -> None:
        if not LIBRARY.exists():
            raise unittest.SkipTest(f"{LIBRARY} is not built")
        told = [line.split() for line in output("nm", LIBRARY).splitlines()]
        expected = {(int(words[0], 16), words[2]) for words in told if len(words) == 3 and words[1] in "tTiW"}
        with elf.opened(LIBRARY) as file:
            found = {(function.address, function.name) for function in file.functions()}
        self.assertGreater(len(found), 500)
        self.assertEqual(found - expected, set())
        names = {name for _, name in found}
        missing = {name for _, name in expected if name not in names}
        self.assertLess(len(missing), 20, "labels of assembly are no functions")

    def test_brief_names(self) -> None:
        for full, brief in (
            ("malloc", "malloc"),
            ("a::b(int, c::d<e, f<g> > const&) const", "a::b"),
            ("void h<int>::i<j<k> >(l)", "h::i"),
            ("m::operator()(int) const", "m::operator()"),
            ("n::operator<(n const&)", "n::operator<"),
            ("std::f<void* (long), p::{lambda(long)#1}>::q(r)", "std::f::q"),
        ):
            self.assertEqual(symbols.short(full), brief)


class Hostile(SymbolCase):
    def test_a_file_that_is_no_elf_has_no_names(self) -> None:
        strange = self.folder / "strange"
        for data in (b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 200, b"#!/bin/sh\n" * 20):
            strange.write_bytes(data)
            frame = self.resolve(0x1800, Module(0x1000, 0x2000, 0, str(strange), ""))
            self.assertEqual(str(frame), "strange+0x800")

    def test_what_is_not_a_file_is_not_waited_for(self) -> None:
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path in (fifo, self.folder, Path("/dev/zero"), Path("/none")):
            self.assertEqual(self.resolve(0x1800, Module(0x1000, 0x2000, 0, str(path), "")).function, "")

    def test_no_offset_is_too_large_to_be_refused(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        data = bytearray(program.read_bytes())
        data[40:48] = b"\xff" * 8  # of the section headers
        program.write_bytes(bytes(data))
        with self.assertRaisesRegex(elf.NotElf, "far away"), elf.opened(program):
            pass
        with self.assertRaisesRegex(elf.NotElf, "regular"), elf.opened(Path("/dev/zero")):
            pass

    def test_damage_is_told_from_a_file_and_never_worse(self) -> None:
        program = self.built(C_SOURCE, "gcc")
        data, module, address = program.read_bytes(), self.code(program), self.address(program, "work")
        chance = random.Random(3)
        tables = int.from_bytes(data[40:48], "little")  # the offset of the section headers
        for _ in range(400):
            broken = bytearray(data)
            for _ in range(3):
                place = chance.choice((0, 64, tables))
                broken[min(place + chance.randrange(700), len(data) - 1)] = chance.randrange(256)
            program.write_bytes(bytes(broken[: chance.choice((len(data), chance.randrange(len(data))))]))
            self.resolve(address, module)

    def test_names_cannot_steer_a_terminal(self) -> None:
        functions = [elf.Function(0, 100, "a\x1b[2Jb\n")]
        self.assertTrue(symbols.function_at(5, functions).isprintable())

    def test_without_the_helper_programs_names_stay_as_they_are(self) -> None:
        path = os.environ["PATH"]
        os.environ["PATH"] = str(self.folder)
        try:
            self.assertEqual(symbols.demangled({"_Z1fv"}), {"_Z1fv": "_Z1fv"})
        finally:
            os.environ["PATH"] = path


if __name__ == "__main__":
    unittest.main()

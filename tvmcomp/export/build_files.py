"""How other build systems take the exported network in: CMake and make."""

from __future__ import annotations

from typing import Literal

_PACKAGE = """\
# find_package({name} REQUIRED)
# target_link_libraries(my_program {name}::{name})
if(TARGET {name}::{name})
  return()
endif()
get_filename_component({name}_ROOT "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
{runtime}add_library({name}::{name} {kind} IMPORTED)
set_target_properties({name}::{name} PROPERTIES
  IMPORTED_LOCATION "${{{name}_ROOT}}/lib/{library}"
  INTERFACE_INCLUDE_DIRECTORIES "${{{name}_ROOT}}/include"{links})
set({name}_FOUND TRUE)
"""

#: One for all networks of a program.
_RUNTIME = """\
include(CMakeFindDependencyMacro)
find_dependency(Threads)
if(NOT TARGET tvmcomp::runtime)
  add_library(tvmcomp::runtime STATIC IMPORTED)
  set_target_properties(tvmcomp::runtime PROPERTIES
    IMPORTED_LOCATION "${{{name}_ROOT}}/lib/libtvmcomp.a"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;m")
endif()
"""

_LISTS = """\
# Builds the library {name}, its self-test {name}_selftest and {name}_example. From another project:
# add_subdirectory(FOLDER), then target_link_libraries(my_program {name}).
cmake_minimum_required(VERSION 3.13)
project({name} C ASM)
find_package(Threads REQUIRED)

if(NOT TARGET tvmcomp_runtime) # one for all networks
  file(GLOB tvmcomp_SOURCES "${{CMAKE_CURRENT_SOURCE_DIR}}/tvmcomp/*.c")
  add_library(tvmcomp_runtime STATIC ${{tvmcomp_SOURCES}})
  set_target_properties(tvmcomp_runtime PROPERTIES C_STANDARD 11 POSITION_INDEPENDENT_CODE ON)
  target_include_directories(tvmcomp_runtime PUBLIC "${{CMAKE_CURRENT_SOURCE_DIR}}/tvmcomp/include")
  target_link_libraries(tvmcomp_runtime PUBLIC Threads::Threads m)
  # Two shared libraries, each with the runtime inside, must not share one of the two.
  target_compile_definitions(tvmcomp_runtime PRIVATE
    "TVMCOMP_API=__attribute__((visibility(\\"hidden\\")))")
endif()

add_library({name} STATIC {name}_api.c {name}_driver.c {name}_weights.S {name}_kernels.o)
set_target_properties({name} PROPERTIES C_STANDARD 11 POSITION_INDEPENDENT_CODE ON)
set_source_files_properties({name}_kernels.o PROPERTIES EXTERNAL_OBJECT TRUE)
target_compile_definitions({name} PRIVATE TVMCOMP_EMBEDDED)
target_include_directories({name} PUBLIC "${{CMAKE_CURRENT_SOURCE_DIR}}")
target_link_libraries({name} PUBLIC tvmcomp_runtime)

file(GLOB {name}_PROGRAM "${{CMAKE_CURRENT_SOURCE_DIR}}/tvmcomp/program/*.c")
add_executable({name}_selftest EXCLUDE_FROM_ALL {name}_program.c{reference} ${{{name}_PROGRAM}})
target_include_directories({name}_selftest PRIVATE tvmcomp/program)
target_link_libraries({name}_selftest PRIVATE {name})
set_target_properties({name}_selftest PROPERTIES C_STANDARD 11)

add_executable({name}_example EXCLUDE_FROM_ALL example.c)
target_link_libraries({name}_example PRIVATE {name})
"""

_MAKEFILE = """\
# make          the libraries lib{name}.a and libtvmcomp.a
# make check    its self-test, run on this machine
# make example  the example
# For another machine: make CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar
CFLAGS ?= -O2 -Wall
OWN = -std=c11 -fPIC -fvisibility=hidden -DTVMCOMP_EMBEDDED -I. -Itvmcomp/include -Itvmcomp/program
NETWORK = {name}_api.c.o {name}_driver.c.o {name}_weights.S.o {name}_kernels.o
RUNTIME = $(patsubst %, %.o, $(wildcard tvmcomp/*.c))
PROGRAM = {name}_program.c.o{reference} $(patsubst %, %.o, $(wildcard tvmcomp/program/*.c))
LIBRARIES = lib{name}.a libtvmcomp.a

all: $(LIBRARIES)

# Two shared libraries, each with the runtime inside, must not share one of the two.
$(RUNTIME): OWN += '-DTVMCOMP_API=__attribute__((visibility("hidden")))'

lib{name}.a: $(NETWORK)
\t$(AR) rcs $@ $^

libtvmcomp.a: $(RUNTIME)
\t$(AR) rcs $@ $^

%.c.o: %.c
\t$(CC) $(CFLAGS) $(OWN) -c -o $@ $<

%.S.o: %.S %.bin
\t$(CC) $(OWN) -c -o $@ $<

{name}_selftest: $(PROGRAM) $(LIBRARIES)
\t$(CC) $(LDFLAGS) -o $@ $^ -lm -lpthread

example: example.c.o $(LIBRARIES)
\t$(CC) $(LDFLAGS) -o $@ $^ -lm -lpthread

check: {name}_selftest
\t./{name}_selftest --selftest

clean:
\trm -f $(LIBRARIES) {name}_selftest example *.c.o *.S.o tvmcomp/*.o tvmcomp/program/*.o

.PHONY: all check clean
"""


def cmake_package(name: str, form: Literal["static", "shared"]) -> str:
    """``NAMEConfig.cmake`` of a built library; it lies in ``lib/cmake/NAME``."""
    static = form == "static"
    return _PACKAGE.format(
        name=name,
        kind=form.upper(),
        library=f"lib{name}.a" if static else f"lib{name}.so",
        runtime=_RUNTIME.format(name=name) if static else "",
        links="\n  INTERFACE_LINK_LIBRARIES tvmcomp::runtime" if static else "",
    )


def cmake_lists(name: str, with_reference: bool) -> str:
    """``CMakeLists.txt`` of sources."""
    return _LISTS.format(name=name, reference=f" {name}_reference.S" if with_reference else "")


def makefile(name: str, with_reference: bool) -> str:
    """``Makefile`` of sources."""
    return _MAKEFILE.format(name=name, reference=f" {name}_reference.S.o" if with_reference else "")

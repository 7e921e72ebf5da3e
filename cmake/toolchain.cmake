# Warnings, processor, sanitizers; ccache and a fast linker where they are.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow)
# False alarms on "literal" + std::string (GCC bug 105651, gone in version 13).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)
endif()
if(ATTUNE_WERROR)
  add_compile_options(-Werror)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  if(ATTUNE_SANITIZE)
    # Runs where it was built: kernels for that processor alone take half the time to compile.
    add_compile_options(-march=native)
    add_compile_definitions(HWY_COMPILE_ONLY_STATIC)
  else()
    # What every x86-64 processor since 2009 has. Kernels choose wider instructions at run time (Highway).
    add_compile_options(-march=x86-64-v2)
  endif()
  # Of Highway's targets: SSE4 (the baseline, without asking for AES), AVX2, AVX3. More cost only time to build.
  add_compile_definitions(HWY_DISABLE_PCLMUL_AES HWY_DISABLED_TARGETS=0x50FF)
endif()

if(ATTUNE_SANITIZE)
  add_compile_options(-fsanitize=${ATTUNE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ATTUNE_SANITIZE})
  if(ATTUNE_SANITIZE MATCHES undefined)
    # Null pointers and sizes of objects: the address sanitizer finds what they lead to, and they double compile times.
    add_compile_options(-fno-sanitize=null,object-size,vptr)
  endif()
endif()

# Undefined behaviour is looked for in the library and in what programs do: option tables and what only tests use compile
# a third faster without.
function(attune_without_ubsan target)
  if(ATTUNE_SANITIZE MATCHES undefined)
    target_compile_options(${target} PRIVATE -fno-sanitize=undefined)
  endif()
endfunction()

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(ATTUNE_CCACHE ccache)
  mark_as_advanced(ATTUNE_CCACHE)
  if(ATTUNE_CCACHE)
    # What it takes to cache files with a precompiled header, by its manual.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        ${ATTUNE_CCACHE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      add_compile_options(-fpch-preprocess)
    endif()
  endif()
endif()

# Programs look for libraries in ../lib first, those that the libraries themselves need included (which a runpath would
# not serve): ./dev bundle packs them up so.
if(NOT DEFINED CMAKE_BUILD_RPATH)
  set(CMAKE_BUILD_RPATH "$ORIGIN/../lib")
  add_link_options(-Wl,--disable-new-dtags)
endif()

find_program(ATTUNE_MOLD ld.mold)
find_program(ATTUNE_LLD ld.lld)
mark_as_advanced(ATTUNE_MOLD ATTUNE_LLD)
if(ATTUNE_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(ATTUNE_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# What is compiled from nothing each time: the files of a folder as one, since reading headers is most of the work.
function(attune_unity target)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${PROJECT_SOURCE_DIR})
    string(MAKE_C_IDENTIFIER "${folder}" group)
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP "${group}")
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # Files now are what is included, and g++ takes their classes with private members of private types for headers'.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()

# The CUDA backend: libattune_cuda.so beside the programs, which the library opens at run time (framework/cuda_plugin.h).
# Nothing else needs CUDA. Says in one line what came of looking for it.

set(ATTUNE_CUDA_ARCHITECTURES "80-real;90" CACHE STRING
    "GPUs that the CUDA backend is built for, as in CMAKE_CUDA_ARCHITECTURES; PTX of the last one serves later GPUs")

# Sets `result` to the version of the CUDA compiler `nvcc`.
function(attune_nvcc_version nvcc result)
  execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${text}")
  set(${result} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

if(NOT ATTUNE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ATTUNE_CUDA is '${ATTUNE_CUDA}', expected AUTO, ON or OFF")
endif()

# Ends this file for lack of something: attune_without_cuda("no such thing; what to do").
macro(attune_without_cuda reason)
  if(ATTUNE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ATTUNE_CUDA is ON and there is ${reason}, or set ATTUNE_CUDA to AUTO")
  endif()
  message(STATUS "CUDA: ${reason}; building for the CPU")
  return()
endmacro()

if(ATTUNE_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: off")
  return()
endif()

find_program(ATTUNE_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
mark_as_advanced(ATTUNE_NVCC)
if(NOT ATTUNE_NVCC)
  attune_without_cuda("no nvcc; set CUDA_PATH to the CUDA Toolkit")
endif()
attune_nvcc_version(${ATTUNE_NVCC} nvcc_version)
if(nvcc_version VERSION_LESS 12.0)
  attune_without_cuda("no C++20 in ${ATTUNE_NVCC} ${nvcc_version}; install CUDA 12 or later")
endif()

set(CMAKE_CUDA_COMPILER ${ATTUNE_NVCC})
set(CMAKE_CUDA_ARCHITECTURES ${ATTUNE_CUDA_ARCHITECTURES})
if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER)
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER AND DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
# CMake before 3.26 may not know how nvcc is told.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
find_package(CUDAToolkit REQUIRED)
if(NOT TARGET CUDA::cublasLt OR NOT TARGET CUDA::cudart_static)
  attune_without_cuda("no cuBLAS or no static CUDA runtime in ${CUDAToolkit_LIBRARY_DIR}; install them")
endif()
message(STATUS "CUDA: ${ATTUNE_NVCC} ${nvcc_version} for ${ATTUNE_CUDA_ARCHITECTURES}")

# shape.cpp and dtype.cpp: what the library's headers need of it. It is opened by the library, so it cannot link it.
file(GLOB cuda_sources CONFIGURE_DEPENDS framework/kernels/cuda/*.cu)
add_library(attune_cuda MODULE ${cuda_sources} framework/shape.cpp framework/dtype.cpp)
# Instead of what toolchain.cmake adds, which nvcc does not take. Constant expressions may be called on
# the device.
set_property(TARGET attune_cuda PROPERTY COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>")
if(ATTUNE_WERROR)
  target_compile_options(attune_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
target_include_directories(attune_cuda PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(attune_cuda PRIVATE CUDA::cudart_static CUDA::cublasLt PkgConfig::ATTUNE_DEPENDENCIES)
target_link_options(attune_cuda PRIVATE -Wl,--no-undefined)
set_target_properties(attune_cuda PROPERTIES
  CUDA_RUNTIME_LIBRARY Static CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS attune_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT programs)

# For programs that compile formulas of their own into attention's kernels.
set(formula_headers formula.cuh formula_kernels.cuh attention_rows.cuh attention_tiles.cuh attention.cuh attention_band.h
                    launch.cuh number.cuh philox.cuh softmax.cuh team.cuh tiles.cuh check.h context.h)
list(TRANSFORM formula_headers PREPEND framework/kernels/cuda/)
install(FILES ${formula_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune/framework/kernels/cuda COMPONENT library)
install(FILES framework/cuda_plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune/framework COMPONENT library)

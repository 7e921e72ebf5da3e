# Looks for a CUDA compiler. Says in one line what came of it.

if(NOT ATTUNE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ATTUNE_CUDA is '${ATTUNE_CUDA}', expected AUTO, ON or OFF")
endif()

if(ATTUNE_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: off")
else()
  find_program(ATTUNE_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  mark_as_advanced(ATTUNE_NVCC)
  if(ATTUNE_NVCC)
    message(STATUS "CUDA: ${ATTUNE_NVCC} found; this version of Attune has no CUDA kernels yet")
  elseif(ATTUNE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ATTUNE_CUDA is ON and there is no nvcc; set CUDA_PATH to the CUDA Toolkit or ATTUNE_CUDA to AUTO")
  else()
    message(STATUS "CUDA: no nvcc found, building for the CPU")
  endif()
endif()

# cmake --install: the library as attune::attune, its public headers so that <attune.h> works, and the programs.

include(CMakePackageConfigHelpers)

# Headers that pull in a dependency or belong to the kernels: part of the tree, not of the interface.
set(ATTUNE_PRIVATE_HEADERS "^framework/(fail\\.h|kernels/.*)$")

file(GLOB_RECURSE ATTUNE_PUBLIC_HEADERS CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${header_globs})
list(FILTER ATTUNE_PUBLIC_HEADERS EXCLUDE REGEX ${ATTUNE_PRIVATE_HEADERS})

# tests/includes_test.cpp compares the list with attune.h.
list(JOIN ATTUNE_PUBLIC_HEADERS "\n" header_lines)
file(GENERATE OUTPUT public_headers.txt CONTENT "${header_lines}\n")

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/attune)
install(TARGETS attune EXPORT attune-targets ARCHIVE COMPONENT library)
install(EXPORT attune-targets NAMESPACE attune:: DESTINATION ${config_dir} COMPONENT library)
foreach(header IN LISTS ATTUNE_PUBLIC_HEADERS)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune/${folder} COMPONENT library)
endforeach()
install(FILES attune.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune COMPONENT library)

configure_package_config_file(cmake/attune-config.cmake.in attune-config.cmake INSTALL_DESTINATION ${config_dir}
                              NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(attune-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attune-config.cmake ${PROJECT_BINARY_DIR}/attune-config-version.cmake
        DESTINATION ${config_dir} COMPONENT library)

# cmake --install: the library as attune::attune, its public headers so that <attune.h> works, and the programs.

include(CMakePackageConfigHelpers)

# attune.h is the list of what is public; with it go the declarations of the kernels, for those who write ops.
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS attune.h framework/version.h)
file(STRINGS attune.h ATTUNE_PUBLIC_HEADERS REGEX "^#include \"")
list(TRANSFORM ATTUNE_PUBLIC_HEADERS REPLACE "^#include \"(.*)\"$" "\\1")
file(GLOB kernel_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} framework/kernels/*.h)
list(APPEND ATTUNE_PUBLIC_HEADERS ${kernel_headers})

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
              cmake/attune-modules.cmake
        DESTINATION ${config_dir} COMPONENT library)

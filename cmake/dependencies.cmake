# What the library links. All of it is found through pkg-config, here and in the installed attune-config.cmake.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
set(ATTUNE_PKG_CONFIG_MODULES openblas libhwy hdf5 libcrypto zlib libjpeg libpng fmt sentencepiece)
pkg_check_modules(ATTUNE_DEPENDENCIES IMPORTED_TARGET ${ATTUNE_PKG_CONFIG_MODULES})
if(NOT ATTUNE_DEPENDENCIES_FOUND)
  message(FATAL_ERROR "A library that Attune needs is not there (see above); ./dev setup installs what is missing")
endif()
find_package(nlohmann_json REQUIRED)

# What the library links: attune-modules.cmake, here and in the installed attune-config.cmake, and headers alone.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
include(cmake/attune-modules.cmake)
attune_find_modules(missing)
if(missing)
  message(FATAL_ERROR "${missing}; ./dev setup installs what is missing")
endif()
find_package(nlohmann_json REQUIRED)

# What the library links, found through pkg-config where it is built and where an installed one is used: each module and
# the packages of Debian and Ubuntu that have it (SentencePiece's module asks for protobuf-lite since version 0.2, its
# package does not). ./dev setup reads these lines too.
set(ATTUNE_MODULES
  "openblas libopenblas-dev"
  "libhwy libhwy-dev"
  "hdf5 libhdf5-dev"
  "libcrypto libssl-dev"
  "zlib zlib1g-dev"
  "libjpeg libjpeg-dev"
  "libpng libpng-dev"
  "fmt libfmt-dev"
  "sentencepiece libsentencepiece-dev libprotobuf-dev"
)

# Makes the target PkgConfig::ATTUNE_DEPENDENCIES of all of them. Sets `missing` to one line that names those that
# pkg-config does not find, empty where it finds all.
function(attune_find_modules missing)
  list(TRANSFORM ATTUNE_MODULES REPLACE " .*" "" OUTPUT_VARIABLE names)
  pkg_check_modules(ATTUNE_DEPENDENCIES QUIET IMPORTED_TARGET ${names})
  set(message "")
  if(NOT ATTUNE_DEPENDENCIES_FOUND)
    set(absent "")
    set(packages "")
    foreach(module IN LISTS ATTUNE_MODULES)
      string(REPLACE " " ";" module "${module}")
      list(POP_FRONT module name)
      pkg_check_modules(ATTUNE_MODULE_${name} QUIET ${name})
      if(NOT ATTUNE_MODULE_${name}_FOUND)
        list(APPEND absent ${name})
        list(APPEND packages ${module})
      endif()
    endforeach()
    list(JOIN absent ", " absent)
    list(JOIN packages " " packages)
    set(message "pkg-config does not find ${absent}, which Attune links: install ${packages} (packages of Debian and \
Ubuntu) or name the folder of the .pc files in PKG_CONFIG_PATH")
  endif()
  set(${missing} "${message}" PARENT_SCOPE)
endfunction()

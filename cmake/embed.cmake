# attune_embed(TARGET FILE NAME): the target carries a text file of the tree inside itself, as the constant
# `extern const std::string_view NAME` of namespace attune::embedded.

function(attune_embed target file name)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  if(text MATCHES "\\)embedded\"")
    message(FATAL_ERROR "${file} holds the characters that end a raw string: )embedded\"")
  endif()
  set(source ${PROJECT_BINARY_DIR}/embedded/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "// From @file@.
#include <string_view>
namespace attune::embedded {
extern const std::string_view @name@;
const std::string_view @name@ = R\"embedded(@text@)embedded\";
}
")
  target_sources(${target} PRIVATE ${source})
endfunction()

#include "examples/support/notice.h"

namespace attune::examples {

void write_or_drop(std::string_view text, std::FILE* out) noexcept {
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
  std::clearerr(out);  // a disk may have room again
}

}  // namespace attune::examples

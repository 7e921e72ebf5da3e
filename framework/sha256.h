#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace attune {

/// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(const void* bytes, size_t count);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// 64 hexadecimal digits. Nothing may follow.
  std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace attune

#include "framework/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "framework/fail.h"

namespace attune {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(md); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require<Error>(context_->md != nullptr && EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1,
                 "sha256: EVP_DigestInit_ex failed; is OpenSSL configured without SHA-256?");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(const void* bytes, size_t count) {
  if (count == 0) return;
  require<Error>(EVP_DigestUpdate(context_->md, bytes, count) == 1, "sha256: EVP_DigestUpdate failed");
}

std::string Sha256::finish() {
  std::array<unsigned char, 32> digest{};
  require<Error>(EVP_DigestFinal_ex(context_->md, digest.data(), nullptr) == 1, "sha256: EVP_DigestFinal_ex failed");
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

}  // namespace attune

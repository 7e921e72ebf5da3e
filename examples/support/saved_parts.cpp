#include "examples/support/saved_parts.h"

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "examples/support/finite.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

constexpr size_t kWord = sizeof(int64_t);

}  // namespace

void put_codec(Checkpoint& checkpoint, std::string path, const TextCodec& codec) {
  const std::string bytes = codec.bytes();
  std::vector<int64_t> words(1 + (bytes.size() + kWord - 1) / kWord);
  words[0] = static_cast<int64_t>(bytes.size());
  std::memcpy(words.data() + 1, bytes.data(), bytes.size());
  checkpoint.put(std::move(path), Tensor::from(words, {static_cast<int64_t>(words.size())}));
}

std::unique_ptr<TextCodec> codec_of(const Checkpoint& checkpoint, std::string_view path, const std::string& file) {
  require<FormatError>(checkpoint.contains(path), "{}: a checkpoint without {}", file, path);
  const Tensor tensor = checkpoint.tensor(path);
  const auto words = tensor.dtype() == DType::kInt64 ? tensor.to_vector<int64_t>() : std::vector<int64_t>();
  const size_t room = words.empty() ? 0 : words.size() - 1;
  const int64_t size = room > 0 ? words[0] : -1;
  require<FormatError>(size >= 0 && static_cast<uint64_t>(size) <= room * kWord, "{}: {} is not a codec", file, path);
  std::string bytes(static_cast<size_t>(size), '\0');
  std::memcpy(bytes.data(), words.data() + 1, bytes.size());
  return TextCodec::load(bytes, file);
}

void load_weights(const std::string& file, const Module& model, const std::function<void()>& load) {
  try {
    load();
  } catch (const ShapeError& error) {
    // It lists everything; the first entries say enough here.
    constexpr size_t kShown = 300;
    std::string text = error.what();
    if (text.size() > kShown) text = text.substr(0, kShown) + " ...";
    fail<FormatError>("{}: its weights are not those of its configuration: {}", file, text);
  }
  require_finite_weights(model.state_dict(), file);
}

}  // namespace attune::examples

// Any bytes are a codec, which then encodes and decodes any text, or a FormatError.

#include <algorithm>
#include <cstdlib>

#include "datasets/text_codec.h"
#include "datasets/utf8.h"
#include "framework/error.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"

using namespace attune;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::vector<std::string> sentences;
  for (int i = 0; i < 40; ++i) {
    sentences.push_back("a dog " + std::to_string(i) + " sees two cats and grüßt");
    sentences.push_back("the young horse jumps quickly over boxes of brown leaves behind the village");
    sentences.push_back("seven children watch a parade with balloons while somebody sells ice cream near the river");
  }
  std::vector<std::string> seeds;
  for (const CodecKind kind : {CodecKind::kBpe, CodecKind::kUnigram, CodecKind::kWords}) {
    seeds.push_back(train_codec({sentences}, {.kind = kind, .size = kind == CodecKind::kWords ? 0 : 48})->bytes());
  }
  testing::write_seeds(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const std::unique_ptr<TextCodec> codec = TextCodec::load(bytes, "x.h5");
    const std::vector<int64_t> ids = codec->encode("two dogs see 7 grüße \xe2\x96\x81 <unk> \xf0\x9f\x8e\x88");
    for (const int64_t id : ids) {
      if (id <= 0 || id >= codec->size()) std::abort();
    }
    codec->decode(ids);
    codec->words_of(ids);
    for (int64_t id = 0; id < std::min<int64_t>(codec->size(), 50); ++id) codec->token(id);
    TextCodec::load(codec->bytes(), "again");
  } catch (const FormatError& error) {
    testing::require_message(error.what());
  }
  return 0;
}

// Any text is split into words and put together again, or is a FormatError. The input: a byte for the options, the
// text.

#include <cstdlib>

#include "datasets/moses.h"
#include "datasets/text_preparation.h"
#include "datasets/tokenizer.h"
#include "datasets/utf8.h"
#include "datasets/vocabulary.h"
#include "framework/error.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"

using namespace attune;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  testing::write_seeds(
      *argc, *argv,
      {"\1It isn't bad... \"U.S. films\" cost 10,000 $, won't they?",
       "\2L'eau, c'est-\xC3\xA0-dire: \xC2\xAB oui \xC2\xBB \xE2\x80\x94 no. 5",
       "\3''''aaaa----....****@-@ \xE2\x96\x81x", "\4\xD0\x9F\xD1\x80\xD0\xB8 \xE6\x97\xA5\xE6\x9C\xAC"});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const unsigned options = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  static const char* const kLanguages[] = {"en", "de", "fr", "es", "it", "xx"};
  const bool valid = utf8::find_invalid(text) == std::string_view::npos;
  try {
    const WordTokenizer words({.lower_case = (options & 1) != 0, .split_punctuation = (options & 2) != 0});
    const std::vector<std::string> tokens = words(text);
    if (!valid) std::abort();
    std::string joined;
    for (const std::string& token : tokens) {
      if (token.empty() || utf8::find_invalid(token) != std::string::npos) std::abort();
      joined += (joined.empty() ? "" : " ") + token;
    }
    words(joined);
    const TextPreparation preparation({.normalize = (options & 4) != 0,
                                       .tokenize = (options & 8) != 0,
                                       .lower_case = (options & 16) != 0,
                                       .moses = {.language = kLanguages[options % 6]}});
    const std::string prepared = preparation(text);
    if (utf8::find_invalid(prepared) != std::string::npos) std::abort();
    preparation.restore(prepared);
    WordCounts counts;
    counts.add(tokens);
    const Vocabulary vocabulary = counts.vocabulary();
    vocabulary.decode(vocabulary.encode(tokens));
  } catch (const FormatError& error) {
    if (valid) std::abort();
    testing::require_message(error.what());
  }
  return 0;
}

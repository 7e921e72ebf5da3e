// Any bytes are lines of UTF-8 text, plain or compressed, or a FormatError; so are labelled texts and, cut at the first
// byte 0xFF, two aligned files.

#include <zlib.h>

#include <algorithm>
#include <cstdlib>

#include "datasets/classification.h"
#include "datasets/parallel_corpus.h"
#include "datasets/text_reader.h"
#include "datasets/utf8.h"
#include "framework/error.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"

using namespace attune;

namespace {

constexpr TextReaderOptions kText{.max_line_bytes = 4096};

std::string gzipped(const std::string& text) {
  std::string out(text.size() + 100, '\0');
  z_stream stream{};
  constexpr int kGzip = 31;
  if (deflateInit2(&stream, 9, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

void require_text(std::string_view text) {
  if (utf8::find_invalid(text) != std::string_view::npos || text.find('\0') != std::string_view::npos) std::abort();
}

template <class Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const FormatError& error) {
    testing::require_message(error.what());
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::vector<std::string> texts = {"1\ta good film\n0\tbad .\n", "sentence\tlabel\nfine \t1\r\nno\t0\n",
                                          "label\ttext\n0\tno\n",
                                          "\xEF\xBB\xBF"
                                          "a dog\nzwei Hunde\n\xFF"
                                          "ein Hund\ntwo dogs\n"};
  std::vector<std::string> seeds = texts;
  for (const std::string& text : texts) seeds.push_back(gzipped(text));
  testing::write_seeds(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const testing::MemoryFile first, second;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  first.write(input);
  attempt([&] {
    TextReader reader(first.path(), kText);
    for (std::string_view line; reader.next(line);) {
      require_text(line);
      if (line.size() > kText.max_line_bytes || line.find('\n') != std::string_view::npos) std::abort();
    }
  });
  attempt([&] {
    const ClassificationData read = read_classification(first.path(), {.text = kText});
    if (read.examples.empty()) std::abort();
    for (const ClassificationExample& example : read.examples) {
      require_text(example.text);
      if (example.label != 0 && example.label != 1) std::abort();
    }
    read.origin(read.examples.size() - 1);
  });
  const size_t cut = std::min(input.find('\xFF'), size);
  first.write(input.substr(0, cut));
  second.write(input.substr(std::min(cut + 1, size)));
  for (const bool keep_empty : {false, true}) {
    attempt([&] {
      const ParallelCorpus read =
          read_parallel_files(first.path(), second.path(), {.keep_empty = keep_empty, .text = kText});
      if (read.source.size() != read.target.size() || read.lines.size() != read.source.size()) std::abort();
      for (const std::string& text : read.source) require_text(text);
      for (const std::string& text : read.target) require_text(text);
    });
  }
  return 0;
}

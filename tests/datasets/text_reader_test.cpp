#include "datasets/text_reader.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using testing::error_text;
using testing::TemporaryDirectory;

std::vector<std::string> lines_of(const std::string& path, TextReaderOptions options = {}) {
  TextReader reader(path, options);
  std::vector<std::string> lines;
  for (std::string_view line; reader.next(line);) lines.emplace_back(line);
  CHECK(reader.line_number() == static_cast<int64_t>(lines.size()));
  return lines;
}

std::string random_bytes(RandomStream& random, size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += static_cast<char>(random.below(256));
  return bytes;
}

TEST_CASE("text reader: lines of plain and gzipped files are the same", "[datasets][text]") {
  const TemporaryDirectory folder;
  // Lines around the size of the buffers, and empty ones.
  RandomStream random(1);
  std::vector<std::string> expected;
  std::string bytes;
  for (int i = 0; i < 40; ++i) {
    const uint64_t length = i % 5 == 0 ? random.below(200000) : random.below(60);
    expected.emplace_back(length, static_cast<char>('a' + i % 26));
    bytes += expected.back() + (i % 3 == 0 ? "\r\n" : "\n");
  }
  CHECK(lines_of(folder.write("plain", bytes)) == expected);
  CHECK(lines_of(folder.write_gzip("zipped", bytes)) == expected);
  // The last line without its end, the name saying the contrary of the content.
  expected.emplace_back("the end");
  CHECK(lines_of(folder.write("plain.gz", bytes + "the end")) == expected);
  CHECK(lines_of(folder.write_gzip("zipped.txt", bytes + "the end\r")) == expected);
}

TEST_CASE("text reader: byte-order mark, blank lines, empty file", "[datasets][text]") {
  using Lines = std::vector<std::string>;
  const TemporaryDirectory folder;
  CHECK(lines_of(folder.write("bom", "\xEF\xBB\xBFone\n\n two \r\n\n")) == Lines{"one", "", " two ", ""});
  CHECK(lines_of(folder.write("inside", "a\n\xEF\xBB\xBFz\n")) == Lines{"a", "\xEF\xBB\xBFz"});
  CHECK(lines_of(folder.write("return", "a\rb\r\r\n")) == Lines{"a\rb\r"});
  CHECK(lines_of(folder.write("empty", "")).empty());
  CHECK(lines_of(folder.write_gzip("empty.gz", "")).empty());
  CHECK(lines_of(folder.write("only bom", "\xEF\xBB\xBF")).empty());
}

TEST_CASE("text reader: paths that cannot be read are named", "[datasets][text]") {
  const TemporaryDirectory folder;
  CHECK(error_text<IoError>([&] { TextReader(folder / "absent.tsv"); }) ==
        folder / "absent.tsv" + ": cannot be opened for reading: No such file or directory");
  CHECK(error_text<IoError>([&] { TextReader(folder.path().string()); }) ==
        folder.path().string() + ": is a folder, expected a text file");
  // It opens, and every read of its first byte fails.
  CHECK(error_text<IoError>([&] { TextReader("/proc/self/mem"); }) ==
        "/proc/self/mem: cannot be read: Input/output error");
}

TEST_CASE("text reader: damaged content is named with its line", "[datasets][text]") {
  const TemporaryDirectory folder;
  const auto error_of = [](const std::string& path, TextReaderOptions options = {}) {
    return error_text<FormatError>([&] { lines_of(path, options); }).substr(path.size());
  };
  CHECK(error_of(folder.write("a",
                              "fine\nca\xC3\xA9\nb\xE9"
                              "d\n")) == ": line 3: byte 2 ('\\xe9') is not valid UTF-8, expected UTF-8 text");
  for (const char* wrong :
       {"\xC0\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xF0\x8F\xBF\xBF"}) {
    CHECK(error_of(folder.write("b", std::string("12345678") + wrong)).starts_with(": line 1: byte 9 "));
  }
  CHECK(error_of(folder.write("c", std::string_view("one\ntw\0o\n", 9))) == ": line 2: NUL byte, expected a text file");
  CHECK(error_of(folder.write("d", "1234\n12345\n"), {.max_line_bytes = 4}) ==
        ": line 2: longer than 4 bytes, expected a text line");
  std::string tar(1024, '\0');
  tar.replace(257, 5, "ustar");
  CHECK(error_of(folder.write_gzip("e", tar)) ==
        ": is a tar archive, expected a text file or a folder; unpack it first");
}

TEST_CASE("text reader: truncated and damaged gzip files are errors at any place", "[datasets][text]") {
  const TemporaryDirectory folder;
  std::string text;
  for (int i = 0; i < 400; ++i) text += std::to_string(i * i) + " words\n";
  const std::string zipped = testing::read_bytes(folder.write_gzip("whole", text));
  for (size_t size = 3; size < zipped.size(); size += 7) {
    const std::string path = folder.write("cut", zipped.substr(0, size));
    const std::string error = error_text<FormatError>([&] { lines_of(path); });
    CHECK(error.starts_with(path + ": damaged or truncated gzip file"));
  }
  // Behind the header of 10 bytes and before the final length every bit counts.
  for (size_t at = 10; at < zipped.size() - 4; at += 5) {
    std::string flipped = zipped;
    flipped[at] = static_cast<char>(flipped[at] ^ 16);
    CHECK_THROWS_AS(lines_of(folder.write("flipped", flipped)), FormatError);
  }
}

TEST_CASE("text reader: random bytes never crash it", "[datasets][text]") {
  const TemporaryDirectory folder;
  RandomStream random(2);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = random_bytes(random, random.below(300));
    if (i % 3 == 0) bytes = "\x1f\x8b\x08" + bytes;
    try {
      lines_of(folder.write("noise", bytes));
    } catch (const FormatError&) {
    }
  }
  SUCCEED();
}

}  // namespace
}  // namespace attune

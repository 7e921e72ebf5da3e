#include "datasets/byte_reader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "datasets/image.h"
#include "datasets/text_reader.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using testing::error_text;
using testing::TemporaryDirectory;

std::string rest_of(ByteReader& reader, size_t step) {
  std::string all;
  for (size_t count = step; count == step;) {
    const size_t before = all.size();
    all.resize(before + step);
    count = reader.read(all.data() + before, step);
    all.resize(before + count);
  }
  return all;
}

std::string read_all(const std::string& path) {
  ByteReader reader(path);
  return rest_of(reader, 1000);
}

std::string zipped(const std::string& bytes) {
  const TemporaryDirectory folder;
  return testing::read_bytes(folder.write_gzip("a", bytes));
}

std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i * i) + '\n';
  return text;
}

/// A pipe with a name, that somebody writes to after a while.
class WrittenPipe {
 public:
  WrittenPipe(const TemporaryDirectory& folder, std::string bytes) : path_(folder / "pipe") {
    REQUIRE(mkfifo(path_.c_str(), 0600) == 0);
    writer_ = std::thread([this, bytes = std::move(bytes)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const int end = open(path_.c_str(), O_WRONLY);
      for (size_t at = 0; at < bytes.size();) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the reader waits for more
        const ssize_t count = write(end, bytes.data() + at, std::min<size_t>(50000, bytes.size() - at));
        if (count <= 0) break;
        at += static_cast<size_t>(count);
      }
      close(end);
    });
  }
  ~WrittenPipe() { writer_.join(); }
  WrittenPipe(const WrittenPipe&) = delete;
  WrittenPipe& operator=(const WrittenPipe&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::thread writer_;
};

TEST_CASE("byte reader: files, pipes and memory, plain and zipped", "[datasets][text]") {
  const TemporaryDirectory folder;
  const std::string plain = numbers(40000);
  for (const std::string& stored : {plain, zipped(plain), zipped(plain.substr(0, 777)) + zipped(plain.substr(777))}) {
    CHECK(read_all(folder.write("file", stored)) == plain);
    ByteReader memory = ByteReader::from_memory(stored, "memory");
    CHECK(memory.stored_bytes() == std::ssize(stored));
    CHECK(memory.peek(5) == plain.substr(0, 5));
    CHECK(memory.peek(2) == plain.substr(0, 2));
    CHECK(rest_of(memory, 77) == plain);
    CHECK(memory.peek(1).empty());
    ByteReader as_it_is = ByteReader::from_memory(stored, "memory", Unzip::kNo);
    CHECK(rest_of(as_it_is, 4096) == stored);
    {
      const TemporaryDirectory other;
      const WrittenPipe pipe(other, stored);
      ByteReader reader(pipe.path());
      CHECK(reader.stored_bytes() == -1);
      CHECK(rest_of(reader, 1000) == plain);
    }
  }
  CHECK(read_all(folder.write("empty", "")).empty());
  CHECK(read_all(folder.write("short", "\x1F")) == "\x1F");
}

TEST_CASE("byte reader: what would never end or never begin is refused", "[datasets][text]") {
  const TemporaryDirectory folder;
  CHECK(error_text<IoError>([] { ByteReader("/dev/zero"); }) ==
        "/dev/zero: cannot be read: a device, expected a file or a pipe");
  CHECK(error_text<IoError>([] { read_image("/dev/urandom"); }) ==
        "/dev/urandom: cannot be read: a device, expected a file or a pipe");
  const std::string pipe = folder / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const auto begin = std::chrono::steady_clock::now();
  const std::string error = ": cannot be read: a pipe that nobody writes to, expected a file or a pipe with a writer";
  CHECK(error_text<IoError>([&] { TextReader reader(pipe); }) == pipe + error);
  CHECK(error_text<IoError>([&] { read_image(pipe); }) == pipe + error);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

TEST_CASE("byte reader: bytes behind a gzip stream are no part of it", "[datasets][text]") {
  const TemporaryDirectory folder;
  const std::string plain = numbers(GENERATE(3, 30000));
  const std::string stream = zipped(plain);
  for (const std::string& junk : {std::string("junk"), std::string(1, '\x1F'), plain, std::string("\0\0\0x", 4)}) {
    const std::string path = folder.write("junk", stream + junk);
    CHECK(error_text<FormatError>([&] { read_all(path); }) ==
          path + ": damaged or truncated gzip file (other bytes behind the compressed ones); get it again");
  }
  // Tapes and disks fill their last block with zeros.
  CHECK(read_all(folder.write("padded", stream + std::string(100000, '\0'))) == plain);
  const std::string cut = folder.write("cut", stream.substr(0, stream.size() - 5));
  CHECK(error_text<FormatError>([&] { read_all(cut); }) ==
        cut + ": damaged or truncated gzip file (unexpected end of file); get it again");
  const std::string second = folder.write("second", stream + stream.substr(0, stream.size() / 2));
  CHECK(error_text<FormatError>([&] { read_all(second); }) ==
        second + ": damaged or truncated gzip file (unexpected end of file); get it again");
  std::string wrong = stream;
  wrong[stream.size() - 8] = static_cast<char>(wrong[stream.size() - 8] ^ 1);  // of the checksum
  const std::string damaged = folder.write("damaged", wrong);
  CHECK(error_text<FormatError>([&] { read_all(damaged); }) ==
        damaged + ": damaged or truncated gzip file (incorrect data check); get it again");
}

}  // namespace
}  // namespace attune

// Checkpoints that were made to do harm: whoever can compute a SHA-256 can write any file.

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/child_process.h"
#include "framework/error.h"
#include "framework/hdf5_image.h"
#include "framework/sha256.h"
#include "framework/text.h"
#include "framework/version.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using checkpoint_format::kHeaderBytes;
using testing::error_text;
using testing::read_bytes;
using testing::TemporaryDirectory;

/// Written by the version of this library that wrote format 1: texts in HDF5's heap.
constexpr const char* kFormat1 = ATTUNE_SOURCE_DIR "/tests/framework/checkpoint_format1.h5";

std::string with_digest(const std::string& content, int version) {
  Sha256 digest;
  digest.update(content);
  return checkpoint_format::header(content.size(), digest.finish(), version) + content;
}

/// "" where it loads, otherwise the message without the file's name. Whatever else is thrown ends the test.
std::string outcome(const std::string& path) {
  try {
    Checkpoint::load(path);
    return "";
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK_THAT(text, StartsWith(path + ": "));
    CHECK(text.find('\n') == std::string::npos);
    return text.substr(path.size() + 2);
  }
}

TEST_CASE("checkpoints of format 1 are read", "[checkpoint]") {
  const Checkpoint loaded = Checkpoint::load(kFormat1);
  CHECK(loaded.format_version() == 1);
  CHECK(loaded.entries().size() == 13);
  CHECK(loaded.tensor("model/embedding/weight").to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(same_memory(loaded.tensor("model/embedding/weight"), loaded.tensor("model/head/weight")));
  CHECK(loaded.text("config") == R"({"dim":128,"name":"größer"})");
  CHECK(loaded.list("vocabulary") == std::vector<std::string>{"<pad>", "", "naïve", "日"});
  CHECK(loaded.list("long").size() == 300);
  CHECK(loaded.list("long")[7] == std::string(5000, 'x'));
  CHECK(loaded.list("history").empty());
  CHECK(loaded.random("state/random/dropout") == RandomState{~uint64_t{0}, 5});

  // Written anew it has the same content and no heap.
  const TemporaryDirectory directory;
  loaded.save(directory / "new.h5");
  const Checkpoint again = Checkpoint::load(directory / "new.h5");
  CHECK(again.format_version() == 2);
  CHECK(again.sha256() == loaded.sha256());
  CHECK(read_bytes(kFormat1).find("GCOL") != std::string::npos);
  CHECK(read_bytes(directory / "new.h5").find("GCOL") == std::string::npos);
}

TEST_CASE("no change of HDF5's heap does more than refuse the file", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string content = read_bytes(kFormat1).substr(kHeaderBytes);
  int refused = 0;
  for (size_t heap = content.find("GCOL"); heap != std::string::npos; heap = content.find("GCOL", heap + 1)) {
    // The collection's size, then the objects: a number, a count, four bytes, a size, the bytes.
    std::vector<size_t> numbers = {heap + 8};
    for (size_t object = heap + 16; numbers.size() < 6; object += 16 + (content[object + 8] + 7) / 8 * 8) {
      numbers.push_back(object);
      numbers.push_back(object + 8);
    }
    for (const size_t at : numbers) {
      for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0xFFFF}, ~uint64_t{0}}) {
        INFO("offset " << at << ", value " << value);
        std::string changed = content;
        // A number has two bytes, a size eight.
        changed.replace(at, (at - heap) % 16 == 0 ? 2 : 8, reinterpret_cast<const char*>(&value),
                        (at - heap) % 16 == 0 ? 2 : 8);
        refused += outcome(directory.write("x.h5", with_digest(changed, 1))).empty() ? 0 : 1;
      }
    }
  }
  CHECK(refused > 20);
}

TEST_CASE("changed bytes with the right digest are refused or change nothing else", "[checkpoint]") {
  const TemporaryDirectory directory;
  std::mt19937 random(7);
  for (const int version : {1, 2}) {
    Checkpoint::load(kFormat1).save(directory / "2.h5");
    const std::string content = read_bytes(version == 1 ? kFormat1 : directory / "2.h5").substr(kHeaderBytes);
    for (int i = 0; i < 150; ++i) {
      const size_t at = random() % std::min<size_t>(content.size(), 3000);
      std::string changed = content;
      changed[at] = static_cast<char>(random());
      INFO("format " << version << ", byte " << at << ": " << (content[at] & 255) << " -> " << (changed[at] & 255));
      outcome(directory.write("x.h5", with_digest(changed, version)));
    }
  }
}

void set_text(hid_t owner, const char* name, const std::string& value) {
  const auto type = hdf5::text_type("test", value.size());
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate, H5S_SCALAR);
  const auto made = ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, owner, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  ATTUNE_HDF5("test", H5Awrite, made, type, value.data());
}

void set_shape(hid_t owner, const std::vector<int64_t>& shape) {
  const hsize_t rank = shape.size();
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, 1, &rank, nullptr);
  const auto made = ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, owner, "shape", H5T_NATIVE_INT64, space,
                                     H5P_DEFAULT, H5P_DEFAULT);
  ATTUNE_HDF5("test", H5Awrite, made, H5T_NATIVE_INT64, shape.data());
}

/// An entry of one axis as this library writes it, apart from what its elements are.
void add_entry(hid_t file, const char* name, hid_t type, const std::string& bytes, const char* dtype,
               hsize_t elements) {
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, 1, &elements, nullptr);
  const auto creation = ATTUNE_HDF5_OPEN(Properties, "test", H5Pcreate, H5P_DATASET_CREATE);
  ATTUNE_HDF5("test", H5Pset_chunk, creation, 1, &elements);
  const auto set =
      ATTUNE_HDF5_OPEN(Dataset, "test", H5Dcreate2, file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  if (!bytes.empty()) ATTUNE_HDF5("test", H5Dwrite, set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
  set_text(set, "dtype", dtype);
  set_shape(set, {static_cast<int64_t>(elements)});
}

std::string crafted(const std::function<void(hid_t)>& fill) {
  const hdf5::Image image("test", kHeaderBytes, 1 << 16, [&](hid_t file) {
    set_text(file, "library_version", kVersion);
    fill(file);
    set_text(file, "sha256", std::string(64, '0'));
  });
  return with_digest(std::string(image.content()), 2);
}

TEST_CASE("what the file says of values is checked like what programs put", "[checkpoint]") {
  const TemporaryDirectory directory;
  const auto refusal = [&](hid_t type, const std::string& bytes, const char* dtype, hsize_t elements) {
    return outcome(directory.write(
        "x.h5", crafted([&](hid_t file) { add_entry(file, "history", type, bytes, dtype, elements); })));
  };
  const auto text = hdf5::text_type("test", 2);
  CHECK(refusal(text, "ok\xc3(", "text", 2) == "'history': a text that is not UTF-8 without NUL");
  CHECK(refusal(H5T_STD_U8LE, std::string("\1\0\2", 3), "bool", 3) == "'history': a bool that is neither 0 nor 1");
  CHECK(refusal(H5T_STD_U8LE, std::string("a\0b\0", 4), "text", 3) ==
        "'history': does not hold the 3 texts that its attribute 'shape' says");
}

TEST_CASE("messages about a file are short", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string name =
      directory.write("x.h5", crafted([&](hid_t file) {
                        add_entry(file, std::string(4000, 'n').c_str(), H5T_STD_U8LE, "\1", "bool", 1);
                        set_text(file, "other", std::string(30000, 't'));
                      }));
  CHECK(outcome(name).size() < 300);
  const std::string dtype =
      directory.write("y.h5", crafted([&](hid_t file) {
                        add_entry(file, "x\n\x1b[31m", H5T_STD_U8LE, "\1", std::string(60000, 'd').c_str(), 1);
                      }));
  CHECK_THAT(outcome(dtype), StartsWith("'x\\n\\x1b[31m': dtype 'ddd") && ContainsSubstring("ddd...' is unknown"));
  CHECK(outcome(dtype).size() < 300);

  CHECK(shown("größer\n\x1b\xff", 100) == "größer\\n\\x1b\\xff");
  CHECK(shown("größer", 3) == "gr...");
  CHECK(shown("\xc2\x9b"
              "31m") == "\\xc2\\x9b31m");
}

/// Whether work() says so in a child that may take 256 MiB of memory beside what this process has.
bool works_in_little_memory(const std::function<bool()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    long pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlim_t bytes = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{256} << 20);
    const rlimit limit{bytes, bytes};
    _exit(pages > 0 && setrlimit(RLIMIT_AS, &limit) == 0 && work() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0;
}

// HDF5's own checksum of its structures, which every build of the library has.
extern "C" uint32_t H5_checksum_metadata(const void* data, size_t length, uint32_t start);

TEST_CASE("many datasets over the same chunks take no more memory than the file has", "[checkpoint]") {
  const TemporaryDirectory directory;
  constexpr hsize_t kElements = 1 << 20;
  const std::string bytes(kElements * 4, '\1');
  std::string content = crafted([&](hid_t file) {
                          for (int i = 0; i < 200; ++i) {
                            const std::string name = "a" + std::to_string(i);
                            add_entry(file, name.c_str(), H5T_IEEE_F32LE, i == 0 ? bytes : "", "float32", kElements);
                          }
                        }).substr(kHeaderBytes);
  // The layout of a dataset: two axes of three bytes each, an index of one chunk, its address. None but the first has
  // one: they get the first one's.
  const std::string layout("\x02\x03\0\0\x10\x04\0\0\x01", 9);
  const std::string none(8, '\xff');
  std::string address;
  int changed = 0;
  for (size_t header = content.find("OHDR"); header != std::string::npos; header = content.find("OHDR", header + 1)) {
    const size_t end = std::min(content.find("OHDR", header + 1), header + 2000);
    const size_t at = content.find(layout, header) + layout.size();
    if (at > end || at < layout.size()) continue;
    if (address.empty()) address = content.substr(at, 8);
    if (content.compare(at, 8, none) != 0) continue;
    content.replace(at, 8, address);
    const auto flags = static_cast<unsigned char>(content[header + 5]);
    const size_t size_at = header + 6 + ((flags & 0x20) != 0 ? 16 : 0) + ((flags & 0x10) != 0 ? 4 : 0);
    size_t size = static_cast<unsigned char>(content[size_at]);
    if ((flags & 3) == 1) size |= static_cast<size_t>(static_cast<unsigned char>(content[size_at + 1])) << 8;
    const size_t length = size_at - header + (size_t{1} << (flags & 3)) + size;
    const uint32_t checksum = H5_checksum_metadata(content.data() + header, length, 0);
    content.replace(header + length, 4, reinterpret_cast<const char*>(&checksum), 4);
    ++changed;
  }
  REQUIRE(changed == 199);
  CHECK(content.size() < 5000000);
  const std::string path = directory.write("x.h5", with_digest(content, 2));
  const auto begin = std::chrono::steady_clock::now();
  CHECK(works_in_little_memory(
      [&] { return outcome(path).find("with it the entries have more bytes than the file") != std::string::npos; }));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

TEST_CASE("many texts that are one object of the heap are counted by their lengths", "[checkpoint]") {
  const TemporaryDirectory directory;
  std::string content = read_bytes(kFormat1).substr(kHeaderBytes);
  // The list has 300 texts, the eighth has 5000 bytes: all become that one. A reference has 16 bytes.
  const uint32_t length = 5000;
  const std::string word(reinterpret_cast<const char*>(&length), 4);
  const size_t eighth = content.rfind(word);
  REQUIRE(eighth != std::string::npos);
  const size_t first = eighth - size_t{7} * 16;
  for (size_t i = 0; i < 300; ++i) content.replace(first + i * 16, 16, content.substr(eighth, 16));
  CHECK_THAT(outcome(directory.write("x.h5", with_digest(content, 1))),
             ContainsSubstring("'long': with it the entries have more bytes than the file, 33163"));
}

TEST_CASE("a save opens no file of the working directory", "[checkpoint]") {
  const TemporaryDirectory directory;
  // 512 MiB in name alone: reading it would show in the memory of the process.
  { std::ofstream(directory / "checkpoint"); }
  REQUIRE(truncate((directory / "checkpoint").c_str(), int64_t{1} << 29) == 0);
  const std::string path = directory / "last.h5";
  CHECK(works_in_little_memory([&] {
    Checkpoint checkpoint;
    checkpoint.put_text("config", "{}");
    if (chdir(directory.path().c_str()) == 0) checkpoint.save(path);
    return std::filesystem::exists(path);
  }));
  CHECK(Checkpoint::load(path).text("config") == "{}");
}

TEST_CASE("a child process that misbehaves is a message", "[child]") {
  const ChildLimits limits{.memory_bytes = uint64_t{1} << 28, .cpu_seconds = 1};
  const auto message = [&](const std::function<void(ByteSink&)>& produce) {
    return error_text<FormatError>([&] {
      run_in_child("x", limits, produce, [](ByteSource& source) {
        while (source.number() != 7) {
        }
      });
    });
  };
  CHECK_THAT(message([](ByteSink&) { std::abort(); }),
             StartsWith("x: damaged, or made to do harm: reading it crashes"));
#if defined(__x86_64__) || defined(__aarch64__)
  // It can open no file and start no process.
  CHECK(message([](ByteSink&) {
          throw FormatError(open("/etc/passwd", O_RDONLY) < 0 && fork() < 0 && kill(getppid(), 0) < 0 ? "shut"
                                                                                                      : "open");
        }) == "shut");
#endif
  CHECK(message([](ByteSink&) { _exit(0); }) == "x: damaged, or made to do harm: reading it ends early");
  CHECK(message([](ByteSink&) {
          for (std::atomic<int> i = 0;; ++i) {
          }
        }) == "x: damaged, or made to do harm: reading it takes more than 1 s");
  CHECK(message([](ByteSink&) { throw FormatError("its own words"); }) == "its own words");
  CHECK(message([](ByteSink& sink) { sink.number(3); }) == "x: damaged, or made to do harm: reading it ends early");
  if (!testing::sanitized()) {  // that ends the process instead of saying that there is no memory
    CHECK_THAT(message([](ByteSink& sink) {
                 std::vector<char>(size_t{1} << 40);
                 sink.number(3);
               }),
               ContainsSubstring("more memory"));
  }

  // What is sent to a whole group of processes is its parent's matter. A kill says nothing about the file.
  CHECK(error_text<IoError>([&] {
          run_in_child(
              "x", limits,
              [](ByteSink& sink) {
                sink.number(static_cast<uint64_t>(getpid()));
                sink.flush();
                sink.number(4);
                for (std::atomic<int> i = 0;; ++i) sink.flush();
              },
              [](ByteSource& source) {
                const auto child = static_cast<pid_t>(source.number());
                for (const int signal : {SIGINT, SIGTERM, SIGHUP}) CHECK(kill(child, signal) == 0);
                CHECK(source.number() == 4);
                CHECK(kill(child, SIGKILL) == 0);
                source.number();
              });
        }) ==
        "x: cannot be read: the process that reads it was killed (signal 9), as the system does where memory is "
        "short; try again");

  // All that is written arrives, small and large.
  std::string large(3000000, 'x');
  std::iota(large.begin(), large.end(), '\0');
  run_in_child(
      "x", limits,
      [&](ByteSink& sink) {
        sink.number(5);
        sink.text(large);
        sink.text("end");
      },
      [&](ByteSource& source) {
        CHECK(source.number() == 5);
        CHECK((source.text(large.size()) == large));
        CHECK(source.text(10) == "end");
      });
  CHECK(error_text<FormatError>([&] {
          run_in_child(
              "x", limits, [](ByteSink& sink) { sink.number(~uint64_t{0}); },
              [](ByteSource& source) { source.text(10); });
        }) == "x: a text of 18446744073709551615 bytes, at most 10 have room");
}

}  // namespace
}  // namespace attune

// Any files of captions and of a split are read or a FormatError. The input: captions, a byte 0xFF, names.

#include "datasets/captions.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "datasets/utf8.h"
#include "framework/error.h"
#include "tests/fuzz/seeds.h"

using namespace attune;
namespace fs = std::filesystem;

namespace {

/// Where files lie in memory: a disk is a hundred times slower.
fs::path memory_folder() {
  std::error_code error;
  return fs::is_directory("/dev/shm", error) ? fs::path("/dev/shm") : fs::temp_directory_path();
}

/// A folder with two pictures, for as long as the process runs.
struct Folder {
  fs::path path = memory_folder() / ("attune-fuzz-" + std::to_string(getpid()));

  Folder() {
    fs::create_directories(path / "images");
    write("images/a.jpg", "");
    write("images/b.jpg", "");
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  void write(const char* name, std::string_view bytes) const { std::ofstream(path / name, std::ios::binary) << bytes; }
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::string names =
      "\xFF"
      "b.jpg\n a.jpg\nc.jpg\n";
  testing::write_seeds(
      *argc, *argv,
      {"a.jpg\ta dog\nb.jpg\ta cat .\n" + names, "a.jpg#0\ta dog\r\na.jpg#1\ttwo dogs\n\nc.jpg#2\t \n" + names,
       "\xEF\xBB\xBF"
       "b.jpg\t\xC3\xA9t\xC3\xA9\n" +
           names,
       R"({"info": {}, "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "height": 3}],
           "annotations": [{"image_id": 1, "id": 9, "caption": "a\ndog"}, {"image_id": 5, "caption": "\u00e9"}]})" +
           names});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(input.find('\xFF'), size);
  folder.write("captions.tsv", input.substr(0, cut));
  folder.write("dev.txt", input.substr(std::min(cut + 1, size)));
  for (const char* split : {"", "dev"}) {
    try {
      const CaptionData read = read_captions(folder.path.string(), {.split = split, .text = {.max_line_bytes = 4096}});
      for (const CaptionedPicture& picture : read.pictures) {
        if (picture.name != "a.jpg" && picture.name != "b.jpg") std::abort();
        for (const std::string& caption : picture.captions) {
          if (utf8::find_invalid(caption) != std::string::npos || utf8::is_blank(caption)) std::abort();
          if (caption.find_first_of(std::string_view("\0\n\t", 3)) != std::string::npos) std::abort();
        }
      }
      if (read.to_string().find('\n') != std::string::npos) std::abort();
    } catch (const FormatError& error) {
      if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
    }
  }
  return 0;
}
